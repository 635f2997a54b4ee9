"""The two hospitals of the chest X-ray phantom: the ranges that their pictures are drawn from."""

from dataclasses import dataclass

from genseg_betty.data.phantom.canvas import Range


@dataclass(frozen=True)
class LungDomain:
    """Ranges that one hospital's pictures are drawn from."""

    degrees: float
    scale: Range
    aspect: Range
    shift: float
    width: Range  # outer edge of a lung, from the midline
    top: Range
    base: Range  # height of the diaphragm
    heart: Range  # how far the heart bulges into the left lung
    lung: Range  # brightness of lung, of 1
    ribs: Range
    opacities: Range  # patches of consolidation
    opacity: Range
    gamma: Range
    bias: float
    grain: Range
    blur: Range
    devices: float  # chance of each of: electrodes, pacemaker, printed label
    collimation: float  # chance of black bands at the border


SOURCE = LungDomain(
    degrees=4,
    scale=(1.0, 1.13),
    aspect=(0.97, 1.07),
    shift=0.05,
    width=(0.64, 0.74),
    top=(-0.74, -0.66),
    base=(0.28, 0.46),
    heart=(0.1, 0.22),
    lung=(0.28, 0.4),
    ribs=(0.07, 0.12),
    opacities=(0, 1),
    opacity=(0.1, 0.25),
    gamma=(0.9, 1.1),
    bias=0.03,
    grain=(0.01, 0.02),
    blur=(0.3, 0.5),
    devices=0.0,
    collimation=0.1,
)
SHIFTED = LungDomain(
    degrees=10,
    scale=(0.88, 1.2),
    aspect=(0.88, 1.1),
    shift=0.1,
    width=(0.56, 0.78),
    top=(-0.8, -0.62),
    base=(0.2, 0.5),
    heart=(0.12, 0.3),
    lung=(0.2, 0.46),
    ribs=(0.08, 0.16),
    opacities=(0, 3),
    opacity=(0.15, 0.4),
    gamma=(0.7, 1.7),
    bias=0.07,
    grain=(0.015, 0.04),
    blur=(0.2, 0.8),
    devices=0.35,
    collimation=0.5,
)
