"""Scores as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def encode_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> bytes:
    """A CSV file of these rows.

    Args:
        columns: what is written of each row, empty where it lacks that; by default all keys in the order they appear.
    """
    rows = list(rows)
    if columns is None:
        found: dict[str, None] = {}
        for row in rows:
            found |= dict.fromkeys(row)
        columns = list(found)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="backslashreplace")
