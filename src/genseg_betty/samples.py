"""Sample pictures: one PNG with a row for each case and a titled column for each kind of picture."""

import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion
from torch import Tensor

from genseg_betty.files import atomic_write

CELL = 128  # least side of a picture, pixels; smaller ones are enlarged by a whole factor
GAP = 4
TITLE = 18
PALETTE = (
    (0, 0, 0),  # background
    (255, 255, 255),
    (230, 159, 0),  # from here on the colours of Okabe and Ito, which the colour-blind tell apart
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
)
TRUTH = (0, 220, 120)
PREDICTION = (255, 70, 60)
BACKGROUND = (250, 250, 250)
INK = (40, 40, 40)


def image_pixels(image: Tensor) -> np.ndarray:
    """[C, H, W] in [-1, 1], C 1 or 3 -> uint8 [H, W, 3]."""
    values = image.detach().float().cpu()
    levels = (values.clamp(-1, 1) + 1) * 127.5
    pixels = levels.round().byte()
    channels_last = pixels.permute(1, 2, 0).numpy()
    shape = (*image.shape[1:], 3)
    return np.broadcast_to(channels_last, shape).copy()


def mask_pixels(mask: Tensor) -> np.ndarray:
    """[H, W] class indices -> uint8 [H, W, 3], a colour for each class; more classes than colours repeat them."""
    colours = np.array(PALETTE, dtype=np.uint8)
    indices = mask.cpu().numpy()
    without_background = len(PALETTE) - 1
    repeated = (indices - 1) % without_background + 1
    chosen = np.where(indices == 0, 0, repeated)
    return colours[chosen]


def outline_masks(image: Tensor, truth: Tensor, prediction: Tensor) -> np.ndarray:
    """The image with the outlines of the true mask (green) and, above it, of the predicted one (red)."""
    height, width = image.shape[-2:]
    factor = choose_enlargement(width, height)
    pixels = enlarge_pixels(image_pixels(image), factor)
    _draw_outlines(pixels, truth, factor, TRUTH)
    _draw_outlines(pixels, prediction, factor, PREDICTION)
    return pixels


def _draw_outlines(pixels: np.ndarray, mask: Tensor, factor: int, colour: tuple[int, int, int]) -> None:
    """Colour the innermost pixels of each foreground class along its border."""
    indices = mask.cpu().numpy()
    labels = [label for label in mask.unique().tolist() if label]
    for label in labels:
        region = enlarge_pixels(indices == label, factor)
        inner = binary_erosion(region, border_value=1)
        pixels[region & ~inner] = colour


def choose_enlargement(*sides: int) -> int:
    """The whole factor that brings the smallest side to at least CELL."""
    rounded_up = -(-CELL // min(sides))
    return max(1, rounded_up)


def enlarge_pixels(pixels: np.ndarray, factor: int) -> np.ndarray:
    """The picture [H, W, …] with each pixel as a square of `factor` a side."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def save_samples(path: Path, columns: Mapping[str, list[np.ndarray]]) -> None:
    """Write a PNG with `columns` side by side: title -> pictures uint8 [H, W, 3], one a row, at least one in all.

    A shorter column ends in empty cells. The file appears at once or not at all.
    """
    cells = {title: _enlarge_all(pictures) for title, pictures in columns.items()}
    sheet = _lay_out(cells)
    png = io.BytesIO()
    sheet.save(png, "PNG")
    atomic_write(path, png.getvalue())


def _enlarge_all(pictures: list[np.ndarray]) -> list[np.ndarray]:
    enlarged = []
    for picture in pictures:
        factor = choose_enlargement(*picture.shape[:2])
        enlarged.append(enlarge_pixels(picture, factor))
    return enlarged


def _lay_out(cells: Mapping[str, list[np.ndarray]]) -> Image.Image:
    """A sheet of titled columns; all cells have the size of the largest picture, or of a title that is wider."""
    font = ImageFont.load_default()
    shapes = [picture.shape for pictures in cells.values() for picture in pictures]
    heights = [shape[0] for shape in shapes]
    widths = [shape[1] for shape in shapes]
    widths += [math.ceil(font.getlength(title)) + 4 for title in cells]
    row_height = max(heights) + GAP
    column_width = max(widths) + GAP
    rows = max(len(pictures) for pictures in cells.values())

    # No gap behind the last row and the last column.
    width = len(cells) * column_width - GAP
    height = TITLE + rows * row_height - GAP
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for column, (title, pictures) in enumerate(cells.items()):
        left = column * column_width
        pen.text((left + 2, 3), title, fill=INK, font=font)
        for row, picture in enumerate(pictures):
            top = TITLE + row * row_height
            cell = Image.fromarray(picture)
            sheet.paste(cell, (left, top))
    return sheet
