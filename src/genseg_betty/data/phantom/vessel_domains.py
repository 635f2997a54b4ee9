"""The two operation theatres of the fetoscopy phantom: the ranges that their pictures are drawn from."""

from dataclasses import dataclass

from genseg_betty.data.phantom.canvas import Range
from genseg_betty.data.phantom.colours import Colour

PINK_TISSUE = (
    (0.85, 0.5, 0.36),
    (0.8, 0.42, 0.33),
    (0.9, 0.58, 0.42),
)
MIXED_TISSUE = (
    (0.86, 0.62, 0.4),
    (0.7, 0.36, 0.32),
    (0.8, 0.6, 0.48),
    (0.74, 0.56, 0.36),
)


@dataclass(frozen=True)
class VesselDomain:
    """Ranges that one operation theatre's pictures are drawn from."""

    tissue: tuple[Colour, ...]
    contrast: Range  # how much of a vessel's colour shows
    veins: float  # chance that a tree is bluish and dark, not red
    trees: Range
    width: Range
    bend: Range
    radius: Range  # of the field of view
    shift: float  # of its centre
    texture: Range
    lighting: float
    glints: Range
    haze: Range  # whitish fluid
    particles: Range
    instrument: float  # chance of the laser fibre and its spot
    gamma: Range
    grain: Range
    blur: Range


SOURCE = VesselDomain(
    tissue=PINK_TISSUE,
    contrast=(0.75, 0.95),
    veins=0.4,
    trees=(2, 3),
    width=(0.15, 0.22),
    bend=(0.12, 0.25),
    radius=(0.95, 1.15),
    shift=0.05,
    texture=(0.01, 0.025),
    lighting=0.04,
    glints=(0, 2),
    haze=(0, 0.1),
    particles=(0, 0),
    instrument=0.0,
    gamma=(0.9, 1.1),
    grain=(0.008, 0.015),
    blur=(0.3, 0.6),
)
SHIFTED = VesselDomain(
    tissue=MIXED_TISSUE,
    contrast=(0.6, 0.9),
    veins=0.55,
    trees=(2, 4),
    width=(0.12, 0.25),
    bend=(0.15, 0.32),
    radius=(0.82, 1.2),
    shift=0.12,
    texture=(0.015, 0.035),
    lighting=0.08,
    glints=(0, 5),
    haze=(0.03, 0.2),
    particles=(0, 8),
    instrument=0.25,
    gamma=(0.8, 1.3),
    grain=(0.01, 0.025),
    blur=(0.3, 0.9),
)
