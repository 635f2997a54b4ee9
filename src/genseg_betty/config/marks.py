"""Marks that narrow the kind of a value: `Annotated[int, Range(least=1)]`.

`mark.require_fit(value)` raises ValueError, and `str(mark)` is how the mark is described; limits that go without
saying have no description.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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

    def require_fit(self, value: Scalar) -> None:
        """Raise ValueError unless the number is within the limits."""
        if self.beyond is not None and abs(value) > self.beyond:
            raise ValueError(f"its size is limited to {self.beyond:g}")
        if not self.has_inside(value):
            raise ValueError

    def has_inside(self, value: Scalar) -> bool:
        """Whether the number is within the limits that are described."""
        # NaN is within no limit: it compares false with each.
        if self.least is not None and not value >= self.least:
            return False
        if self.most is not None and not value <= self.most:
            return False
        if self.above is not None and not value > self.above:
            return False
        return self.below is None or value < self.below

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            return f"from {self.least} to {self.most}"
        limits = {
            "at least": self.least,
            "above": self.above,
            "at most": self.most,
            "below": self.below,
        }
        described = [f"{word} {limit}" for word, limit in limits.items() if limit is not None]
        return " and ".join(described)


class Unspoken:
    """A mark that goes without saying: only those who do not keep it are told of it."""

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class Length(Unspoken):
    """Limits of the number of a text's letters or of a list's items."""

    least: int
    most: int

    def require_fit(self, value: Any) -> None:
        """Raise ValueError unless the length is within the limits."""
        parts = "characters" if isinstance(value, str) else "entries"
        length = len(value)
        if length < self.least and not value:
            raise ValueError("it is empty")
        if length < self.least:
            raise ValueError(f"it has {length} {parts}, and {self.least} are the least")
        if length > self.most:
            raise ValueError(f"it has {length} {parts}, and {self.most} are the most")


@dataclass(frozen=True)
class Form(Unspoken):
    """What a text must be besides; `find_fault` says what is wrong with it, or nothing."""

    find_fault: Callable[[str], str]

    def require_fit(self, value: str) -> None:
        """Raise ValueError where the text has a fault."""
        fault = self.find_fault(value)
        if fault:
            raise ValueError(fault)


@dataclass(frozen=True)
class Product(Unspoken):
    """The most that the numbers of a list may multiply to."""

    most: int
    unit: str

    def require_fit(self, values: Sequence[int]) -> None:
        """Raise ValueError where they multiply to more."""
        product = math.prod(values)
        if product > self.most:
            raise ValueError(f"these are {product} {self.unit}, and {self.most} are the most")


@dataclass(frozen=True)
class Rising(Unspoken):
    """The numbers of a list do not fall."""

    def require_fit(self, values: Sequence[Scalar]) -> None:
        """Raise ValueError where one is below the one before it."""
        if sorted(values) != list(values):
            raise ValueError("the first is the least, and the last the most")


@dataclass(frozen=True)
class Tag:
    """Marks a union of sections of which the value of `key` picks one; where it is missing, `default` does."""

    key: str
    default: str | None = None
