"""Elastic displacement: images bend smoothly, and never fold.

A lattice of control points lies over the image; each moves at random, and a uniform cubic B-spline spreads their
displacements to the pixels (Rueckert et al., Nonrigid registration using free-form deformations, IEEE TMI 1999). Where
no control point moves by 0.4 of the distance between two, no two pixels take their value from the same place (Choi and
Lee, Injectivity conditions of 2D and 3D uniform cubic B-spline functions, Graphical Models 2000).

SciPy is imported where it is used: that takes a while, which a mistyped command should not cost.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

DEGREE = 3  # of the spline
MOST_CELLS = 64
MOST_SHIFT = 0.4  # of the distance between control points, beyond which images may fold


@dataclass(frozen=True, kw_only=True)
class Elastic:
    """Random smooth displacements.

    Args:
        cells: distances between control points along each side: the more, the finer an image bends.
        shift: how far a control point moves at most along each axis, as a share of the distance between two: uniform
            in [-shift, shift], 0 <= shift <= 0.4. So no pixel moves by more than shift / cells of a side.
        probability: the share of images that bend.
    """

    cells: int
    shift: float
    probability: float = 1.0

    def find_faults(self) -> list[str]:
        """A line for each argument that is out of range."""
        faults = []
        if not 1 <= self.cells <= MOST_CELLS:
            faults.append(f"augment.elastic.cells={self.cells}: expected an integer from 1 to {MOST_CELLS}")
        if not 0 <= self.shift <= MOST_SHIFT:
            faults.append(
                f"augment.elastic.shift={self.shift}: expected a share of the distance between control points, from 0 "
                f"to {MOST_SHIFT}: beyond that images may fold"
            )
        if not 0 <= self.probability <= 1:
            faults.append(
                f"augment.elastic.probability={self.probability}: expected a share of the images, from 0 to 1"
            )
        return faults

    def draw_normalised(self, count: int, size: tuple[int, ...]) -> Tensor:
        """As `draw_displacements`, in the coordinates of `grid_sample`: -1..1 is a side, and x comes first."""
        displacements = self.draw_displacements(count, size)
        lengths = [max(side - 1, 1) for side in size]
        halves = torch.tensor(lengths, dtype=torch.float64) / 2
        return (displacements / halves).flip(-1)

    def draw_displacements(self, count: int, size: tuple[int, ...]) -> Tensor:
        """Pixels [count, *, n], float64, by which the source of each pixel lies elsewhere along each axis.

        Everything follows from one seed, which torch's generator of the CPU gives.
        """
        seed = int(torch.randint(2**31, ()))
        random = np.random.RandomState(seed)
        dims = len(size)
        points = self.cells + DEGREE
        control = random.uniform(-self.shift, self.shift, (count, *[points] * dims, dims))
        bends = random.uniform(size=count) < self.probability
        control[~bends] = 0

        # Along each axis in turn, the control points become pixels.
        for axis, side in enumerate(size, start=1):
            weights = spread_weights(side, self.cells)
            spread = np.tensordot(control, weights, axes=(axis, 1))
            control = np.moveaxis(spread, -1, axis)
        distances = np.array(size) / self.cells
        return torch.from_numpy(control * distances)


def spread_weights(side: int, cells: int) -> np.ndarray:
    """The weight of each control point in each pixel along a side: [side, cells + 3]; each row sums to 1."""
    from scipy.interpolate import BSpline

    knots = np.arange(-DEGREE, cells + DEGREE + 1, dtype=float)
    pixels = np.linspace(0, cells, side)
    return BSpline.design_matrix(pixels, knots, DEGREE).toarray()
