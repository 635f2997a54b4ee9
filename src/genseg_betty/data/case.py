"""A labelled image: where its files lie, and what they hold."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Sample:
    """One image and its mask, at the file's own size."""

    image: np.ndarray  # [H, W, C] or [D, H, W, C] float32, raw file intensities (8-bit: 0..255, 16-bit: 0..65535)
    mask: np.ndarray | None  # [H, W] or [D, H, W] int64, class indices 0..num_classes-1
    spacing: tuple[float, ...] | None = None  # mm, along each axis of the mask; None where the file states none


@dataclass(frozen=True)
class Case:
    """One labelled image, the masks whose union is its truth, and the group it must stay with."""

    id: str
    image: Path
    masks: tuple[Path, ...]
    group: str
    dataset: str
