"""Two methods side by side: what both scored on the seeds and the test cases that they have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genseg_betty.statistics import Numbers

Table = Mapping[str, float]
"""The scores of one Run: id of a test case -> its score."""


@dataclass(frozen=True)
class PairedScores:
    """The scores of two methods, pair by pair.

    Args:
        seeds: those of which both methods have a Run.
        cases: ids of the cases that every Run of both methods has a score of, sorted.
        ours: scores `[seeds, cases]` of the one method.
        theirs: scores `[seeds, cases]` of the other.
        left_out: how many cases of the one method, and of the other, are not among `cases`.
    """

    seeds: list[Any]
    cases: list[str]
    ours: Numbers
    theirs: Numbers
    left_out: tuple[int, int]

    @property
    def differences(self) -> Numbers:
        """The one method's score less the other's, `[seeds, cases]`."""
        return self.ours - self.theirs


def pair_scores(ours: Mapping[Any, Table], theirs: Mapping[Any, Table]) -> PairedScores:
    """What two methods have in common; each is its seeds with the table of the Run of that seed."""
    tables = [*ours.values(), *theirs.values()]
    common = sorted(_find_common_cases(tables)) if ours and theirs else []
    seeds = [seed for seed in sorted(ours, key=str) if seed in theirs]
    return PairedScores(
        seeds=seeds,
        cases=common,
        ours=_stack_tables([ours[seed] for seed in seeds], common),
        theirs=_stack_tables([theirs[seed] for seed in seeds], common),
        left_out=(_count_others(ours, common), _count_others(theirs, common)),
    )


def _find_common_cases(tables: Sequence[Table]) -> set[str]:
    common = set(tables[0])
    for table in tables[1:]:
        common &= table.keys()
    return common


def _stack_tables(tables: Sequence[Table], cases: Sequence[str]) -> Numbers:
    """Scores `[tables, cases]`."""
    stacked = np.empty((len(tables), len(cases)))
    for row, table in enumerate(tables):
        stacked[row] = [table[case] for case in cases]
    return stacked


def _count_others(tables: Mapping[Any, Table], common: Sequence[str]) -> int:
    """How many cases any of these Runs has a score of that are not in common."""
    every: set[str] = set()
    for table in tables.values():
        every |= table.keys()
    return len(every) - len(common)
