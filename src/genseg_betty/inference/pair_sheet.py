"""The contact sheet of synthetic pairs: each beside the real training image that is nearest to it."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from genseg_betty.data.inspect.sheet_layout import compose_sheet
from genseg_betty.data.inspect.tiles import Colour, Tile, choose_slice, class_colours, draw_picture
from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write
from genseg_betty.inference.pair_draws import DrawnPair, PairDraws
from genseg_betty.inference.pair_gate import PairQuality
from genseg_betty.inference.pair_record import PairRecord
from genseg_betty.samples import image_pixels

MOST_PAIRS = 12
PAIRS_IN_A_ROW = 3


def choose_shown(kept: Sequence[PairRecord]) -> list[PairRecord]:
    """A dozen pairs spread evenly over their distances, the nearest to a real image first."""
    ranked = sorted(kept, key=lambda record: (record.quality.distance if record.quality else 0.0, record.draw))
    places = np.linspace(0, len(ranked) - 1, min(MOST_PAIRS, len(ranked))).round()
    return [ranked[int(place)] for place in places]


def save_pair_sheet(
    path: Path,
    title: str,
    summary: Sequence[str],
    shown: Sequence[PairRecord],
    draws: PairDraws,
    real: Sequence[Tensor],
    classes: Sequence[str],
) -> None:
    """Write the sheet of these pairs, which are drawn once more. Raises UserError where it cannot be written.

    Args:
        real: the training images [C, *] in [-1, 1], in the order of the masks of `draws`.
        classes: the background first.
    """
    colours = class_colours(len(classes))
    tiles = []
    for record in shown:
        tiles += _make_tiles(record, draws, real, colours)
    columns = 2 * min(PAIRS_IN_A_ROW, len(shown))
    legend = list(zip(classes[1:], colours, strict=True))
    sheet = compose_sheet(title, summary, legend, tiles, columns)
    png = io.BytesIO()
    sheet.save(png, "PNG")
    try:
        atomic_write(path, png.getvalue(), sync=False)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}") from error


def _make_tiles(record: PairRecord, draws: PairDraws, real: Sequence[Tensor], colours: Sequence[Colour]) -> list[Tile]:
    """A pair and the real image that is nearest to it."""
    quality = record.quality
    assert quality is not None  # a sheet is made with a gate alone
    drawn = draws.draw_pair(record.draw)
    index = choose_slice(drawn.mask.numpy()) if drawn.mask.ndim == 3 else None
    own_lines = (record.file, f"agreement {quality.agreement:.3f}", f"distance {quality.distance:.3f}")
    of_slice = "" if index is None else f"slice {index + 1}, "
    moved = "moved as the mask" if quality.is_moved else "as it is"
    real_lines = (f"real: {record.nearest}", f"{of_slice}{moved}")
    image, mask = _take_real(drawn, draws, real, quality)
    return [
        _make_tile(drawn.image, drawn.mask, index, colours, own_lines),
        _make_tile(image, mask, index, colours, real_lines),
    ]


def _take_real(
    drawn: DrawnPair, draws: PairDraws, real: Sequence[Tensor], quality: PairQuality
) -> tuple[Tensor, Tensor]:
    """The nearest real image and its mask, moved as the pair's mask where it is nearest so."""
    place = quality.nearest
    image, mask = real[place], draws.masks[place]
    cut = draws.find_cut(place, drawn.number)
    if cut is not None:
        image, mask = cut.take_part(image, fill=-1), cut.take_part(mask)
    if quality.is_moved and drawn.move is not None:
        image = drawn.move.move_image(image)
        mask = drawn.move.move_values(mask[None, None], "nearest")[0, 0]
    return image, mask


def _make_tile(
    image: Tensor, mask: Tensor, index: int | None, colours: Sequence[Colour], lines: tuple[str, ...]
) -> Tile:
    if index is not None:
        image, mask = image[:, index], mask[index]
    picture: Image.Image = draw_picture(image_pixels(image), mask.numpy(), True, colours)
    return Tile(picture=picture, lines=lines, share=0.0, id=lines[0])
