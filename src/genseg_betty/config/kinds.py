"""Values against type annotations: does a value fit, what is it then, and how to say what would fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

WORDS: dict[Any, str] = {
    int: "an integer", float: "a number", str: "text", bool: "true or false", NoneType: "null", None: "null",
}  # fmt: skip


Scalar = int | float


@dataclass(frozen=True)
class Range:
    """Limits of a number; `above` and `below` leave the limit itself out."""

    least: Scalar | None = None
    most: Scalar | None = None
    above: Scalar | None = None
    below: Scalar | None = None

    def holds(self, value: Scalar) -> bool:
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
class Tag:
    """Marks a union of sections of which the value of `key` picks one; where it is missing, `default` does."""

    key: str
    default: str | None = None


def convert(value: Any, kind: Any) -> Any:
    """`value` as `kind`, or ValueError. Whole floats become integers, and numbers text, where that is wanted.

    Annotations that say nothing about YAML values (a Callable, a class) let everything pass.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is not None:
        return _convert_generic(value, origin, arguments)
    scalar = _SCALARS.get(kind)
    return value if scalar is None else scalar(value)


def describe(kind: Any) -> str:
    """`kind` in words: "an integer at least 1", "both, decoder or encoder"."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return " ".join([describe(arguments[0]), *(str(mark) for mark in arguments[1:])])
    if origin in (Union, UnionType):
        return " or ".join(describe(arm) for arm in arguments)
    if origin is Literal:
        return either(arguments)
    if origin is tuple and Ellipsis not in arguments:
        return f"[{', '.join(describe(item) for item in arguments)}]"
    if origin in (list, tuple, Sequence):
        return f"[{describe(arguments[0])}, …]"
    if origin in (dict, Mapping):
        return f"{{name: {describe(arguments[1])}, …}}"
    return WORDS.get(kind, "a value")


def either(choices: Sequence[Any]) -> str:
    """ "a", "a or b", "a, b or c"."""
    words = [show(choice) for choice in choices]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def show(value: Any) -> str:
    """A value as one types it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {show(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(show(item) for item in value) + "]"
    return "null" if value is None else str(value)


def _convert_generic(value: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    if origin is Annotated:
        result = convert(value, arguments[0])
        if not all(mark.holds(result) for mark in arguments[1:] if isinstance(mark, Range)):
            raise ValueError
        return result
    if origin in (Union, UnionType):
        return _convert_union(value, arguments)
    if origin is Literal:
        return _require(any(value == choice and type(value) is type(choice) for choice in arguments), value)
    if origin is tuple and Ellipsis not in arguments:
        _require(isinstance(value, list | tuple) and len(value) == len(arguments), value)
        return [convert(item, kind) for item, kind in zip(value, arguments, strict=True)]
    if origin in (list, tuple, Sequence):
        return [convert(item, arguments[0]) for item in _require(isinstance(value, list | tuple), value)]
    if origin in (dict, Mapping):
        _require(isinstance(value, Mapping), value)
        return {convert(key, arguments[0]): convert(item, arguments[1]) for key, item in value.items()}
    return value


def _convert_union(value: Any, arms: tuple[Any, ...]) -> Any:
    if value is None and NoneType in arms:
        return None
    for arm in arms:
        try:
            return convert(value, arm)
        except ValueError:
            continue
    raise ValueError


def _require(fits: bool, value: Any) -> Any:
    if not fits:
        raise ValueError
    return value


def _to_int(value: Any) -> int:
    whole = isinstance(value, float) and value.is_integer()
    return int(_require(whole or (isinstance(value, int) and not isinstance(value, bool)), value))


def _to_float(value: Any) -> float:
    return float(_require(isinstance(value, int | float) and not isinstance(value, bool), value))


def _to_str(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(_require(isinstance(value, str) or number, value))


_SCALARS: dict[Any, Callable[[Any], Any]] = {
    int: _to_int,
    float: _to_float,
    str: _to_str,
    bool: lambda value: _require(isinstance(value, bool), value),
    NoneType: lambda value: _require(value is None, value),
    None: lambda value: _require(value is None, value),
}
