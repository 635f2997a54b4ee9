"""What one case holds, short enough to be kept."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from genseg_betty.data.intensities import PERCENTILES, is_eight_bit, is_gray
from genseg_betty.data.source.case import Sample

SAMPLED = 2**14  # pixels of one image from which its percentiles are taken, about


@dataclass(frozen=True)
class CaseFacts:
    """The facts of one case.

    Attributes:
        shape: (H, W) or (D, H, W).
        spacing: mm, in the order of `shape`.
        channels: 1 or 3; gray images stored as colour have 1.
        eight_bit: whether intensities are whole numbers within 0..255.
        intensities: least, 0.5th percentile, median, 99.5th percentile, greatest.
        counts: pixels of each class.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None
    channels: int
    eight_bit: bool
    intensities: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of_sample(cls, sample: Sample, num_classes: int) -> "CaseFacts":
        """The facts of a case as it was read."""
        assert sample.mask is not None
        image = sample.image
        labels = sample.mask.ravel()
        counts = np.bincount(labels, minlength=num_classes)
        return cls(
            shape=image.shape[:-1],
            spacing=sample.spacing,
            channels=1 if is_gray(image) else 3,
            eight_bit=is_eight_bit(image),
            intensities=_measure_intensities(image),
            counts=tuple(map(int, counts)),
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CaseFacts":
        """The inverse of `dataclasses.asdict`, by way of JSON too."""
        keys: dict[str, Any] = {}
        for key, value in values.items():
            keys[key] = tuple(value) if isinstance(value, list) else value
        return cls(**keys)

    @property
    def foreground(self) -> float:
        """Share of the pixels that are foreground."""
        background = self.counts[0]
        return 1 - background / sum(self.counts)

    def stand_in(self) -> np.ndarray:
        """One pixel for an 8-bit image, of which `Preprocessing.fit` asks no more than that, and whether it is gray."""
        axes = len(self.shape)
        pixel = np.arange(self.channels, dtype=np.float32)
        return pixel.reshape(*[1] * axes, self.channels)


def _measure_intensities(image: np.ndarray) -> tuple[float, ...]:
    """Least, 0.5th percentile, median, 99.5th percentile and greatest; those between are of some of the pixels."""
    channels = image.shape[-1]
    pixels = image.reshape(-1, channels)
    step = len(pixels) // SAMPLED | 1  # odd, so that it does not walk down one column
    low, high = PERCENTILES
    inner = np.percentile(pixels[::step], (low, 50, high))
    return (
        float(image.min()),
        *map(float, inner),
        float(image.max()),
    )
