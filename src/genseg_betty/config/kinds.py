"""Values against type annotations: does a value fit, and what is it then? `wording.py` says what would fit.

Every number must be finite, every integer fit into 64 bits, and every text be plain, whatever the annotation says.
A mark of an `Annotated` kind narrows it: `require(value)` raises ValueError, and `str(mark)` is how it is described.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from genseg_betty.config.plain import require_finite, require_plain, require_plain_text
from genseg_betty.config.wording import show

Scalar = int | float


@dataclass(frozen=True)
class Range:
    """Limits of a number; `above` and `below` leave the limit itself out.

    `beyond` is a limit of its size that goes without saying: it is told only to those who exceed it.
    """

    least: Scalar | None = None
    most: Scalar | None = None
    above: Scalar | None = None
    below: Scalar | None = None
    beyond: Scalar | None = None

    def require(self, value: Scalar) -> None:
        """Raise ValueError unless the number is within the limits."""
        if self.beyond is not None and abs(value) > self.beyond:
            raise ValueError(f"its size is limited to {self.beyond:g}")
        if not self.holds(value):
            raise ValueError

    def holds(self, value: Scalar) -> bool:
        """Whether the number is within the limits that are described."""
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            return f"from {self.least} to {self.most}"
        limits = {
            "at least": self.least, "above": self.above, "at most": self.most, "below": self.below,
        }  # fmt: skip
        return " and ".join(f"{word} {limit}" for word, limit in limits.items() if limit is not None)


@dataclass(frozen=True)
class Length:
    """Limits of a text's letters or a list's items that go without saying: told to those who do not keep them."""

    least: int
    most: int

    def require(self, value: Any) -> None:
        """Raise ValueError unless the length is within the limits."""
        parts = "characters" if isinstance(value, str) else "entries"
        if len(value) < self.least:
            enough = f"has {len(value)} {parts}, and {self.least} are the least"
            raise ValueError(f"it {enough if value else 'is empty'}")
        if len(value) > self.most:
            raise ValueError(f"it has {len(value)} {parts}, and {self.most} are the most")

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class Form:
    """What a text must be besides; `fault` says what is wrong with it, or nothing."""

    fault: Callable[[str], str]

    def require(self, value: str) -> None:
        """Raise ValueError where the text has a fault."""
        if fault := self.fault(value):
            raise ValueError(fault)

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class Product:
    """The most that the numbers of a list may multiply to; it goes without saying."""

    most: int
    unit: str

    def require(self, values: Sequence[int]) -> None:
        """Raise ValueError where they multiply to more."""
        if math.prod(values) > self.most:
            raise ValueError(f"these are {math.prod(values)} {self.unit}, and {self.most} are the most")

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class Tag:
    """Marks a union of sections of which the value of `key` picks one; where it is missing, `default` does."""

    key: str
    default: str | None = None


def convert(value: Any, kind: Any) -> Any:
    """`value` as `kind`, or ValueError, which says more where `kind` in words does not say enough.

    Whole floats become integers, and numbers text, where that is wanted. Annotations that say nothing about YAML
    values (a Callable, a class) let every plain value pass, see `require_plain`.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is not None:
        return _convert_generic(value, origin, arguments)
    if kind in _SCALARS:
        return _SCALARS[kind](value)
    require_plain(value)
    return value


def _convert_generic(value: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    if origin is Annotated:
        result = convert(value, arguments[0])
        for mark in arguments[1:]:
            mark.require(result)
        return result
    if origin in (Union, UnionType):
        return _convert_union(value, arguments)
    if origin is Literal:
        return _require(any(type(value) is type(choice) and value == choice for choice in arguments), value)
    if origin is tuple and Ellipsis not in arguments:
        _require(isinstance(value, list | tuple) and len(value) == len(arguments), value)
        return [convert(item, kind) for item, kind in zip(value, arguments, strict=True)]
    if origin in (list, tuple, Sequence):
        return [convert(item, arguments[0]) for item in _require(isinstance(value, list | tuple), value)]
    if origin in (dict, Mapping):
        _require(isinstance(value, Mapping), value)
        return {convert(key, arguments[0]): _convert_item(key, item, arguments[1]) for key, item in value.items()}
    require_plain(value)
    return value


def _convert_item(key: Any, item: Any, kind: Any) -> Any:
    """As `convert`; the reason names the key."""
    try:
        return convert(item, kind)
    except ValueError as error:
        raise ValueError(f"{show(key)}: {error}" if str(error) else "") from None


def _convert_union(value: Any, arms: tuple[Any, ...]) -> Any:
    """As the first arm that fits; the reason is that of the last arm that gives one."""
    if value is None and NoneType in arms:
        return None
    reason = ""
    for arm in arms:
        try:
            return convert(value, arm)
        except ValueError as error:
            reason = str(error) or reason
    raise ValueError(reason)


def _require(fits: bool, value: Any) -> Any:
    if not fits:
        raise ValueError
    return value


def _require_number(value: Any) -> Scalar:
    number: Scalar = _require(isinstance(value, int | float) and not isinstance(value, bool), value)
    require_finite(number)
    return number


def _to_int(value: Any) -> int:
    number = _require_number(value)
    whole = int(_require(isinstance(number, int) or number.is_integer(), number))
    require_finite(whole)
    return whole


def _to_float(value: Any) -> float:
    return float(_require_number(value)) + 0.0  # -0.0 becomes 0.0


def _to_str(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and isinstance(value, float):
        require_finite(value)
    text = str(_require(isinstance(value, str) or number, value))  # Python refuses to write very long integers
    require_plain_text(text)
    return text


_SCALARS: dict[Any, Callable[[Any], Any]] = {
    int: _to_int,
    float: _to_float,
    str: _to_str,
    bool: lambda value: _require(isinstance(value, bool), value),
    NoneType: lambda value: _require(value is None, value),
    None: lambda value: _require(value is None, value),
}
