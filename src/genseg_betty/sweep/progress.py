"""What a sweep tells while it goes on: which cell begins or ended, and how long the rest will take."""

import sys
import time
from collections.abc import Collection, Sequence

from genseg_betty.progress import write_duration
from genseg_betty.sweep.sweep_file import Cell, CellOutcome, Sweep
from genseg_betty.terminal import say


class SweepProgress:
    """Tells of each cell as it begins and ends.

    Args:
        cells: those of this call, in their order.
        at_once: how many are trained at a time.
        finished: numbers of cells that were finished before, and take no time.
    """

    def __init__(self, sweep: Sweep, cells: Sequence[Cell], at_once: int, finished: Collection[int]) -> None:
        self._left = [cell.number for cell in cells if cell.number not in finished]
        self._sweep = sweep
        self._at_once = at_once
        self._began: dict[int, float] = {}
        self._seconds: list[float] = []
        self._told: dict[str, int] = {}

    def begin(self, cell: Cell) -> None:
        """Tell that a cell begins: "2 of 24: seed=0 method=genseg, about 3:20:00 left"."""
        self._began[cell.number] = time.monotonic()
        left = self._write_left()
        say(f"{self._sweep.name_cell(cell)}{left}")

    def end(self, cell: Cell, outcome: CellOutcome | None) -> None:
        """Take the time of a cell that ended. Where it is not finished say why, and each reason once."""
        if cell.number in self._left:
            self._left.remove(cell.number)
            self._seconds.append(time.monotonic() - self._began[cell.number])
        state = outcome.state if outcome else "ended without a word"
        if state == "finished":
            return
        reason = outcome.reason if outcome else ""
        first = self._told.setdefault(reason, cell.number)
        why = f": {reason}" if reason else ""
        text = f"{state}{why}" if first == cell.number else f"{state} for the same reason as {first}"
        say(f"genseg: {self._sweep.name_cell(cell)}: {text}", file=sys.stderr)

    def _write_left(self) -> str:
        """How long those that are left will take, at the mean pace of those that ended."""
        if not self._seconds or not self._left:
            return ""
        mean = sum(self._seconds) / len(self._seconds)
        rounds = -(-len(self._left) // self._at_once)
        return f", about {write_duration(mean * rounds)} left"
