"""The scores of a report as Markdown: mean ± sd over seeds, and every method compared with one of them.

python experiments/summary.py experiments/lungs_small/results.csv --against combine

`genseg report RUN… --out results.html` writes results.csv and results-cases.csv. The second one has the scores of each
case: where it is missing, methods are compared over seeds alone.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genseg_betty.report.contrast_table import COLUMNS_OF_CONTRASTS, describe_columns, list_cells
from genseg_betty.report.contrasts import Contrast, correct_contrasts, measure_contrast
from genseg_betty.report.paired_scores import PairedScores, pair_scores
from genseg_betty.statistics import paired_t_test, summarise

Row = dict[str, str]
Methods = dict[str, list[Row]]
"""Name of a method -> its rows of a table."""
Key = tuple[str, ...]
NAMING = ("method", "variant", "dataset", "n_labelled", "backbone", "generator")
"""What makes a method. All but the first two are told where two methods would have one name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--metric", default="dice", help="any score of the tables: dice, hd95, …")
    parser.add_argument("--against", metavar="METHOD", help="compare all others with this one")
    options = parser.parse_args()
    rows = read_table(options.results)
    names = name_methods(rows)
    scored = [row for row in rows if row.get(options.metric)]
    if not scored:
        parser.error(f"{options.results} has no values of {options.metric}")
    methods = group_rows(scored, names)
    print_scores(methods, options.metric)
    if options.against is None:
        return
    if options.against not in methods:
        parser.error(f"--against {options.against}: expected one of {', '.join(methods)}")
    cases = options.results.with_name(f"{options.results.stem}-cases.csv")
    of_cases = group_rows(read_table(cases), names) if cases.is_file() else None
    print_contrasts(methods, of_cases, options.against, options.metric)


def read_table(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def find_key(row: Row) -> Key:
    return tuple(row[column] for column in NAMING)


def name_methods(rows: Sequence[Row]) -> dict[Key, str]:
    """The name of each method: with what sets it apart, and the settings in which it differs from its likes."""
    keys = dict.fromkeys(find_key(row) for row in rows)
    names = {}
    for key in keys:
        method, variant, *settings = key
        likes = [other[2:] for other in keys if other[:2] == key[:2]]
        parts = [method, variant]
        for setting, values in zip(settings, zip(*likes, strict=True), strict=True):
            if len(set(values)) > 1:
                parts.append(setting)
        names[key] = " · ".join(part for part in parts if part)
    return names


def group_rows(rows: Sequence[Row], names: dict[Key, str]) -> Methods:
    """The rows of each method that has a name, sorted by it."""
    methods: Methods = defaultdict(list)
    for row in rows:
        key = find_key(row)
        if key in names:
            methods[names[key]].append(row)
    return dict(sorted(methods.items()))


def find_column(row: Row) -> str:
    """The column that a Run's score stands in: those tested on other cases of a test set have one of their own."""
    digest = row.get("cases_sha256")  # earlier versions did not tell
    return f"{row['test_set']} ({row['cases']} cases, {digest[:6]})" if digest else row["test_set"]


def print_scores(methods: Methods, metric: str) -> None:
    """Mean ± standard deviation over the Runs of each method."""
    columns = dict.fromkeys(find_column(row) for rows in methods.values() for row in rows)
    table = []
    for name, rows in methods.items():
        cells = [name]
        for column in columns:
            values = [float(row[metric]) for row in rows if find_column(row) == column]
            cells.append(str(summarise(values)) if values else "–")
        table.append(cells)
    print_table(["method", *columns], table)


def print_contrasts(methods: Methods, of_cases: Methods | None, against: str, metric: str) -> None:
    """Every other method against this one, test set by test set, p-values corrected for all of them."""
    contrasts = []
    for test_set in dict.fromkeys(row["test_set"] for row in methods[against]):
        for name in methods:
            if name == against:
                continue
            if of_cases is None:
                contrasts.append(compare_seeds(methods, name, against, test_set, metric))
            else:
                contrasts.append(compare_cases(of_cases, name, against, test_set, metric))
    corrected = correct_contrasts(contrasts)
    rows = [list_cells(contrast) for contrast in corrected]
    print()
    print_table(COLUMNS_OF_CONTRASTS, rows)
    if of_cases is None:
        print("\nOver seeds alone: the scores of cases are in results-cases.csv of a report, which is not here.")
        return
    for sentence in describe_columns(corrected):
        print(f"\n{sentence}")


def compare_cases(methods: Methods, name: str, against: str, test_set: str, metric: str) -> Contrast:
    """Over the seeds and cases that both have."""
    ours = find_tables(methods.get(name, []), test_set, metric)
    theirs = find_tables(methods.get(against, []), test_set, metric)
    return measure_contrast(Contrast(name, against, test_set, metric, pair_scores(ours, theirs)))


def find_tables(rows: Sequence[Row], test_set: str, metric: str) -> dict[str, dict[str, float]]:
    """Seed -> id of a case -> its score."""
    tables: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row["test_set"] == test_set and row[metric]:
            tables[row["seed"]][row["id"]] = float(row[metric])
    return tables


def compare_seeds(methods: Methods, name: str, against: str, test_set: str, metric: str) -> Contrast:
    """Over the means of each seed, of Runs that were tested on the same cases as far as the table tells."""
    ours, theirs = find_means(methods[name], test_set, metric), find_means(methods[against], test_set, metric)
    keys = [key for key in ours if key in theirs]
    nothing = np.empty((len(keys), 0))
    paired = PairedScores([seed for seed, _ in keys], [], nothing, nothing, left_out=(0, 0))
    contrast = Contrast(name, against, test_set, metric, paired)
    if not keys:
        return contrast
    test = paired_t_test([ours[key] for key in keys], [theirs[key] for key in keys])
    return Contrast(name, against, test_set, metric, paired, difference=test.difference, t_test=test)


def find_means(rows: Sequence[Row], test_set: str, metric: str) -> dict[tuple[str, str], float]:
    """Seed and cases -> the mean over the cases."""
    means = {}
    for row in rows:
        if row["test_set"] == test_set:
            means[row["seed"], find_column(row)] = float(row[metric])
    return means


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """As Markdown."""
    for cells in (columns, ["---"] * len(columns), *rows):
        print("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")


if __name__ == "__main__":
    main()
