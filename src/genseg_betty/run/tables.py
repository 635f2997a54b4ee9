"""The scores of cases as CSV."""

import csv
import io
from typing import Any


def table(rows: list[dict[str, Any]]) -> bytes:
    """A CSV file of these rows; the columns are the keys in the order they appear."""
    text = io.StringIO()
    columns = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
