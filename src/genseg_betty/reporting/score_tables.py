"""The tables that a report writes, read again: a row a Run and test set, and a row a case."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genseg_betty.errors import UserError
from genseg_betty.reporting.method_names import MethodKey, name_methods

Row = dict[str, str]
Methods = dict[str, list[Row]]
"""Name of a method -> its rows of a table."""
COLUMNS_NEEDED = (*MethodKey._fields, "run", "seed", "test_set", "cases")
CASES_OF = "{stem}-cases.csv"
"""The table of cases that lies beside a table of scores."""


@dataclass(frozen=True)
class ScoreTables:
    """The rows of one or several tables.

    Args:
        scores: a row a Run and test set; a Run that was not tested has one row without a test set.
        cases: a row a Run, test set and case; None where a table of cases is missing.
    """

    scores: list[Row]
    cases: list[Row] | None

    @property
    def names(self) -> dict[MethodKey, str]:
        """The name of each method with scores, in the order in which the methods are listed."""
        return name_methods([find_key(row) for row in self.scores if row["test_set"]])


def read_score_tables(paths: Sequence[Path]) -> ScoreTables:
    """The tables of scores at `paths`, each with the table of cases beside it. Raises UserError."""
    scores: list[Row] = []
    cases: list[Row] | None = []
    for path in paths:
        rows = _read_table(path)
        absent = [column for column in COLUMNS_NEEDED if rows and column not in rows[0]]
        if absent or not rows:
            lack = f"it has no column {', '.join(absent)}" if absent else "it has no rows"
            raise UserError(f"{path} is no table of scores that a report wrote: {lack}. Name its FILE.csv, or Runs.")
        scores += rows
        beside = path.with_name(CASES_OF.format(stem=path.stem))
        if cases is not None:
            cases = [*cases, *_read_table(beside)] if beside.is_file() else None
    return ScoreTables(scores, cases)


def parse_table(content: bytes) -> list[Row]:
    """The rows of a CSV file, all of them text."""
    text = io.StringIO(content.decode("utf-8"), newline="")
    return list(csv.DictReader(text))


def find_key(row: Row) -> MethodKey:
    """The method of a row."""
    return MethodKey(*(row[column] for column in MethodKey._fields))


def group_rows(rows: Sequence[Row], names: dict[MethodKey, str]) -> Methods:
    """The rows of each method that has a name, in the order of the names."""
    methods: Methods = defaultdict(list)
    for row in rows:
        key = find_key(row)
        if key in names:
            methods[names[key]].append(row)
    return {name: methods[name] for name in names.values() if name in methods}


def _read_table(path: Path) -> list[Row]:
    try:
        return parse_table(path.read_bytes())
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
