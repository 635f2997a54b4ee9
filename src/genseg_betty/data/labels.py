"""What the values in a mask file mean: file values -> class indices, and the faults on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from genseg_betty.data.formats import ImageError
from genseg_betty.errors import UserError

MAX_BLURRED = 0.05  # share of in-between pixels up to which a 0/255 mask counts as resized, not as wrong
NEAR = 32  # a value this close to 0 or 255 may be JPEG noise rather than an in-between pixel
EDGE = 17  # pixels; blur stays within half of this of the outline that they come from


@dataclass(frozen=True)
class LabelMap:
    """Classes of a dataset and the file values that stand for them.

    `classes`: names, class 0 the background. `values`: the file value that each class is written with.
    `lookup`: declared file value -> class index; None where nothing is declared, and masks are binary.
    """

    classes: tuple[str, ...]
    values: tuple[int, ...]
    lookup: Mapping[int, int] | None

    @classmethod
    def declared(cls, labels: Mapping[str, int] | None, foreground: Sequence[str] | None) -> "LabelMap":
        """From the dataset YAML: `labels` (name -> file value), `foreground` (names to merge)."""
        if not labels:
            return cls(("background", "foreground"), (0, 255), None)
        faults = _faults(labels, foreground)
        if faults:
            raise UserError("dataset.labels: " + "; ".join(faults))
        background = "background" if "background" in labels else min(labels, key=lambda name: labels[name])
        others = [name for name in sorted(labels, key=lambda name: labels[name]) if name != background]
        if foreground:
            chosen = {labels[name] for name in foreground}
            merged = (labels[background], min(chosen))
            return cls((background, "foreground"), merged, {v: int(v in chosen) for v in labels.values()})
        names = (background, *others)
        values = tuple(labels[name] for name in names)
        return cls(names, values, {value: index for index, value in enumerate(values)})

    def decode(self, values: np.ndarray) -> tuple[np.ndarray, bool]:
        """[H, W] file values -> [H, W] int64 class indices; whether resizing or JPEG blurred the mask.

        Raises ImageError with code `unexpected_label`.
        """
        present = present_values(values)
        if self.lookup is not None:
            return self._decode_declared(values, present), False
        if present <= {0, 1}:
            return values.astype(np.int64), False
        if present <= {0, 255}:
            return (values > 0).astype(np.int64), False
        if not _is_blurred(values, present):
            raise ImageError("unexpected_label", _unexpected(present, "0 and 1, or 0 and 255"))
        return (values > 127).astype(np.int64), True

    def _decode_declared(self, values: np.ndarray, present: set[int]) -> np.ndarray:
        assert self.lookup is not None
        if not present <= self.lookup.keys():
            expected = ", ".join(map(str, sorted(self.lookup)))
            raise ImageError("unexpected_label", _unexpected(present - self.lookup.keys(), expected))
        known = sorted(self.lookup)
        indices = np.array([self.lookup[value] for value in known], dtype=np.int64)
        return indices[np.searchsorted(np.array(known), values)]


def present_values(values: np.ndarray) -> set[int]:
    """The distinct values of an integer array; for 8- and 16-bit masks counting is faster than sorting."""
    if values.dtype in (np.uint8, np.uint16):
        return set(np.flatnonzero(np.bincount(values.ravel())).tolist())
    return set(np.unique(values).tolist())


def _is_blurred(values: np.ndarray, present: set[int]) -> bool:
    """Whether the values other than 0 and 255 are the outline of a resized or JPEG mask, not labels.

    They are few, lie by an edge between dark and bright, and form no flat 3x3 patch: labels do. JPEG noise
    close to 0 and 255 may lie further off and be flat, but then comes in many values.
    """
    if min(present) < 0 or not 128 <= max(present) <= 255:
        return False
    other = (values != 0) & (values != 255)
    between = (values >= NEAR) & (values <= 255 - NEAR)
    suspicious = other if len(present) <= 10 else between
    contrast = ndimage.maximum_filter(values, EDGE).astype(int) - ndimage.minimum_filter(values, EDGE)
    flat = ndimage.maximum_filter(values, 3) == ndimage.minimum_filter(values, 3)
    return bool(between.mean() <= MAX_BLURRED and not (suspicious & (flat | (contrast < 128))).any())


def _unexpected(found: set[int], expected: str) -> str:
    shown = ", ".join(map(str, sorted(found)[:8])) + (", ..." if len(found) > 8 else "")
    return (
        f"holds the values {shown}; expected {expected}. Mend the mask, or declare its labels, "
        "as in dataset.labels={background: 0, ulcer: 1}"
    )


def _faults(labels: Mapping[str, int], foreground: Sequence[str] | None) -> list[str]:
    faults = []
    odd = [name for name, value in labels.items() if not isinstance(value, int) or not 0 <= value <= 65535]
    if odd:
        faults.append(f"the values of {', '.join(odd)} are not whole numbers within 0..65535")
    elif len(set(labels.values())) < len(labels):
        faults.append("two labels share one value; every label needs its own")
    if len(labels) < 2:
        faults.append("found one label; expected the background and at least one more")
    unknown = [name for name in foreground or () if name not in labels]
    if unknown:
        faults.append(f"foreground names {', '.join(unknown)}; expected names among {', '.join(labels)}")
    return faults
