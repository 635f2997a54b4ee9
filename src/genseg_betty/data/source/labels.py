"""What the values in a mask file mean: file values -> class indices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genseg_betty.data.formats import ImageError
from genseg_betty.data.source.label_faults import find_label_faults
from genseg_betty.data.source.label_messages import describe_colours, describe_not_binary, describe_undeclared
from genseg_betty.data.source.label_values import WHITES, LabelValue, to_file_number, to_label_value
from genseg_betty.errors import UserError

MAX_BLURRED = 0.05  # share of in-between pixels up to which a 0/255 mask counts as resized, not as wrong
HALF = 127  # blurred masks are foreground above it, unless a threshold is declared
NEAR = 32  # a value this close to 0 or 255 may be JPEG noise rather than an in-between pixel
MANY_VALUES = 10  # a mask with more distinct values holds JPEG noise
CONTRAST = 128  # between dark and bright on the two sides of an outline
EDGE = 17  # pixels; blur stays within half of this of the outline that it comes from


@dataclass(frozen=True)
class LabelMap:
    """Classes of a dataset and what stands for them in its mask files.

    `classes`: names, class 0 the background. `values`: what each class is written with, a number, or (red, green,
    blue) where the masks are in colour. `lookup`: declared file value, colours packed, -> class index; None where
    nothing is declared, and masks are binary. `threshold`: binary masks are foreground above this value.
    """

    classes: tuple[str, ...]
    values: tuple[LabelValue, ...]
    lookup: Mapping[int, int] | None
    threshold: int | None = None

    @classmethod
    def declared(
        cls,
        labels: Mapping[str, LabelValue] | None,
        foreground: Sequence[str] | None,
        classes: Sequence[str] | None = None,
        threshold: int | None = None,
    ) -> "LabelMap":
        """Build the map that a dataset YAML declares.

        Args:
            labels: name -> file value or colour.
            foreground: names to merge into one class.
            classes: a short form of `labels`: the names of the values 0, 1, 2, ...
            threshold: binary masks are foreground above it.

        Raises:
            UserError: with every fault of the labels in it.
        """
        key = "labels"
        if classes:
            key = "classes"
            _require_unequal(classes)
            labels = labels or {name: value for value, name in enumerate(classes)}
        if not labels:
            return cls(("background", "foreground"), (0, 255), None, threshold)
        faults = find_label_faults(labels, foreground)
        if faults:
            told = "; ".join(faults)
            raise UserError(f"dataset.{key}: {told}")
        values = {name: to_label_value(value) for name, value in labels.items()}
        return cls._order_labels(values, foreground)

    @classmethod
    def _order_labels(cls, labels: Mapping[str, LabelValue], foreground: Sequence[str] | None) -> "LabelMap":
        """Put the background first, then the other labels by their values, or merged into one."""
        numbers = {name: to_file_number(value) for name, value in labels.items()}
        by_number = sorted(numbers, key=lambda name: numbers[name])
        background = "background" if "background" in labels else by_number[0]
        lookup = {}
        if foreground:
            for name, number in numbers.items():
                lookup[number] = int(name in foreground)
            merged = [name for name in by_number if name in foreground]
            values = (labels[background], labels[merged[0]])
            return cls((background, "foreground"), values, lookup)

        by_number.remove(background)
        names = (background, *by_number)
        for index, name in enumerate(names):
            lookup[numbers[name]] = index
        return cls(
            classes=names,
            values=tuple(labels[name] for name in names),
            lookup=lookup,
        )

    @property
    def in_colour(self) -> bool:
        """Whether colours stand for the classes; `decode` then takes them packed."""
        return isinstance(self.values[0], tuple)

    def decode(self, values: np.ndarray) -> tuple[np.ndarray, bool]:
        """Turn file values [H, W] into int64 class indices [H, W].

        Values of type bool are those of a 1-bit file, whose 1 stands for 1 or for white, as the labels have it.

        Returns:
            The indices, and whether resizing or JPEG has blurred the mask.

        Raises:
            ImageError: with code `unexpected_label`.
        """
        if self.lookup is None:
            return self._decode_binary(values)
        if values.dtype == bool:
            values = _widen_one_bit(values, self.lookup)
        return self._decode_declared(values, self.lookup), False

    def _decode_binary(self, values: np.ndarray) -> tuple[np.ndarray, bool]:
        """`decode` where no labels are declared."""
        present = present_values(values)
        blurred = False
        if present <= {0, 1}:
            foreground = values
        elif self.threshold is not None:
            foreground = values > self.threshold
            blurred = not any(present <= {0, white} for white in WHITES)
        elif present <= {0, 255}:
            foreground = values > 0
        elif _is_blurred(values, present):
            foreground = values > HALF
            blurred = True
        else:
            raise ImageError("unexpected_label", describe_not_binary(present))
        return foreground.astype(np.int64), blurred

    def _decode_declared(self, values: np.ndarray, lookup: Mapping[int, int]) -> np.ndarray:
        """The class index of each value, all of which have to be declared."""
        known = sorted(lookup)
        others = present_values(values) - lookup.keys()
        if others and self.in_colour:
            raise ImageError("unexpected_label", describe_colours(values, others, known))
        if others:
            raise ImageError("unexpected_label", describe_undeclared(others, lookup))
        indices = [lookup[value] for value in known]
        places = np.searchsorted(np.array(known), values)
        return np.array(indices, dtype=np.int64)[places]


def _require_unequal(classes: Sequence[str]) -> None:
    if len(set(classes)) < len(classes):
        found = ", ".join(classes)
        raise UserError(f"dataset.classes: found {found}; expected every name once")


def _widen_one_bit(values: np.ndarray, lookup: Mapping[int, int]) -> np.ndarray:
    """The values of a 1-bit file as its labels spell them: 1 stands for white where no label has the value 1."""
    for one in (1, *WHITES):
        if one in lookup:
            return values * np.uint16(one)
    return values * np.uint16(1)


def present_values(values: np.ndarray) -> set[int]:
    """The distinct values of an integer array; for 8- and 16-bit masks counting is faster than sorting."""
    if values.dtype in (np.uint8, np.uint16):
        counts = np.bincount(values.ravel())
        return set(np.flatnonzero(counts).tolist())
    return set(np.unique(values).tolist())


def _is_blurred(values: np.ndarray, present: set[int]) -> bool:
    """Whether the values other than 0 and 255 are the outline of a resized or JPEG mask, not labels.

    They are few, lie by an edge between dark and bright, and form no flat 3x3 patch: labels do. JPEG noise
    close to 0 and 255 may lie further off and be flat, but then comes in many values.
    """
    from scipy import ndimage  # takes half a second to import

    darkest, brightest = min(present), max(present)
    if darkest < 0 or not 128 <= brightest <= 255:
        return False
    between = (values >= NEAR) & (values <= 255 - NEAR)
    if between.mean() > MAX_BLURRED:
        return False
    suspicious = between
    if len(present) <= MANY_VALUES:
        suspicious = (values != 0) & (values != 255)

    # Labels are flat patches, or lie far from any edge; blur is neither.
    bright_side = ndimage.maximum_filter(values, EDGE)
    dark_side = ndimage.minimum_filter(values, EDGE)
    lacks_edge = bright_side.astype(int) - dark_side < CONTRAST
    highest = ndimage.maximum_filter(values, 3)
    lowest = ndimage.minimum_filter(values, 3)
    is_label = (highest == lowest) | lacks_edge
    found = suspicious & is_label
    return not found.any()
