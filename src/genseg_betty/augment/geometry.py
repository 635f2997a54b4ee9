"""Rotation, scale, flip and translation of masks and images.

GenSeg applies its operations "in random sequence" (Methods, stage II). All of them are affine. Drawn one by one and
multiplied in their random order, they become one matrix an image and one resampling: the same geometry as applying
them in sequence, but nothing is interpolated twice, and nothing that one operation moves out of sight is lost before
the next brings it back.

MONAI is imported where it is used: that takes seconds, which a mistyped command should not cost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

BORDERS = ("zeros", "border", "reflection")


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What moves an image; the arguments are those of `Augmentation`."""

    rotate: float
    rotate_volumes: float | None
    rotate_probability: float
    scale: tuple[float, ...] | None
    scale_probability: float
    flip: tuple[int, ...]
    translate: float
    spacing: tuple[float, ...] | None

    def find_faults(self) -> list[str]:
        """A line for each argument that is out of range."""
        faults = []
        for name in ("rotate", "rotate_volumes"):
            degrees = getattr(self, name)
            if degrees is not None and not 0 <= degrees <= 180:
                faults.append(f"augment.{name}={degrees}: expected degrees within 0 to 180")
        if not 0 <= self.translate < 1:
            faults.append(f"augment.translate={self.translate}: expected a fraction of the side, 0 <= translate < 1")
        axes = set(self.flip)
        if len(axes) != len(self.flip) or not axes <= {0, 1, 2}:
            faults.append(f"augment.flip={list(self.flip)}: expected axes out of [0, 1, 2], each once, or []")
        for name in ("rotate_probability", "scale_probability"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                faults.append(f"augment.{name}={share}: expected a share of the images, from 0 to 1")
        if self.scale is not None and not _is_zoom(self.scale):
            faults.append(f"augment.scale={list(self.scale)}: expected [least, most] within 0.1 to 10")
        return faults

    def draw_normalised(self, count: int, size: Sequence[int]) -> Tensor:
        """Draw one move for each of `count` images of this size: [count, n, n + 1], see `normalise_moves`."""
        matrices = self.draw_moves(count, *size)
        return normalise_moves(matrices, size)

    def draw_moves(self, count: int, *size: int) -> Tensor:
        """Matrices [count, n + 1, n + 1], float64: (row, column, 1) of a result's pixel -> that of its source.

        `size` is (H, W) or (D, H, W); of volumes the slice comes before row and column.
        """
        from monai.transforms.utils import create_translate

        # Everything follows from one seed, which torch's generator of the CPU gives.
        seed = int(torch.randint(2**31, ()))
        random = np.random.RandomState(seed)
        dims = len(size)
        centre = [(side - 1) / 2 for side in size]
        opposite = [-at for at in centre]
        to_centre = create_translate(dims, centre)
        back = create_translate(dims, opposite)
        moves = []
        for _ in range(count):
            about_centre = self._draw_move(random, size)
            moves.append(to_centre @ about_centre @ back)
        return torch.from_numpy(np.stack(moves))

    def _draw_move(self, random: np.random.RandomState, size: Sequence[int]) -> np.ndarray:
        """One image's matrix about its centre.

        The first operation stands leftmost: a pixel of the result is traced back through the last operation
        first.
        """
        from monai.transforms.utils import create_rotate, create_scale, create_translate

        dims = len(size)
        angles = self._draw_angles(random, dims)
        signs = self._draw_signs(random, dims)
        most = self.translate
        shift = [side * random.uniform(-most, most) for side in size]

        # A turn goes from voxels to mm, and back.
        spacing = self.spacing or (1.0,) * dims
        steps = np.array([*spacing, 1.0])
        turn = create_rotate(dims, angles) * steps
        turn = turn / steps[:, None]

        mirror = create_scale(dims, signs)
        operations = [turn, mirror, create_translate(dims, shift)]
        if self.scale is not None:
            factor = self._draw_scale(random, self.scale)
            operations.append(create_scale(dims, [1 / factor] * dims))
        order = random.permutation(len(operations))
        in_sequence = [operations[number] for number in order]
        return reduce(np.matmul, in_sequence)

    def _draw_angles(self, random: np.random.RandomState, dims: int) -> list[float]:
        """Radians: one angle in the plane, three in space."""
        most = self.rotate
        if dims == 3 and self.rotate_volumes is not None:
            most = self.rotate_volumes
        degrees = [random.uniform(-most, most) for _ in range(2 * dims - 3)]
        if not _is_chosen(random, self.rotate_probability):
            degrees = [0.0 for _ in degrees]
        return [math.radians(angle) for angle in degrees]

    def _draw_scale(self, random: np.random.RandomState, limits: Sequence[float]) -> float:
        smallest, largest = limits
        factor = random.uniform(smallest, largest)
        return factor if _is_chosen(random, self.scale_probability) else 1.0

    def _draw_signs(self, random: np.random.RandomState, dims: int) -> list[float]:
        """-1 for each axis that is mirrored, else 1; of volumes the slices come first."""
        axes = (2, 0, 1)[-dims:]
        signs = []
        for axis in axes:
            mirrored = axis in self.flip and random.rand() < 0.5
            signs.append(-1.0 if mirrored else 1.0)
        return signs


def _is_zoom(limits: Sequence[float]) -> bool:
    return len(limits) == 2 and 0.1 <= limits[0] <= limits[1] <= 10


def _is_chosen(random: np.random.RandomState, probability: float) -> bool:
    """Whether an operation acts on an image; no number is drawn for one that acts on each."""
    return probability == 1 or random.rand() < probability


def normalise_moves(matrices: Tensor, size: Sequence[int]) -> Tensor:
    """Matrices in pixels [B, n + 1, n + 1] -> in the coordinates of `affine_grid`, -1..1 and x first: [B, n, n + 1].

    This runs on the CPU, where the matrices are drawn: MONAI's own transform would do it on the GPU, and wait for it.
    """
    from monai.networks.utils import to_norm_affine

    dims = len(size)
    normalised = to_norm_affine(matrices, size, size, align_corners=True)
    moves = normalised[:, :dims].flip(1)
    turn = moves[..., :dims].flip(2)
    shift = moves[..., dims:]
    return torch.cat([turn, shift], dim=2)


def resample_values(values: Tensor, moves: Tensor, displacements: Tensor | None, mode: str, border: str) -> Tensor:
    """Values [B, C, *] where `moves` lead, and from there `displacements` [B, *, n].

    Computed in float64, which autocast and TF32 leave alone: both would move pixels by rounding the coordinates.
    """
    shape = list(values.shape)
    grid = functional.affine_grid(moves, shape, align_corners=True)
    if displacements is not None:
        grid = grid + displacements
    moved = functional.grid_sample(
        values.double(),
        grid,
        mode=mode,
        padding_mode=border,
        align_corners=True,
    )
    return moved.to(values.dtype)
