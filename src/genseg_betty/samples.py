"""Sample pictures: one PNG with a row for each case and a titled column for each kind of picture."""

import io
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
PALETTE = ((0, 0, 0), (255, 255, 255), (230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167), (240, 228, 66))
TRUTH, PREDICTION = (0, 220, 120), (255, 70, 60)


def image_pixels(image: Tensor) -> np.ndarray:
    """[C, H, W] in [-1, 1], C 1 or 3 -> uint8 [H, W, 3]."""
    grey = (image.detach().float().cpu().clamp(-1, 1) + 1) * 127.5
    return np.broadcast_to(grey.round().byte().permute(1, 2, 0).numpy(), (*image.shape[1:], 3)).copy()


def mask_pixels(mask: Tensor) -> np.ndarray:
    """[H, W] class indices -> uint8 [H, W, 3], a colour for each class; more classes than colours repeat them."""
    colours = np.array(PALETTE, dtype=np.uint8)
    indices = mask.cpu().numpy()
    return colours[np.where(indices == 0, 0, (indices - 1) % (len(PALETTE) - 1) + 1)]


def overlay(image: Tensor, truth: Tensor, prediction: Tensor) -> np.ndarray:
    """The image with the outlines of the true mask (green) and, above it, of the predicted one (red)."""
    factor = enlargement(image.shape[-1], image.shape[-2])
    pixels = enlarge(image_pixels(image), factor)
    for mask, colour in ((truth, TRUTH), (prediction, PREDICTION)):
        for label in mask.unique().tolist():
            region = enlarge(mask.cpu().numpy() == label, factor)
            if label:
                pixels[region & ~binary_erosion(region, border_value=1)] = colour
    return pixels


def enlargement(*sides: int) -> int:
    """The whole factor that brings the smallest side to at least CELL."""
    return max(1, -(-CELL // min(sides)))


def enlarge(pixels: np.ndarray, factor: int) -> np.ndarray:
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def save_samples(path: Path, columns: Mapping[str, list[np.ndarray]]) -> None:
    """Write a PNG with `columns` side by side: title -> pictures uint8 [H, W, 3], one a row, at least one in all.

    A shorter column ends in empty cells. The file appears at once or not at all.
    """
    cells = {title: [enlarge(p, enlargement(*p.shape[:2])) for p in pictures] for title, pictures in columns.items()}
    pictures = [picture for column in cells.values() for picture in column]
    font = ImageFont.load_default()
    titles = [int(np.ceil(font.getlength(title))) + 4 for title in cells]
    height, width = max(p.shape[0] for p in pictures), max([*titles, *(p.shape[1] for p in pictures)])
    rows = max(len(column) for column in cells.values())
    sheet = Image.new("RGB", (len(cells) * (width + GAP) - GAP, TITLE + rows * (height + GAP) - GAP), (250, 250, 250))
    draw = ImageDraw.Draw(sheet)
    for column, (title, own) in enumerate(cells.items()):
        left = column * (width + GAP)
        draw.text((left + 2, 3), title, fill=(40, 40, 40), font=font)
        for row, picture in enumerate(own):
            sheet.paste(Image.fromarray(picture), (left, TITLE + row * (height + GAP)))
    png = io.BytesIO()
    sheet.save(png, "PNG")
    atomic_write(path, png.getvalue())
