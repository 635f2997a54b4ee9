"""The cases of each test set: how their Dice is spread, the worst ones, and the means of single classes."""

import statistics
from typing import Any

from genseg_betty.reporting.case_gallery import show_own_cases
from genseg_betty.reporting.elements import build_element, build_figure, build_note, build_table
from genseg_betty.reporting.figures import draw_histogram
from genseg_betty.reporting.record import Record
from genseg_betty.reporting.wording import format_score
from genseg_betty.run.names import DICE, SCORES

WORST = 5
"""So many of the worst cases are shown."""

Case = dict[str, Any]
"""A row of a table of cases: id, dice, jaccard, …; of single classes dice_scar, … (dice_1, … of earlier Runs)."""


def describe_cases(record: Record, side: int) -> str:
    """All test sets of a Run, that of the training dataset first; `side`: pixels of the pictures' longer side."""
    names = sorted(record.cases, key=lambda name: name != record.dataset)
    parts = ""
    for name in names:
        cases = record.cases[name]
        scored = [case for case in cases if case.get(DICE) is not None]
        if scored:
            parts += describe_test_set(name, scored)
            parts += show_own_cases(record, name, side)
        else:
            parts += build_note(f"{name}: no cases", "missing")
    return parts


def describe_test_set(name: str, cases: list[Case]) -> str:
    """The spread of the Dice of some cases beside the worst of them, and below them the classes."""
    dice = [case[DICE] for case in cases]
    caption = f"{name}: cases by Dice, {len(cases)} in all"
    columns = build_figure(caption, draw_histogram(name, dice))
    columns += build_element("div", _list_worst(cases))
    return build_element("div", columns, "split") + _list_classes(cases)


def _list_worst(cases: list[Case]) -> str:
    """The cases with the lowest Dice, the worst first."""
    worst = sorted(cases, key=lambda case: case[DICE])[:WORST]
    rows = []
    for case in worst:
        scores = [format_score(case.get(score)) for score in SCORES]
        rows.append((case.get("id"), *scores))
    return build_table(("worst cases", "Dice", "Jaccard"), rows)


def _list_classes(cases: list[Case]) -> str:
    """Means of the columns of single classes, where there are any."""
    prefix = f"{DICE}_"
    columns = [column for column in cases[0] if column.startswith(prefix)]
    labels = [column.removeprefix(prefix) for column in columns]
    if not labels:
        return ""
    rows = []
    for label in labels:
        means = [_find_mean(cases, f"{score}_{label}") for score in SCORES]
        rows.append((label, *map(format_score, means)))
    return build_table(("class", "Dice", "Jaccard"), rows)


def _find_mean(cases: list[Case], column: str) -> float | None:
    """The mean over the cases that have a value there; None where none has."""
    values = [case.get(column) for case in cases]
    found = [value for value in values if value is not None]
    return statistics.fmean(found) if found else None
