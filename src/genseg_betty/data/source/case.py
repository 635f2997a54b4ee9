"""A labelled image: where its files lie, and what they hold."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genseg_betty.data.formats import Header
from genseg_betty.data.formats.place import orientation_of
from genseg_betty.data.formats.turns import turn_to, turned, turned_header


@dataclass(frozen=True)
class Sample:
    """One image and its mask, at the file's own size."""

    image: np.ndarray  # [H, W, C] or [D, H, W, C] float32, raw file intensities (8-bit: 0..255, 16-bit: 0..65535)
    mask: np.ndarray | None  # [H, W] or [D, H, W] int64, class indices 0..num_classes-1
    spacing: tuple[float, ...] | None = None  # mm, along each axis of the mask; None where the file states none
    affine: np.ndarray | None = None  # where it lies, as `Header` has it

    def in_orientation(self, wanted: str | None) -> "Sample":
        """The sample with its axes permuted and flipped to that orientation; itself where there is nothing to do."""
        header = Header(self.image.shape[:-1], self.spacing, self.affine)
        turn = turn_to(orientation_of(header), wanted)
        if turn is None:
            return self
        mask = None if self.mask is None else turned(self.mask, turn)
        other = turned_header(header, turn)
        return Sample(turned(self.image, turn), mask, other.spacing, other.affine)


@dataclass(frozen=True)
class Case:
    """One labelled image, the masks whose union is its truth, and the group it must stay with."""

    id: str
    image: Path
    masks: tuple[Path, ...]
    group: str
    dataset: str
