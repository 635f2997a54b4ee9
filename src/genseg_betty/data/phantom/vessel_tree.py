"""Vessels that branch: each is a walk of short steps that bends and thins, and forks lead to thinner ones."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from genseg_betty.data.phantom.canvas import Array, Stroke
from genseg_betty.data.phantom.pose import point_towards

KEPT_TURN = 0.85  # of a vessel's turn at the next step, so that it keeps its heading in the long run
STROKE_STEPS = 3  # steps of one width
OVERLAP = 1  # steps by which a stroke reaches into its neighbours


class Tip(NamedTuple):
    """Where a vessel begins."""

    place: Array  # [2]
    heading: float  # radians
    width: float


@dataclass(frozen=True)
class VesselTree:
    """How a vessel tree grows."""

    length: float  # of a step
    bend: float  # deviation of the turn at each step, radians
    taper: float  # width kept from step to step
    fork: float  # chance of a branch at each step
    least: float  # width at which a vessel ends
    steps: int = 60  # at most, from root or fork

    def grow_strokes(self, rng: np.random.Generator, root: Tip) -> list[Stroke]:
        """The strokes of one tree."""
        strokes: list[Stroke] = []
        tips = [root]
        while tips:
            tip = tips.pop()
            steps = self._count_steps(tip.width)
            if steps < 2:
                continue
            noise = rng.standard_normal(steps)
            turns = lfilter([self.bend], [1, -KEPT_TURN], noise)
            headings = tip.heading + turns
            points = self._walk_from(tip.place, headings)
            strokes += self._cut_strokes(points, tip.width, steps)

            # Each fork is the root of a thinner vessel that leaves to the left or the right.
            forks = rng.random(steps) < self.fork
            for step in np.flatnonzero(forks):
                sign = rng.choice([-1, 1])
                turn = sign * rng.uniform(0.5, 1.1)
                heading = headings[step] + turn
                width = tip.width * self.taper**step
                width *= rng.uniform(0.5, 0.8)
                tips.append(Tip(points[step], heading, width))
        return strokes

    def _count_steps(self, width: float) -> int:
        """Steps until a vessel of this width has thinned to the least."""
        thinning = np.log(self.least / width)
        steps = int(thinning / np.log(self.taper))
        return min(self.steps, steps)

    def _walk_from(self, place: Array, headings: Array) -> Array:
        """The points [steps + 1, 2] of a walk that goes one step in each direction."""
        walk = self.length * point_towards(headings)
        places = place + np.cumsum(walk, axis=0)
        return np.concatenate([place[None], places])

    def _cut_strokes(self, points: Array, width: float, steps: int) -> list[Stroke]:
        """A vessel in pieces, each thinner than the one before."""
        strokes = []
        for step in range(0, steps, STROKE_STEPS):
            first = max(step - OVERLAP, 0)
            behind = step + STROKE_STEPS + OVERLAP
            thinned = width * self.taper**step
            strokes.append(Stroke(points[first:behind], thinned))
        return strokes
