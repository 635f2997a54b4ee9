"""What the values in a mask file mean: file values -> class indices, and the faults on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genseg_betty.data.formats import ImageError, pack, unpack
from genseg_betty.data.formats.common import MAX_LABEL
from genseg_betty.errors import UserError

MAX_BLURRED = 0.05  # share of in-between pixels up to which a 0/255 mask counts as resized, not as wrong
HALF = 127  # blurred masks are foreground above it, unless a threshold is declared
NEAR = 32  # a value this close to 0 or 255 may be JPEG noise rather than an in-between pixel
WHITES = (255, 65535)  # of files of 8 and 16 bits
MAX_SHOWN = 8  # values named in one message
MAX_COLOURS = 256  # of a palette, which predictions are written with
EDGE = 17  # pixels; blur stays within half of this of the outline that they come from

LabelValue = int | tuple[int, int, int]  # what a file holds for a class: a number, or (red, green, blue)


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
        """From the dataset YAML: `labels` (name -> file value or colour) or their short form `classes` (the names
        of the values 0, 1, 2, ...), `foreground` (names to merge), or the `threshold` of binary masks.

        Raises UserError with every fault in it.
        """
        if classes and len(set(classes)) < len(classes):
            raise UserError(f"dataset.classes: found {', '.join(classes)}; expected every name once")
        labels = labels or {name: value for value, name in enumerate(classes or ())}
        if not labels:
            return cls(("background", "foreground"), (0, 255), None, threshold)
        faults = _find_faults(labels, foreground)
        if faults:
            raise UserError(f"dataset.{'classes' if classes else 'labels'}: " + "; ".join(faults))
        return cls._ordered({name: _as_value(value) for name, value in labels.items()}, foreground)

    @classmethod
    def _ordered(cls, labels: Mapping[str, LabelValue], foreground: Sequence[str] | None) -> "LabelMap":
        """The background first, the other labels by their values."""
        numbers = {name: _as_number(value) for name, value in labels.items()}
        background = "background" if "background" in labels else min(numbers, key=lambda name: numbers[name])
        others = [name for name in sorted(numbers, key=lambda name: numbers[name]) if name != background]
        if foreground:
            lowest = min(foreground, key=lambda name: numbers[name])
            lookup = {number: int(name in foreground) for name, number in numbers.items()}
            return cls((background, "foreground"), (labels[background], labels[lowest]), lookup)
        names = (background, *others)
        values = tuple(labels[name] for name in names)
        lookup = {numbers[name]: index for index, name in enumerate(names)}
        return cls(names, values, lookup)

    @property
    def in_colour(self) -> bool:
        """Whether colours stand for the classes; `decode` then takes them packed."""
        return isinstance(self.values[0], tuple)

    def decode(self, values: np.ndarray) -> tuple[np.ndarray, bool]:
        """[H, W] file values -> [H, W] int64 class indices; whether resizing or JPEG blurred the mask.

        Values of type bool are those of a 1-bit file, whose 1 stands for 1 or for white, as the labels have it.
        Raises ImageError with code `unexpected_label`.
        """
        if self.lookup is not None:
            return self._decode_declared(_in_declared(values, self.lookup), self.lookup), False
        present = present_values(values)
        if present <= {0, 1}:
            return values.astype(np.int64), False
        if self.threshold is not None:
            is_clean = any(present <= {0, white} for white in WHITES)
            return (values > self.threshold).astype(np.int64), not is_clean
        if present <= {0, 255}:
            return (values > 0).astype(np.int64), False
        if not _is_blurred(values, present):
            raise ImageError("unexpected_label", _describe_not_binary(present))
        return (values > HALF).astype(np.int64), True

    def _decode_declared(self, values: np.ndarray, lookup: Mapping[int, int]) -> np.ndarray:
        others = present_values(values) - lookup.keys()
        if others and self.in_colour:
            raise ImageError("unexpected_label", _describe_colours(values, others, sorted(lookup)))
        if others:
            raise ImageError("unexpected_label", _describe_undeclared(others, lookup))
        known = sorted(lookup)
        indices = np.array([lookup[value] for value in known], dtype=np.int64)
        return indices[np.searchsorted(np.array(known), values)]


def _in_declared(values: np.ndarray, lookup: Mapping[int, int]) -> np.ndarray:
    """The 1 of a 1-bit file stands for white where no label has the value 1."""
    if values.dtype != bool:
        return values
    white = next((value for value in (1, *WHITES) if value in lookup), 1)
    return values * np.uint16(white)


def _advise_other_spelling(found: set[int], lookup: Mapping[int, int]) -> str:
    """What to do where masks of 0 and 1 are declared with 0 and 255, or the other way round."""
    ones = (1, *WHITES)
    if len(lookup) > 2 or 0 not in lookup or not found <= set(ones) or not lookup.keys() <= {0, *ones}:
        return ""
    return "; where all masks hold two values, leave dataset.labels out: 0 and 1 are read then as well as 0 and 255"


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
    from scipy import ndimage  # takes half a second to import

    if min(present) < 0 or not 128 <= max(present) <= 255:
        return False
    other = (values != 0) & (values != 255)
    between = (values >= NEAR) & (values <= 255 - NEAR)
    suspicious = other if len(present) <= 10 else between
    contrast = ndimage.maximum_filter(values, EDGE).astype(int) - ndimage.minimum_filter(values, EDGE)
    flat = ndimage.maximum_filter(values, 3) == ndimage.minimum_filter(values, 3)
    return bool(between.mean() <= MAX_BLURRED and not (suspicious & (flat | (contrast < 128))).any())


def _describe_not_binary(found: set[int]) -> str:
    """What to say of a mask without declared labels, with those to declare where they are few."""
    values = sorted(found | {0}) if len(found) == 1 else sorted(found)
    if len(values) > MAX_SHOWN:  # a photograph, or more classes than one reads in a line
        values = [0, 1]
    background, *foreground = values
    others = _as_labels(foreground) if foreground[1:] else {"ulcer": foreground[0]}
    labels = _as_yaml({"background": background} | others)
    declare = f"declare its labels, as in dataset.labels={{{labels}}}"
    return f"holds the values {_show_values(found)}; expected 0 and 1, or 0 and 255. {_advise(found, declare)}"


def _describe_undeclared(found: set[int], lookup: Mapping[int, int]) -> str:
    """What to say of values that are not among the declared ones."""
    expected = ", ".join(map(str, sorted(lookup)))
    add = f"add them to dataset.labels, as {_as_yaml(_as_labels(sorted(found)[:MAX_SHOWN]))}"
    mend = _advise(found, add) + _advise_other_spelling(found, lookup)
    return f"holds the values {_show_values(found)}; expected {expected}. {mend}"


def _advise(found: set[int], declare: str) -> str:
    """The advice; what no label can be is not to be declared."""
    if all(map(_is_value, found)):
        return f"Mend the mask, or {declare}"
    return f"Mend the mask: labels are whole numbers within 0..{MAX_LABEL}"


def _as_labels(values: Sequence[int]) -> dict[str, int]:
    """Names to begin with for values that have none."""
    return {f"label{value}": value for value in values}


def _as_yaml(labels: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in labels.items())


def _show_values(found: set[int]) -> str:
    """The lowest values of a message."""
    more = ", ..." if len(found) > MAX_SHOWN else ""
    return ", ".join(map(str, sorted(found)[:MAX_SHOWN])) + more


def _describe_colours(values: np.ndarray, others: set[int], known: Sequence[int]) -> str:
    """The most frequent first: of JPEG and resizing there are many rare ones, of a forgotten label one frequent."""
    colours, counts = np.unique(values, return_counts=True)
    of_all = dict(zip(colours.tolist(), counts.tolist(), strict=True))
    pixels = {colour: count for colour, count in of_all.items() if colour in others}
    most = sorted(pixels, key=lambda colour: (-pixels[colour], colour))[:MAX_SHOWN]
    shown = ", ".join(f"{unpack(colour)} in {pixels[colour]}" for colour in most)
    further = len(others) - len(most)
    more = f" and {further} further colours" if further else ""
    expected = ", ".join(str(unpack(colour)) for colour in known)
    return (
        f"holds colours that stand for no label: {shown}{more}, {sum(pixels.values())} of {values.size} pixels in "
        f"all; expected {expected}. Declare the colour in dataset.labels; "
        "if JPEG or resizing has mixed it from its neighbours, save the mask anew without"
    )


def _as_value(value: int | Sequence[int]) -> LabelValue:
    return value if isinstance(value, int) else (value[0], value[1], value[2])


def _as_number(value: LabelValue) -> int:
    return value if isinstance(value, int) else int(pack(value))


def _is_colour(value: object) -> bool:
    if not isinstance(value, Sequence) or len(value) != 3:
        return False
    return all(type(part) is int and 0 <= part <= 255 for part in value)


def _find_faults(labels: Mapping[str, LabelValue], foreground: Sequence[str] | None) -> list[str]:
    faults = []
    in_colour = any(not isinstance(value, int) for value in labels.values())
    odd = [name for name, value in labels.items() if not (_is_colour if in_colour else _is_value)(value)]
    if odd:
        colours = "colours [red, green, blue] within 0..255, as labels are numbers or colours, all of them"
        expected = colours if in_colour else f"whole numbers within 0..{MAX_LABEL}"
        faults.append(f"the values of {', '.join(odd)} are not {expected}")
    elif len({_as_number(_as_value(value)) for value in labels.values()}) < len(labels):
        faults.append("two labels share one value; every label needs its own")
    if in_colour and len(labels) > MAX_COLOURS:
        faults.append(f"found {len(labels)} colours; expected at most {MAX_COLOURS}")
    if len(labels) < 2:
        faults.append("found one label; expected the background and at least one more")
    unknown = [name for name in foreground or () if name not in labels]
    if foreground and not unknown and ("background" in foreground or len(set(foreground)) == len(labels)):
        faults.append(f"foreground names {', '.join(foreground)}; expected at least one label left as background")
    if unknown:
        faults.append(f"foreground names {', '.join(unknown)}; expected names among {', '.join(labels)}")
    return faults


def _is_value(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_LABEL
