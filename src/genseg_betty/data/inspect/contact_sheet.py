"""The contact sheet of `genseg data show`: cases of a dataset in one PNG, each with the outlines of its mask."""

import io
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, binary_erosion

from genseg_betty.data.formats import bit_depth
from genseg_betty.data.intensities import PERCENTILES
from genseg_betty.data.source.case import Case, Sample
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.folds import shuffled
from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, remove_leftovers
from genseg_betty.samples import PALETTE, TRUTH

BOX = 192  # pixels a side of the square that a case's picture is fitted into
GAP = 12
LINE = 16  # pixels from one line of text to the next
BENEATH = 3  # lines under a picture: id, size, foreground
LEAST_COLUMNS = 4  # the sheet is at least so wide, for its title
STROKE = 2  # pixels
PAPER, FRAME, INK = (250, 250, 250), (214, 214, 214), (40, 40, 40)
CASING = (0, 0, 0)  # around an outline, so that it shows on any picture
FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")  # DejaVu: Latin, Greek, Cyrillic, Arabic and more
FACE, BOLD = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Tile:
    """What the sheet shows of one case; `share` is that of its foreground, -1 where it could not be read."""

    picture: Image.Image  # BOX x BOX
    lines: tuple[str, ...]  # beneath it, the case id first
    share: float
    id: str


def draw_contact_sheet(
    dataset: Dataset, out: Path, count: int = 24, seed: int = 0, title: str | None = None
) -> list[str]:
    """Write a PNG of `count` labelled cases (all, if there are fewer), the least foreground first; returns their ids.

    They are spread over groups and foreground and differ with `seed`; nothing but they is read. One that cannot be
    read becomes a tile that says why. `title` is that of the dataset, its name where None. Raises UserError where
    there is nothing to show, and where `out` is a file of the dataset.
    """
    if count < 1:
        raise UserError(f"found a count of {count}; expected 1 or more cases to show")
    if not dataset.cases:
        raise UserError(f"{dataset.name}: has no labelled case to show; `genseg data check {dataset.name}` says why")
    _require_no_input(dataset, out)
    colours = class_colours(len(dataset.classes))
    tiles = [_tile(dataset, case, colours) for case in _spread(dataset.cases, count, seed)]
    tiles.sort(key=lambda tile: tile.share)
    legend = list(zip(dataset.classes[1:], colours, strict=True))
    sheet = _sheet(title or dataset.name, _summary(dataset, tiles), legend, tiles)
    png = io.BytesIO()
    sheet.save(png, "PNG")
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers([out.parent])
    atomic_write(out, png.getvalue())
    return [tile.id for tile in tiles]


def _require_no_input(dataset: Dataset, out: Path) -> None:
    if not out.exists():
        return
    inputs = [file for case in dataset.cases for file in (case.image, *case.masks)]
    for file in inputs:
        if file.exists() and out.samefile(file):
            raise UserError(f"{out} is a file of {dataset.name} and would be overwritten: name another file with --out")


def class_colours(num_classes: int) -> list[Colour]:
    """The outline of each class but the background, as in a run's samples: green, or the masks' colours if several."""
    own = PALETTE[1:]
    return [TRUTH] if num_classes == 2 else [own[index % len(own)] for index in range(num_classes - 1)]


