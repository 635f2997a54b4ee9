"""metrics.csv of a Run: what a training logs, a row a value, added as it goes on and flushed after each step."""

import csv
import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from genseg_betty.files import atomic_write, require_regular, whole_lines
from genseg_betty.run.checksums import explain_damage
from genseg_betty.run.migrations import rename_metric

COLUMNS = ("step", "phase", "name", "value")
HEADER = ",".join(COLUMNS)
MAX_BYTES = 2**28  # some seven million rows
MAX_STEP = 2**53  # beyond it a float skips whole numbers
SHOWN = 80  # characters of a damaged row in a message

Row = dict[str, Any]


class MetricsFile:
    """The file `path`: step (int), phase and name (text), value (float). Steps never fall."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._appended: IO[str] | None = None

    def add(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        """Append one row per value. Equal floats give equal bytes. Raises OSError."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for name, value in values.items():
            written = repr(float(value))
            writer.writerow((step, phase, name, written))
        file = self._open_at_end()
        file.write(text.getvalue())
        file.flush()

    def drop_after(self, step: int) -> None:
        """Keep the rows up to and with `step`, as they are; a line torn by a kill goes too.

        Raises UserError where a row is damaged; OSError.
        """
        self.close()
        if not self.path.exists():
            return
        self.read()  # raises where a row is damaged
        header, *lines = whole_lines(self.path) or [f"{HEADER}\n"]
        text = header
        for line in lines:
            step_of_line = line.partition(",")[0]
            if int(step_of_line) <= step:
                text += line
        atomic_write(self.path, text.encode())

    def read(self) -> list[Row]:
        """All rows, without a torn last line; none where there is no file. Raises UserError for a damaged one."""
        if not self.path.exists():
            return []
        try:
            require_regular(self.path, MAX_BYTES)
            header, *lines = whole_lines(self.path) or [HEADER]
        except (OSError, ValueError) as error:
            raise explain_damage(self.path, f"it cannot be read ({error})") from error

        # A kill tears the last line alone, which is left out. Any other damage is named.
        beginning = header.strip()
        if beginning != HEADER:
            raise explain_damage(self.path, f"it begins with {beginning[:SHOWN]!r}, expected {HEADER}")
        rows = [self._parse_row(number, line) for number, line in enumerate(lines, start=2)]
        self._require_order(rows)
        return rows

    def close(self) -> None:
        """Close the file. What a full disk did not take was told when it was added."""
        if self._appended is not None:
            with suppress(OSError):
                self._appended.close()
            self._appended = None

    def _open_at_end(self) -> IO[str]:
        """The file to append to, which begins with the header. Raises OSError."""
        if self._appended is None:
            self._appended = self.path.open("a", encoding="utf-8", newline="")
            if self._appended.tell() == 0:
                self._appended.write(f"{HEADER}\n")
        return self._appended

    def _parse_row(self, number: int, line: str) -> Row:
        try:
            [[step, phase, name, value]] = csv.reader([line])
            return {
                "step": _parse_step(step),
                "phase": phase,
                "name": rename_metric(name),
                "value": float(value),
            }
        except (ValueError, csv.Error) as error:
            found = line.strip()[:SHOWN]
            raise explain_damage(self.path, f"line {number} is {found!r}, expected {HEADER}") from error

    def _require_order(self, rows: list[Row]) -> None:
        """Raise UserError where steps fall or a value is there twice: two trainings, or two files, are mixed then."""
        last = 0
        told: set[tuple[str, str]] = set()  # of this step
        for number, row in enumerate(rows, start=2):
            step = row["step"]
            metric = (row["phase"], row["name"])
            if step > last:
                last = step
                told.clear()
            if step < last or metric in told:
                name = "/".join(metric)[:SHOWN]
                found = f"line {number} is {name} of step {step}, after step {last} was told"
                raise explain_damage(self.path, f"{found}; expected each value once, and steps that never fall")
            told.add(metric)


def _parse_step(text: str) -> int:
    step = int(text)
    if not 0 <= step <= MAX_STEP:
        raise ValueError(f"it has a step {step}; expected 0 to {MAX_STEP}")
    return step
