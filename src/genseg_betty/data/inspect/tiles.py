"""A tile of the contact sheet: one case in a square, with the outlines of its mask and the text beneath it."""

import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, binary_erosion

from genseg_betty.data.formats import bit_depth
from genseg_betty.data.inspect.lettering import escape_glyphs, load_font
from genseg_betty.data.intensities import PERCENTILES
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.samples import PALETTE, TRUTH

BOX = 192  # pixels a side of the square that a case's picture is fitted into
LINE = 16  # pixels from one line of text to the next
LETTERS = 27  # of a line in the square
STROKE = 2  # pixels
FRAME = (214, 214, 214)
INK = (40, 40, 40)
CASING = (0, 0, 0)  # around an outline, so that it shows on any picture
UNREADABLE = -1.0

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Tile:
    """What the sheet shows of one case.

    Attributes:
        picture: BOX x BOX pixels.
        lines: the text beneath it, the case id first.
        share: that of the foreground; `UNREADABLE` where the case could not be read.
    """

    picture: Image.Image
    lines: tuple[str, ...]
    share: float
    id: str


def class_colours(num_classes: int) -> list[Colour]:
    """The outline of each class but the background, as in a run's samples: green, or the masks' colours if several."""
    if num_classes == 2:
        return [TRUTH]
    colours = itertools.cycle(PALETTE[1:])
    return list(itertools.islice(colours, num_classes - 1))


def draw_tile(dataset: Dataset, case: Case, colours: Sequence[Colour]) -> Tile:
    """The tile of a case. One that cannot be read says why."""
    try:
        return _draw_case(dataset, case, colours)
    except Exception as error:  # whatever ails a case must not cost the sheet; the tile tells it
        return Tile(
            picture=_draw_fault(dataset, error),
            lines=(case.id, "cannot be read"),
            share=UNREADABLE,
            id=case.id,
        )


def _draw_case(dataset: Dataset, case: Case, colours: Sequence[Colour]) -> Tile:
    """The tile of a case that can be read.

    Intensities run from 0 to 255 if they are 8-bit, else between two percentiles of what is shown.
    """
    sample = dataset.load(case)
    image = sample.image
    mask = sample.mask
    assert mask is not None
    is_drawn = dataset.root is None
    eight_bit = is_drawn or bit_depth(case.image) == 8
    size = _describe_size(mask)
    share = float((mask > 0).mean())

    # Of a volume one slice is shown, and the text beneath it tells which.
    if mask.ndim == 3:
        index = choose_slice(mask)
        image = image[index]
        mask = mask[index]
        size = f"{size}, slice {index + 1}"
    return Tile(
        picture=draw_picture(image, mask, eight_bit, colours),
        lines=(case.id, size, _describe_share(share)),
        share=share,
        id=case.id,
    )


def choose_slice(mask: np.ndarray) -> int:
    """The index of the slice of [D, H, W] with the most foreground; of the middle one where there is none."""
    areas = np.count_nonzero(mask, axis=(1, 2))
    if not areas.any():
        return len(mask) // 2
    return int(areas.argmax())


def draw_picture(image: np.ndarray, mask: np.ndarray, eight_bit: bool, colours: Sequence[Colour]) -> Image.Image:
    """The image [H, W, C] with the outlines of its mask [H, W], fitted into a square."""
    height, width = mask.shape
    scale = BOX / max(height, width)
    new_width = _scale_side(width, scale)
    new_height = _scale_side(height, scale)
    pixels = make_pixels(image, eight_bit)
    picture = Image.fromarray(pixels)
    resized = picture.resize((new_width, new_height), Image.Resampling.BICUBIC)
    outlined = _draw_outlines(resized, mask, colours)

    # The picture lies in the middle of its square.
    left = (BOX - new_width) // 2
    top = (BOX - new_height) // 2
    square = _make_square()
    square.paste(outlined, (left, top))
    return square


def _make_square() -> Image.Image:
    return Image.new("RGB", (BOX, BOX), FRAME)


def make_pixels(image: np.ndarray, eight_bit: bool) -> np.ndarray:
    """[H, W, C] intensities -> [H, W, 3] uint8; images without three channels are shown by their first one."""
    if image.shape[2] < 3:
        first = image[:, :, :1]
        shown = first.repeat(3, axis=2)
    else:
        shown = image[:, :, :3]
    low, high = 0, 255
    if not eight_bit:
        low, high = np.percentile(shown, PERCENTILES)
    span = max(high - low, 1e-6)
    shares = ((shown - low) / span).clip(0, 1)
    rounded = np.rint(shares * 255)
    return rounded.astype(np.uint8)


def _scale_side(side: int, scale: float) -> int:
    """The side of a picture at that scale, at least a pixel."""
    scaled = round(side * scale)
    return max(1, scaled)


def _draw_outlines(picture: Image.Image, mask: np.ndarray, colours: Sequence[Colour]) -> Image.Image:
    """The picture with the outline of each class of `mask` [H, W], drawn within it, at the picture's size."""
    regions = []
    for label, _ in enumerate(colours, start=1):
        region = _resize_region(mask == label, picture.size)
        regions.append(region)
    pixels = np.array(picture)
    covered = np.logical_or.reduce(regions)
    around = binary_dilation(covered) & ~covered
    pixels[around] = CASING
    for region, colour in zip(regions, colours, strict=True):
        inner = binary_erosion(region, iterations=STROKE, border_value=1)
        outline = region & ~inner
        pixels[outline] = colour
    return Image.fromarray(pixels)


def _resize_region(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels that a region [H, W] covers by half. Of a region smaller than a pixel those that it covers most."""
    area = region.astype(np.float32)
    picture = Image.fromarray(area)
    resized = picture.resize(size, Image.Resampling.BOX)
    share = np.asarray(resized)
    least = min(0.5, share.max())
    return share >= max(least, 1e-6)


def _draw_fault(dataset: Dataset, error: Exception) -> Image.Image:
    """A square that says what is wrong; the file by its path below the root."""
    reason = str(error)
    if not reason:
        reason = type(error).__name__
    reason = reason.removeprefix(f"{dataset.name}: ")
    reason = reason.replace(f"{dataset.root}/", "")
    lines = textwrap.wrap(
        escape_glyphs(reason),
        LETTERS,
        max_lines=BOX // LINE - 1,
        placeholder=" …",
    )
    square = _make_square()
    draw = ImageDraw.Draw(square)
    draw.multiline_text(
        (6, 6),
        "\n".join(lines),
        fill=INK,
        font=load_font(),
        spacing=2,
    )
    return square


def _describe_size(mask: np.ndarray) -> str:
    """ "width×height pixels" of a mask [H, W], "width×height×depth voxels" of [D, H, W]."""
    *depth, height, width = mask.shape
    sides = [width, height, *depth]
    size = "×".join(map(str, sides))
    unit = "voxels" if depth else "pixels"
    return f"{size} {unit}"


def _describe_share(share: float) -> str:
    """The share of the foreground in percent, to one decimal, and small shares to two digits."""
    if not share:
        return "no foreground"
    percent = 100 * share
    if share >= 0.01:
        return f"{percent:.1f} % foreground"
    return f"{percent:.2g} % foreground"
