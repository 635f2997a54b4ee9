"""What may stand for a class in a mask file: a number, or a colour."""

from collections.abc import Sequence

from genseg_betty.data.formats import pack
from genseg_betty.data.formats.common import MAX_LABEL

WHITES = (255, 65535)  # of files of 8 and 16 bits

LabelValue = int | tuple[int, int, int]  # a number, or (red, green, blue)


def is_number(value: object) -> bool:
    """Whether a declared value is a whole number that a mask file can hold."""
    return type(value) is int and 0 <= value <= MAX_LABEL


def is_colour(value: object) -> bool:
    """Whether a declared value is [red, green, blue], each within 0..255."""
    if not isinstance(value, Sequence) or len(value) != 3:
        return False
    return all(type(part) is int and 0 <= part <= 255 for part in value)


def to_label_value(value: int | Sequence[int]) -> LabelValue:
    """A declared value as a number or a tuple; YAML gives colours as lists."""
    if isinstance(value, int):
        return value
    red, green, blue = value
    return (red, green, blue)


def to_file_number(value: LabelValue) -> int:
    """The number that `decode` finds for a value: colours are packed."""
    if isinstance(value, int):
        return value
    return int(pack(value))
