"""The parts of a dataset: which cases are trained on, validated on and tested on."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from genseg_betty.data.source.folds import shuffled
from genseg_betty.errors import UserError


@dataclass
class Splits:
    """Case ids, sorted within each part; `notes` say in a sentence each what the user should know of them."""

    train: list[str]
    validation: list[str]
    test: list[str]
    notes: list[str] = field(default_factory=list)
    pool: int = 0  # labelled cases that training and validation are drawn from
    unlabelled: list[str] = field(default_factory=list)  # whose images a method sees without their masks


def validation_count(n: int) -> int:
    """How many of n labelled images are validation: a fifth, rounded, at least one (9 -> 2, 40 -> 8)."""
    return max(1, round(n / 5))


def capped(ids: Iterable[str], n_test: int | None) -> list[str]:
    """The first `n_test` of the ids in a fixed order: a larger cap adds to a smaller one. None: all."""
    return sorted(order_tested(ids, n_test)[:n_test])


def order_tested(ids: Iterable[str], n_test: int | None) -> list[str]:
    """The fixed order in which `n_test` cuts a test part. Raises UserError where that is below 0."""
    if n_test is not None and n_test < 0:
        raise UserError(f"dataset.n_test is {n_test}; expected 0 or more, or null for the whole test part")
    return shuffled(ids, "test")
