"""The tables of a Run as CSV: scores of cases, and the metrics that a training appends."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genseg_betty.files import require_regular, whole_lines
from genseg_betty.run.checksums import damaged

MAX_TABLE = 2**28  # bytes of metrics.csv: some seven million rows
MAX_STEP = 2**53  # beyond it a float skips whole numbers
SHOWN = 80  # characters of a damaged row in a message


def table(rows: list[dict[str, Any]]) -> bytes:
    """A CSV file of these rows; the columns are the keys in the order they appear."""
    text = io.StringIO()
    columns = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def read_metrics(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of step (int), two words and value (float); none where there is no file. Raises UserError for a bad row."""
    if not path.exists():
        return []
    try:
        require_regular(path, MAX_TABLE)
        header, *lines = whole_lines(path) or [",".join(columns)]
    except (OSError, ValueError) as error:
        raise damaged(path, f"it cannot be read ({error})") from error
    if header.strip().split(",") != list(columns):
        raise damaged(path, f"it begins with {header.strip()[:SHOWN]!r}, expected {','.join(columns)}")
    rows = []
    for number, line in enumerate(lines, start=2):
        try:
            [[step, phase, name, value]] = csv.reader([line])
            rows.append({"step": _read_step(step), "phase": phase, "name": name, "value": float(value)})
        except (ValueError, csv.Error) as error:
            found = line.strip()[:SHOWN]
            raise damaged(path, f"line {number} is {found!r}, expected {','.join(columns)}") from error
    return rows


def _read_step(text: str) -> int:
    step = int(text)
    if not 0 <= step <= MAX_STEP:
        raise ValueError(f"it has a step {step}; expected 0 to {MAX_STEP}")
    return step
