"""Two methods compared by the rows of a report's tables: over seeds and cases, or over the means of seeds alone."""

from collections.abc import Sequence

import numpy as np

from genseg_betty.reporting.contrasts import Contrast, measure_contrast
from genseg_betty.reporting.paired_scores import PairedScores, pair_scores
from genseg_betty.reporting.score_tables import Methods, Row
from genseg_betty.statistics import paired_t_test

Tested = tuple[str, str]
"""A seed and a column of the table of scores."""


def list_test_names(methods: Methods) -> list[str]:
    """The test sets of all methods, in the order of the tables."""
    names: dict[str, None] = {}
    for rows in methods.values():
        names |= dict.fromkeys(row["test_set"] for row in rows)
    return list(names)


def find_column(row: Row) -> str:
    """The column that a Run's score stands in: those tested on other cases of a test set have one of their own."""
    digest = row.get("cases_sha256")  # earlier versions did not tell
    return f"{row['test_set']} ({row['cases']} cases, {digest[:6]})" if digest else row["test_set"]


def find_means(rows: Sequence[Row], score: str) -> dict[Tested, float]:
    """Seed and column -> the mean over the cases; of two Runs with one seed the first."""
    means: dict[Tested, float] = {}
    for row in rows:
        if row["test_set"]:
            means.setdefault((row["seed"], find_column(row)), float(row[score]))
    return means


def compare_cases(methods: Methods, name: str, reference: str, test_set: str, score: str) -> Contrast:
    """Over the seeds and cases that both have."""
    ours = _find_case_scores(methods.get(name, []), test_set, score)
    theirs = _find_case_scores(methods.get(reference, []), test_set, score)
    return measure_contrast(Contrast(name, reference, test_set, score, pair_scores(ours, theirs)))


def _find_case_scores(rows: Sequence[Row], test_set: str, score: str) -> dict[str, dict[str, float]]:
    """Seed -> id of a case -> its score; of two Runs with one seed the first, of a case named twice nothing."""
    runs: dict[str, str] = {}
    found: dict[str, dict[str, float]] = {}
    twice = set()
    for row in rows:
        seed, case = row["seed"], row["id"]
        if row["test_set"] != test_set or runs.setdefault(seed, row["run"]) != row["run"]:
            continue
        scores = found.setdefault(seed, {})
        if case in scores:
            twice.add((seed, case))
        if row.get(score):
            scores[case] = float(row[score])
    for seed, case in twice:
        del found[seed][case]
    return found


def compare_seeds(methods: Methods, name: str, reference: str, test_set: str, score: str) -> Contrast:
    """Over the means of each seed, of Runs that were tested on the same cases as far as the table tells."""
    ours, theirs = (_find_means_on(methods[one], test_set, score) for one in (name, reference))
    keys = [key for key in ours if key in theirs]
    nothing = np.empty((len(keys), 0))
    paired = PairedScores([seed for seed, _ in keys], [], nothing, nothing, left_out=(0, 0))
    contrast = Contrast(name, reference, test_set, score, paired)
    if not keys:
        return contrast
    test = paired_t_test([ours[key] for key in keys], [theirs[key] for key in keys])
    return Contrast(name, reference, test_set, score, paired, difference=test.difference, t_test=test)


def _find_means_on(rows: Sequence[Row], test_set: str, score: str) -> dict[Tested, float]:
    return find_means([row for row in rows if row["test_set"] == test_set], score)
