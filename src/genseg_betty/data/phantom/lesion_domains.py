"""The two clinics of the dermoscopy phantom: the ranges that their pictures are drawn from."""

from dataclasses import dataclass

from genseg_betty.data.phantom.canvas import Range
from genseg_betty.data.phantom.colours import Colour

FAIR_SKIN = (
    (0.93, 0.76, 0.7),
    (0.87, 0.66, 0.56),
    (0.9, 0.8, 0.8),
)
MIXED_SKIN = (
    (0.82, 0.6, 0.48),
    (0.68, 0.48, 0.38),
    (0.9, 0.66, 0.6),
    (0.8, 0.74, 0.66),
)
BROWN_PIGMENT = (
    (0.36, 0.18, 0.11),
    (0.48, 0.25, 0.13),
    (0.22, 0.14, 0.13),
)
VARIED_PIGMENT = (
    (0.42, 0.2, 0.14),
    (0.66, 0.3, 0.26),
    (0.25, 0.2, 0.24),
    (0.55, 0.38, 0.26),
)


@dataclass(frozen=True)
class LesionDomain:
    """Ranges that one clinic's pictures are drawn from."""

    skin: tuple[Colour, ...]
    pigment: tuple[Colour, ...]
    depth: Range  # how much of the pigment's colour the lesion takes
    scale: Range
    aspect: Range
    shift: float
    lobes: float  # deviation of the outline's waves
    softness: Range  # width of the lesion's edge
    mottle: Range
    halo: Range  # redness around the lesion
    texture: Range  # of the skin
    lighting: float
    hairs: Range
    rim: float  # chance of the lens's dark rim
    markings: float  # chance of each of: a ruler, ink dots around the lesion, gloss
    gamma: Range
    grain: Range
    blur: Range


SOURCE = LesionDomain(
    skin=FAIR_SKIN,
    pigment=BROWN_PIGMENT,
    depth=(0.7, 0.95),
    scale=(0.4, 0.62),
    aspect=(0.8, 1.3),
    shift=0.15,
    lobes=0.09,
    softness=(0.05, 0.14),
    mottle=(0.08, 0.18),
    halo=(0, 0.04),
    texture=(0.01, 0.02),
    lighting=0.03,
    hairs=(0, 4),
    rim=0.35,
    markings=0.0,
    gamma=(0.9, 1.1),
    grain=(0.008, 0.015),
    blur=(0.2, 0.5),
)
SHIFTED = LesionDomain(
    skin=MIXED_SKIN,
    pigment=VARIED_PIGMENT,
    depth=(0.65, 0.9),
    scale=(0.32, 0.62),
    aspect=(0.7, 1.45),
    shift=0.22,
    lobes=0.12,
    softness=(0.06, 0.18),
    mottle=(0.1, 0.22),
    halo=(0.01, 0.05),
    texture=(0.012, 0.025),
    lighting=0.05,
    hairs=(0, 6),
    rim=0.15,
    markings=0.2,
    gamma=(0.85, 1.25),
    grain=(0.01, 0.025),
    blur=(0.2, 0.8),
)