def _spread(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """Of `count` strata from small masks to large ones a case each, of the group least used so far.

    The size of a mask's file stands for its foreground: compressed, the two go together, and nothing has to be read.
    """
    rank = {id: place for place, id in enumerate(shuffled([case.id for case in cases], seed))}
    ordered = sorted(cases, key=lambda case: (sum(map(_bytes, case.masks)), rank[case.id]))
    used: Counter[str] = Counter()
    chosen = []
    for stratum in np.array_split(np.arange(len(ordered)), min(count, len(ordered))):
        case = min((ordered[index] for index in stratum), key=lambda case: (used[case.group], rank[case.id]))
        used[case.group] += 1
        chosen.append(case)
    return chosen


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tile(dataset: Dataset, case: Case, colours: Sequence[Colour]) -> Tile:
    try:
        sample = dataset.load(case)
        assert sample.mask is not None
        eight_bit = dataset.root is None or bit_depth(case.image) == 8
        picture, slice_number = _picture(sample, eight_bit, colours)
    except Exception as error:  # whatever ails a case must not cost the sheet; the tile tells it
        return Tile(_fault(dataset, error), (case.id, "cannot be read"), -1.0, case.id)
    share = float((sample.mask > 0).mean())
    percent = f"{100 * share:.1f}" if share >= 0.01 else f"{100 * share:.2g}"
    size = "×".join(str(side) for side in sample.mask.shape[-2:][::-1] + sample.mask.shape[:-2])
    size += f" voxels, slice {slice_number}" if slice_number else " pixels"
    return Tile(picture, (case.id, size, f"{percent} % foreground" if share else "no foreground"), share, case.id)


def _picture(sample: Sample, eight_bit: bool, colours: Sequence[Colour]) -> tuple[Image.Image, int | None]:
    """The image with its outlines in a square; of a volume the slice with the most foreground, and its number from 1.

    Intensities run from 0 to 255 if they are 8-bit, else between two percentiles of what is shown.
    """
    image, mask, number = sample.image, sample.mask, None
    assert mask is not None
    if mask.ndim == 3:
        areas = np.count_nonzero(mask, axis=(1, 2))
        index = int(areas.argmax()) if areas.any() else len(mask) // 2
        image, mask, number = image[index], mask[index], index + 1
    image = image[:, :, :3] if image.shape[2] >= 3 else image[:, :, :1].repeat(3, axis=2)
    low, high = (0, 255) if eight_bit else np.percentile(image, PERCENTILES)
    pixels = ((image - low) / max(high - low, 1e-6)).clip(0, 1) * 255
    height, width = mask.shape
    scale = BOX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    shown = Image.fromarray(np.rint(pixels).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    square = Image.new("RGB", (BOX, BOX), FRAME)
    square.paste(_outlined(shown, mask, colours), ((BOX - size[0]) // 2, (BOX - size[1]) // 2))
    return square, number


def _outlined(shown: Image.Image, mask: np.ndarray, colours: Sequence[Colour]) -> Image.Image:
    """The picture with the outline of each class of `mask` [H, W], drawn within it, at the picture's size."""
    pixels = np.array(shown)
    regions = []
    for label in range(1, len(colours) + 1):
        area = Image.fromarray((mask == label).astype(np.float32)).resize(shown.size, Image.Resampling.BOX)
        share = np.asarray(area)
        regions.append(share >= max(min(0.5, share.max()), 1e-6))  # what is smaller than a pixel still shows
    covered = np.logical_or.reduce(regions)
    pixels[binary_dilation(covered) & ~covered] = CASING
    for region, colour in zip(regions, colours, strict=True):
        pixels[region & ~binary_erosion(region, iterations=STROKE, border_value=1)] = colour
    return Image.fromarray(pixels)


def _fault(dataset: Dataset, error: Exception) -> Image.Image:
    """A square that says what is wrong; the file by its path below the root."""
    reason = f"{error}" or type(error).__name__
    reason = reason.removeprefix(f"{dataset.name}: ").replace(f"{dataset.root}/", "")
    square = Image.new("RGB", (BOX, BOX), FRAME)
    lines = textwrap.wrap(_drawable(reason), 27, max_lines=BOX // LINE - 1, placeholder=" …")
    ImageDraw.Draw(square).multiline_text((6, 6), "\n".join(lines), fill=INK, font=_font(), spacing=2)
    return square


def _summary(dataset: Dataset, tiles: Sequence[Tile]) -> list[str]:
    groups = len({case.group for case in dataset.cases})
    in_groups = f"in {groups} groups" if groups < len(dataset.cases) else "each a group of its own"
    bad = sum(tile.share < 0 for tile in tiles)
    return [
        f"{len(dataset.cases)} labelled cases, {in_groups}; {len(dataset.unlabelled)} unlabelled images",
        f"{len(tiles)} shown, least foreground first" + (f"; {bad} cannot be read" if bad else ""),
    ]


def _sheet(title: str, summary: list[str], legend: list[tuple[str, Colour]], tiles: Sequence[Tile]) -> Image.Image:
    columns = min(len(tiles), max(LEAST_COLUMNS, round((1.5 * len(tiles)) ** 0.5)))
    width = max(columns, LEAST_COLUMNS) * (BOX + GAP) + GAP
    keys, legend_lines = _placed(legend, width - 2 * GAP)
    top = GAP + 2 * LINE + (len(summary) + legend_lines) * LINE + GAP
    rows, step = -(-len(tiles) // columns), BOX + BENEATH * LINE + GAP
    sheet = Image.new("RGB", (width, top + rows * step), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), _fitted(title, width - 2 * GAP, _font(BOLD, 20)), fill=INK, font=_font(BOLD, 20))
    for line, text in enumerate(summary):
        draw.text((GAP, GAP + (2 + line) * LINE), _fitted(text, width - 2 * GAP, _font()), fill=INK, font=_font())
    for (name, colour), (left, line) in zip(legend, keys, strict=True):
        down = GAP + (2 + len(summary) + line) * LINE + 2
        draw.rectangle((GAP + left, down + 1, GAP + left + 11, down + 12), fill=colour, outline=CASING)
        draw.text((GAP + left + 18, down), _fitted(name, BOX, _font()), fill=INK, font=_font())
    for index, tile in enumerate(tiles):
        left, down = GAP + index % columns * (BOX + GAP), top + index // columns * step
        sheet.paste(tile.picture, (left, down))
        for line, text in enumerate(tile.lines):
            draw.text((left, down + BOX + 2 + line * LINE), _fitted(text, BOX, _font()), fill=INK, font=_font())
    return sheet


def _placed(legend: Sequence[tuple[str, Colour]], width: int) -> tuple[list[tuple[int, int]], int]:
    """Where each entry of the legend stands, as pixels from the left and line from 0; the number of lines."""
    places, left, line = [], 0, 0
    for name, _ in legend:
        need = 18 + int(_font().getlength(_fitted(name, BOX, _font()))) + GAP
        if left and left + need > width:
            left, line = 0, line + 1
        places.append((left, line))
        left += need
    return places, line + 1


def _fitted(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """The text as it can be drawn, cut in the middle to that many pixels."""
    text = _drawable(text)
    kept = text
    while font.getlength(kept) > width:
        most = len(kept) - 2 if kept is not text else min(len(text), width)  # no letter is narrower than a pixel
        kept = text[: most // 2] + "…" + text[len(text) - (most - 1 - most // 2) :]
    return kept


def _drawable(text: str) -> str:
    """The text with what the font has no sign for (Chinese, control characters) as its code, \\u60a3."""
    signs = _signs()
    return "".join(c if ord(c) in signs and c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@cache
def _signs() -> frozenset[int]:
    return frozenset(FT2Font(str(FONTS / FACE)).get_charmap())


@cache
def _font(face: str = FACE, size: int = 12) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONTS / face), size)
