"""How sure a mean over cases is: a 95 % interval of every score, by bootstrap over the cases that have it."""

from collections.abc import Mapping, Sequence
from typing import Any

from genseg_betty.run.names import SURFACE_SCORES, TEST_SCORES
from genseg_betty.statistics import bootstrap_mean

Intervals = dict[str, tuple[float, float] | None]
"""Score -> low and high end; None where there is no mean, or fewer than two cases have the score."""


def find_intervals(rows: Sequence[Mapping[str, Any]], unit: str | None, of_class: str | None = None) -> Intervals:
    """The intervals of the means that `summarise_cases` has.

    Args:
        rows: a row a case, as `CaseScores.make_row` writes them.
        unit: of all distances; None where the cases have no unit in common, so that distances have no mean.
        of_class: one of several foreground classes; None: the means over the classes.
    """
    intervals: Intervals = {}
    for score in TEST_SCORES:
        column = f"{score}_{of_class}" if of_class else score
        values = [row[column] for row in rows if row[column] is not None]
        is_comparable = unit is not None or score not in SURFACE_SCORES
        found = bootstrap_mean(values) if is_comparable else None
        intervals[score] = (found.low, found.high) if found else None
    return intervals


def find_class_intervals(
    rows: Sequence[Mapping[str, Any]], unit: str | None, classes: Sequence[str]
) -> dict[str, Intervals]:
    """The intervals of each of several foreground `classes`; nothing where there is one, which the means are of."""
    if len(classes) < 2:
        return {}
    return {name: find_intervals(rows, unit, name) for name in classes}
