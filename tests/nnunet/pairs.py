"""Small data sets in folders, of every kind that nnU-Net is handed."""

from pathlib import Path

import nibabel
import numpy as np
import tifffile
from PIL import Image

SIDE = 48


def draw_case(index: int, axes: int = 2, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball in noise, and its class indices; its upper half is another class where there are three."""
    random = np.random.default_rng(index)
    grid = np.indices((SIDE,) * axes if axes == 2 else (12, SIDE, SIDE))
    middles = [side / 2 for side in grid.shape[1:]]
    centre = np.array(middles) + random.integers(-4, 5, axes) * (np.array(middles) > 8)
    distance = ((grid - centre.reshape(-1, *(1,) * axes)) ** 2).sum(axis=0)
    ball = distance < 100
    mask = ball * (1 + (grid[0] < centre[0]) * (classes == 3))
    image = random.integers(0, 60, ball.shape) + 150 * ball
    return image.astype(np.uint8), mask.astype(np.uint8)


def write_pictures(root: Path, count: int, kind: str = "gray", values: tuple[int, ...] = (0, 255)) -> None:
    """Pictures of one kind: gray, rgb, rgba, sixteen (bits, gray) or float; masks hold these values."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image, mask = draw_case(index, classes=len(values))
        stored = np.array(values, dtype=np.uint8)[mask]
        Image.fromarray(stored).save(root / "masks" / f"case {index}.png")
        path = root / "images" / f"case {index}.png"
        if kind == "float":
            tifffile.imwrite(path.with_suffix(".tif"), image.astype(np.float32) / 7)
            continue
        Image.fromarray(colour_pixels(image, kind)).save(path)


def colour_pixels(image: np.ndarray, kind: str) -> np.ndarray:
    """Pixels of one kind that differ between channels."""
    if kind == "gray":
        return image
    if kind == "sixteen":
        return image.astype(np.uint16) * 200
    channels = [image, 255 - image, image // 2]
    if kind == "rgba":
        channels.append(np.full_like(image, 255))
    return np.stack(channels, axis=-1)


def write_volumes(root: Path, count: int, spacing: tuple[float, float, float]) -> None:
    """NIfTI volumes with voxels of that size along x, y and z, in millimetres, stored from right to left."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    affine = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
    for index in range(count):
        image, mask = draw_case(index, axes=3)
        for folder, array in (("images", image), ("masks", mask)):
            nibabel.save(nibabel.Nifti1Image(array.T, affine), root / folder / f"v{index}.nii.gz")
