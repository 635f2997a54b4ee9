"""The scores of cases as CSV."""

import csv
import io
from typing import Any


def encode_table(rows: list[dict[str, Any]]) -> bytes:
    """A CSV file of these rows; the columns are the keys in the order they appear."""
    columns: dict[str, None] = {}
    for row in rows:
        columns |= dict.fromkeys(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
