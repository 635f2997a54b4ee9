"""What a training has logged, as a program asks for it: one metric over its steps, or all rows as a table."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

from genseg_betty.errors import UserError
from genseg_betty.faults import list_first
from genseg_betty.reporting.elements import build_table

Row = dict[str, Any]


class History(Sequence[Row]):
    """The rows of metrics.csv: step (int), phase and name (str), value (float).

    `history["validation/dice"]` is one metric, {step: value}; `pandas.DataFrame(history)` makes a table of all rows.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)

    @property
    def names(self) -> list[str]:
        """All metrics, phase/name, in the order in which they first appear."""
        return list(dict.fromkeys(_name_metric(row) for row in self.rows))

    @overload
    def __getitem__(self, asked: str) -> dict[int, float]: ...
    @overload
    def __getitem__(self, asked: int) -> Row: ...
    @overload
    def __getitem__(self, asked: slice) -> list[Row]: ...
    def __getitem__(self, asked: str | int | slice) -> dict[int, float] | Row | list[Row]:
        """One metric by its phase/name, or rows by their number. Raises UserError for a metric that is not there."""
        if not isinstance(asked, str):
            return self.rows[asked]
        values = {row["step"]: row["value"] for row in self.rows if _name_metric(row) == asked}
        if not values:
            logged = list_first(self.names, 12) if self.rows else "nothing yet"
            raise UserError(f"no metric {asked!r} was logged; expected phase/name, one of: {logged}")
        return values

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return f"<History of {len(self.rows)} values of {len(self.names)} metrics>"

    def _repr_html_(self) -> str:
        """For a notebook: the last value of each metric."""
        rows = []
        for name in self.names:
            values = self[name]
            last = max(values)
            rows.append((name, len(values), last, f"{values[last]:.4g}"))
        return build_table(("metric", "values", "last step", "last value"), rows)


def _name_metric(row: Row) -> str:
    return f"{row['phase']}/{row['name']}"
