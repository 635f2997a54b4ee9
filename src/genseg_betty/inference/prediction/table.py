"""predict.csv: a row for each image and class with its size, and for each image that failed the reason.

It is also what a repeated command goes on from. The column `record` is a digest of the Runs, the options, the image and
the files made of it: where all of them are still the same nothing is predicted again.
"""

import csv
import hashlib
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, bounded_read, file_sha256
from genseg_betty.run.tables import encode_table
from genseg_betty.terminal import harmless

NAME = "predict.csv"
COLUMNS = ("case", "class", "size", "unit", "share", "confidence", "seconds", "mask", "error", "record")
MOST_BYTES = 2**30
RECORD_DIGITS = 32
WRITE_SECONDS = 10.0  # between two writes while images are predicted

Row = dict[str, str]


class PredictionTable:
    """The table in a folder of masks.

    Rows of masks that an earlier command has left there stay as long as their masks do. Raises UserError for a
    predict.csv that is something else.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out / NAME
        self._written = -float("inf")
        self._rows: dict[str, list[Row]] = {}
        for row in _read_rows(self.path):
            self._rows.setdefault(row["case"], []).append(row)

    def find_rows(self, case: str) -> list[Row]:
        """The rows of a case."""
        return self._rows.get(harmless(case), [])

    def replace_rows(self, case: str, rows: Iterable[Mapping[str, Any]]) -> list[Row]:
        """Set the rows of a case, and return them as they will be read back."""
        written = []
        for row in rows:
            written.append({name: _write_cell(row.get(name)) for name in COLUMNS})
        self._rows[harmless(case)] = written
        return written

    def write_sometimes(self) -> None:
        """Write the table unless that was done a moment ago: a killed command loses few seconds. Raises OSError."""
        now = time.monotonic()
        if now - self._written >= WRITE_SECONDS:
            self.write(self._rows)
            self._written = time.monotonic()

    def write(self, cases: Iterable[str]) -> None:
        """Write the rows of these cases and of all others whose masks are there, by their names. Raises OSError."""
        named = {harmless(case) for case in cases}
        rows: list[Row] = []
        for case in sorted(self._rows):
            of_case = self._rows[case]
            if case in named or _has_mask(self.out, of_case):
                rows += of_case
        atomic_write(self.path, encode_table(rows, COLUMNS), sync=False)


def digest_files(key: str, content: bytes, files: Mapping[str, Path]) -> str:
    """The record of an image: of `key`, the digest of its content and the files made of it. Raises OSError."""
    parts = [key, content.hex()]
    parts += [f"{name} {file_sha256(file)}" for name, file in sorted(files.items())]
    text = "\n".join(parts)
    return hashlib.sha256(text.encode()).hexdigest()[:RECORD_DIGITS]


def _has_mask(out: Path, rows: Sequence[Row]) -> bool:
    mask = rows[0]["mask"]
    return bool(mask) and (out / mask).is_file()


def _read_rows(path: Path) -> list[Row]:
    """The rows of the table; none where there is no file."""
    if not path.exists():
        return []
    try:
        text = bounded_read(path, MOST_BYTES).decode()
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = list(reader)
        is_ours = tuple(reader.fieldnames or ()) == COLUMNS
    except (OSError, ValueError, csv.Error):
        is_ours = False
    if not is_ours:
        raise UserError(
            f"{path} is no table that `genseg predict` has written, and would be replaced: move it elsewhere, or name "
            "another --out"
        )
    return [row for row in rows if None not in row and None not in row.values()]


def _write_cell(value: Any) -> str:
    """A cell as text: numbers as short as they are precise, characters that would steer a terminal as their codes."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return harmless(value)
