"""Which cases are tested on: a part that never moves, or one of K folds. Groups are never cut.

Both depend on the groups of the cases alone, on no seed and no library's generator.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from genseg_betty.errors import UserError

TEST_SHARE = 0.3  # of the cases, where the publisher has set no test part aside


class TooFew(UserError):
    """A dataset with fewer labelled cases or groups than the split needs."""


@dataclass(frozen=True)
class Folds:
    """Cut the cases into `count` parts of nearly equal size ("all": a part for each group) and test on one."""

    count: int | Literal["all"]
    index: int  # 0..count-1


def shuffled(names: Iterable[str], salt: str | int) -> list[str]:
    """The names in a seeded order, which no library's generator can change; a further name leaves it as it was."""

    def hash_name(name: str) -> bytes:
        salted = f"{salt}/{name}"
        return hashlib.sha256(salted.encode()).digest()

    return sorted(names, key=hash_name)


def held_out_count(cases: int) -> int:
    """How many of the cases are tested on where groups allow it: 30 %, at least one."""
    return max(1, round(TEST_SHARE * cases))


def held_out_groups(sizes: Mapping[str, int]) -> set[str]:
    """Groups (name -> cases) to test on, drawn in an order of their own until `held_out_count` is nearly met.

    A group that would exceed it is passed over, but for the smallest at the end if that comes nearer. At least one is
    chosen of several, and two are left where there are three: one to train, one to validate on.
    """
    target = held_out_count(sum(sizes.values()))
    most = 0
    if len(sizes) > 1:
        most = max(1, len(sizes) - 2)
    order = shuffled(sizes, "test")
    chosen: set[str] = set()
    taken = 0
    for group in order:
        if len(chosen) < most and taken + sizes[group] <= target:
            chosen.add(group)
            taken += sizes[group]

    rest = [group for group in order if group not in chosen]
    if not rest or len(chosen) >= most:
        return chosen
    smallest = min(rest, key=lambda group: sizes[group])
    missing = target - taken
    exceeding = sizes[smallest] - missing
    if not chosen or exceeding < missing:
        chosen.add(smallest)
    return chosen


def fold_groups(sizes: Mapping[str, int], folds: Folds) -> set[str]:
    """The groups of one fold, out of all (name -> cases, in the cases' order). Raises TooFew for too many folds."""
    count = len(sizes) if folds.count == "all" else folds.count
    _require_folds(len(sizes), count, folds)
    if folds.count == "all":
        names = list(sizes)
        return {names[folds.index]}

    # The largest group first, each into the part that is emptiest by then.
    order = shuffled(sizes, "folds")
    order.sort(key=lambda group: -sizes[group])
    parts: list[set[str]] = [set() for _ in range(count)]
    filled = [0] * count
    for group in order:
        emptiest = filled.index(min(filled))
        parts[emptiest].add(group)
        filled[emptiest] += sizes[group]
    return parts[folds.index]


def _require_folds(groups: int, count: int, folds: Folds) -> None:
    """Raise TooFew where the groups cannot be cut into `count` folds, or the fold is none of them."""
    if groups < max(2, count):
        mend = "add labelled images"
        if groups > 1:
            mend = f"set dataset.folds between 2 and {groups}, or all"
        raise TooFew(f"has {groups} groups to cut into dataset.folds={folds.count}; expected as many or more: {mend}")
    if not 0 <= folds.index < count:
        raise TooFew(f"has {count} folds, and dataset.fold is {folds.index}; expected 0 to {count - 1}")
