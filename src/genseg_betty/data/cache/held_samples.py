"""Decoded cases that wait in memory for their preprocessing, so that most files are decoded once."""

import numpy as np

from genseg_betty.data.source.case import Case, Sample

HELD = 2**30  # bytes; the cases beyond are decoded twice


class HeldSamples:
    """Samples by case, in the smallest integers that hold them, up to `HELD` bytes."""

    def __init__(self, num_classes: int) -> None:
        self._mask_type = np.min_scalar_type(num_classes)
        self._samples: dict[str, Sample] = {}  # by case id
        self._bytes = 0

    def add(self, case: Case, sample: Sample, eight_bit: bool) -> None:
        """Hold a sample, if there is room; `eight_bit`: its intensities are whole numbers within 0..255."""
        assert sample.mask is not None
        image = sample.image
        if eight_bit:
            image = image.astype(np.uint8)
        mask = sample.mask.astype(self._mask_type)
        packed = Sample(image, mask, sample.spacing)
        size = _count_bytes(packed)
        if self._bytes + size <= HELD:
            self._samples[case.id] = packed
            self._bytes += size

    def get(self, case: Case) -> Sample | None:
        """The sample of a case, if it is held."""
        return self._samples.get(case.id)

    def release(self, case: Case) -> None:
        """Hold the sample of a case no longer."""
        sample = self._samples.pop(case.id, None)
        if sample is not None:
            self._bytes -= _count_bytes(sample)


def _count_bytes(sample: Sample) -> int:
    assert sample.mask is not None
    return sample.image.nbytes + sample.mask.nbytes
