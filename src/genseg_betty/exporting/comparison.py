"""Whether an exported file computes what the Run's own network computes, on images of several sizes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genseg_betty.errors import UserError
from genseg_betty.exporting.recording import Segmenter, Sizes, choose_odd_size, draw_images

TOLERANCE = 1e-4  # of logits, and of their largest where that is above 1: float32 sums in another order
BATCHES = (1, 3)


@dataclass(frozen=True)
class Comparison:
    """The images that a file is tried on, and what the Run's own network makes of them.

    Attributes:
        reference: the Run's network behind the same scaling, images [B, C, *] -> logits.
        channels: of the images.
        size: that the network was trained at.
        window: the values that the images hold, from the lowest to the highest.
    """

    reference: Segmenter
    channels: int
    size: tuple[int, ...]
    window: tuple[float, float]

    def compare(self, exported: Segmenter, sizes: Sizes) -> float:
        """The largest difference of the logits, over all images that `sizes` allows.

        Raises UserError where it is more than rounding explains, or the file does not run.
        """
        batches = BATCHES if sizes.batch is None else (sizes.batch,)
        shapes = [(batch, self.size) for batch in batches]
        if sizes.takes_any_sides:
            shapes.append((batches[-1], choose_odd_size(self.size)))
        return max(self._compare_at(exported, batch, size) for batch, size in shapes)

    def takes_other_sizes(self, exported: Segmenter) -> bool:
        """Whether the file computes the same at another size than the network's."""
        try:
            self._compare_at(exported, 2, choose_odd_size(self.size))
        except UserError:
            return False
        return True

    def _compare_at(self, exported: Segmenter, batch: int, size: Sequence[int]) -> float:
        images = draw_images([batch, self.channels, *size], *self.window)
        shown = " x ".join(map(str, images.shape))
        with torch.no_grad():
            expected = self.reference(images)
            try:
                found = exported(images)
            except Exception as error:  # whatever a runtime raises
                lines = str(error).strip().splitlines()
                raise UserError(f"the exported file does not run on images of {shown}: {lines[0]}") from error
        difference = _measure_difference(found, expected)
        largest = float(expected.abs().max())
        if not difference <= TOLERANCE * max(1.0, largest):
            raise UserError(
                f"the exported file computes something else than the Run's network: logits differ by {difference:.2g} "
                f"on images of {shown}, where at most {TOLERANCE:g} is rounding. It is deleted; try another --format"
            )
        return difference


def _measure_difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference; infinity where the shapes differ or a number is not finite."""
    if found.shape != expected.shape:
        return math.inf
    difference = float((found - expected).abs().max())
    return difference if math.isfinite(difference) else math.inf
