"""How the mask of a synthetic pair was moved: the draw of the augmentation made once more, and told in numbers.

An augmentation keeps nothing of what it draws. It draws its geometry first and by torch's generator alone, so the same
seed gives the same move.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genseg_betty.augment import Augmentation
from genseg_betty.augment.geometry import normalise_moves, resample_values
from genseg_betty.randomness import seeded

DIGITS = 6


@dataclass(frozen=True)
class MaskMove:
    """One draw of the geometry.

    Args:
        matrix: [n + 1, n + 1] float64: (row, column, 1) of a pixel of the result -> that of its source; of volumes the
            slice comes first.
        displacements: [1, *, n] as `grid_sample` takes them, of a recipe that bends; else None.
        bend: pixels, the root mean square by which these move a pixel; None of a recipe that does not bend.
    """

    matrix: Tensor
    size: tuple[int, ...]
    displacements: Tensor | None = None
    bend: float | None = None

    def move_values(self, values: Tensor, mode: str) -> Tensor:
        """Values [B, C, *] moved as the mask was; 0 outside of the old frame."""
        moves = normalise_moves(self.matrix[None], self.size).expand(len(values), -1, -1)
        return resample_values(values, moves, self.displacements, mode, "zeros")

    def move_image(self, image: Tensor) -> Tensor:
        """An image [C, *] in [-1, 1] moved as the mask was; black outside of the old frame."""
        return self.move_values(image[None] + 1, "bilinear")[0] - 1

    def describe(self) -> dict[str, str | float]:
        """The columns of a table of pairs.

        rotation: of images, degrees against the clock; mirrored: 1 where left and right changed sides (of volumes one
        axis or three), before the rotation; scale: by which things became larger; shift_…: pixels by which the centre
        moved; move: the matrix row by row, from a pixel of the result to that of its source.
        """
        inverse = torch.linalg.inv(self.matrix).numpy()
        linear = inverse[:-1, :-1]
        dims = len(linear)
        scale = abs(np.linalg.det(linear)) ** (1 / dims)
        is_mirrored = bool(np.linalg.det(linear) < 0)
        centre = np.array([*[(side - 1) / 2 for side in self.size], 1.0])
        shift = (inverse @ centre - centre)[:-1]
        found: dict[str, str | float] = {}
        if dims == 2:
            found["rotation"] = _find_rotation(linear, scale, is_mirrored)
        found |= {"mirrored": int(is_mirrored), "scale": _round(scale)}
        names = ("shift_slices", "shift_down", "shift_right")[-dims:]
        found |= {name: _round(pixels) for name, pixels in zip(names, shift, strict=True)}
        if self.bend is not None:
            found["bend"] = _round(self.bend)
        rows = []
        for row in self.matrix[:-1].tolist():
            rows.append(" ".join(f"{value:.{DIGITS}f}" for value in row))
        return found | {"move": "; ".join(rows)}


def replay_move(augment: Augmentation, seed: int, size: tuple[int, ...]) -> MaskMove | None:
    """The move that `augment.mask` draws for one mask of this size under `seed`; None of an augmentation of others."""
    if type(augment) is not Augmentation:
        return None
    with seeded(seed):
        matrix = augment.geometry.draw_moves(1, *size)[0]
        if augment.elastic is None:
            return MaskMove(matrix, size)
        displacements = augment.elastic.draw_normalised(1, size)
    halves = torch.tensor([max(side - 1, 1) / 2 for side in reversed(size)], dtype=torch.float64)
    squared = (displacements * halves).square().sum(-1)
    return MaskMove(matrix, size, displacements, float(squared.mean().sqrt()))


def _find_rotation(linear: np.ndarray, scale: float, is_mirrored: bool) -> float:
    """Degrees against the clock, after the mirror, of a linear map of (row, column)."""
    to_right_and_up = np.array([[0.0, 1.0], [-1.0, 0.0]])
    turned = to_right_and_up @ linear @ to_right_and_up.T / scale
    if is_mirrored:
        turned = turned @ np.diag([-1.0, 1.0])
    return _round(np.degrees(np.arctan2(turned[1, 0], turned[0, 0])))


def _round(value: float) -> float:
    return round(float(value), 4) + 0.0  # never -0.0
