"""A picture of a prediction: the image with its classes in colour, of a volume nine of its slices."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, binary_erosion

from genseg_betty.data.inspect.tiles import choose_slice, make_pixels
from genseg_betty.data.intensities import is_eight_bit
from genseg_betty.samples import PALETTE, PREDICTION

LONGEST = 2048  # pixels of the longer side; of larger images every second, third … pixel is shown
CELL = 384  # pixels of the longer side of a slice
SLICES = 9
COLUMNS = 3
GAP = 4
FILL = 0.3  # of a class's colour inside its outline
THICK = 200  # pixels of the shorter side from which outlines are two pixels wide and lie in a dark line
INK, CASING = (255, 255, 255), (0, 0, 0)
Colour = tuple[int, int, int]


def picture_prediction(
    image: np.ndarray, labels: np.ndarray, num_classes: int, spacing: Sequence[float] | None = None
) -> Image.Image:
    """An RGB picture of an image [H, W, C] or a volume [D, H, W, C] and its class indices.

    Each class is filled faintly and outlined. An image keeps its size up to LONGEST pixels; slices keep the shape that
    `spacing`, in mm along each axis, gives them.
    """
    colours = choose_colours(num_classes)
    if labels.ndim == 3:
        return _draw_slices(image, labels, colours, spacing)
    step = -(-max(labels.shape) // LONGEST)
    shown = image[::step, ::step]
    pixels = make_pixels(shown, is_eight_bit(shown))
    return Image.fromarray(_paint_classes(pixels, labels[::step, ::step], colours))


def choose_colours(num_classes: int) -> list[Colour]:
    """The colour of each class but the background: red, or those of the mask's palette if there are several."""
    if num_classes == 2:
        return [PREDICTION]
    others = PALETTE[1:]
    return [others[index % len(others)] for index in range(num_classes - 1)]


def _draw_slices(
    image: np.ndarray, labels: np.ndarray, colours: Sequence[Colour], spacing: Sequence[float] | None
) -> Image.Image:
    """A sheet of slices, their numbers in their corners, with the same black and white for all."""
    indices = _choose_slices(labels)
    stacked = np.concatenate([image[index] for index in indices])  # [n * H, W, C]
    pixels = make_pixels(stacked, is_eight_bit(stacked)).reshape(len(indices), *labels.shape[1:], 3)
    size = _fit_cell(labels.shape[1:], spacing)
    cells = []
    for index, slice_pixels in zip(indices, pixels, strict=True):
        picture = Image.fromarray(slice_pixels).resize(size, Image.Resampling.BICUBIC)
        mask = Image.fromarray(labels[index].astype(np.int32)).resize(size, Image.Resampling.NEAREST)
        cell = Image.fromarray(_paint_classes(np.array(picture), np.asarray(mask), colours))
        ImageDraw.Draw(cell).text(
            (3, 2), f"{index + 1}", fill=INK, font=ImageFont.load_default(), stroke_width=1, stroke_fill=CASING
        )
        cells.append(cell)
    return _lay_cells(cells, size)


def _choose_slices(labels: np.ndarray) -> list[int]:
    """Up to nine slices, evenly from the first with foreground to the last, that with the most among them.

    Without foreground from the whole volume.
    """
    holding = np.flatnonzero(labels.any(axis=(1, 2)))
    first, last = 0, len(labels) - 1
    if len(holding):
        first, last = holding[0], holding[-1]
    spread = np.linspace(first, last, SLICES).round().astype(int)
    most = choose_slice(labels)
    nearest = np.abs(spread - most).argmin()
    spread[nearest] = most
    return sorted(set(spread.tolist()))


def _fit_cell(shape: Sequence[int], spacing: Sequence[float] | None) -> tuple[int, int]:
    """Width and height of a slice [H, W] on the sheet, in the proportions of its millimetres."""
    down, across = (1.0, 1.0) if spacing is None else spacing[-2:]
    height, width = shape[0] * down, shape[1] * across
    scale = CELL / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _lay_cells(cells: Sequence[Image.Image], size: tuple[int, int]) -> Image.Image:
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    width, height = size
    sheet = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP))
    for place, cell in enumerate(cells):
        row, column = divmod(place, columns)
        sheet.paste(cell, (column * (width + GAP), row * (height + GAP)))
    return sheet


def _paint_classes(pixels: np.ndarray, labels: np.ndarray, colours: Sequence[Colour]) -> np.ndarray:
    """Pixels uint8 [H, W, 3] with each class of labels [H, W] filled faintly and outlined along its inner border."""
    painted = pixels.copy()
    is_large = min(labels.shape) >= THICK
    wide = 2 if is_large else 1
    if is_large:
        covered = labels > 0
        painted[binary_dilation(covered) & ~covered] = CASING
    for index, colour in enumerate(colours, start=1):
        region = labels == index
        if not region.any():
            continue
        blended = (1 - FILL) * pixels[region] + FILL * np.array(colour)
        painted[region] = blended.round().astype(np.uint8)
        inner = binary_erosion(region, iterations=wide, border_value=1)
        painted[region & ~inner] = colour
    return painted
