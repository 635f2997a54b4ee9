"""What a person sees of a training, on stderr: a bar on a terminal, a plain line now and then elsewhere.

Drawing is throttled, and losses may be given as a function that is called only when something is drawn: a
step costs next to nothing, and a GPU is not waited for.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Literal, Self, TextIO

import torch
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from genseg_betty.device import peak_memory, write_gib
from genseg_betty.terminal import harmless

Losses = Mapping[str, float] | Callable[[], Mapping[str, float]]
DRAW_SECONDS = 0.2
LINE_SECONDS = 10.0
COLUMNS: tuple[Literal["left", "right"], ...] = (
    "left",  # phase
    "left",  # bar
    "right",  # count
    "left",  # pace
)


class Progress:
    """Progress of the phases of a training; a context manager.

    Args:
        totals: steps of each phase, in their order.
        done: steps of each phase done before (a continued Run).
        stream: where to draw; stderr unless given. A bar if it is a terminal.
        unit: what a step is called in the speed.
    """

    def __init__(
        self,
        totals: Mapping[str, int],
        done: Mapping[str, int] | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        unit: str = "step",
    ) -> None:
        done = done or {}
        self._totals: dict[str, int] = {}
        self._done: dict[str, int] = {}
        for phase, total in totals.items():
            if total > 0:
                self._totals[phase] = total
                self._done[phase] = done.get(phase, 0)
        self._clock = clock
        self._unit = unit

        # A terminal gets a bar that is drawn anew; any other stream gets lines.
        stream = stream or sys.stderr
        self._console = Console(file=stream, highlight=False)
        self._live: Live | None = None
        if stream.isatty() and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False)
        self._phase = ""
        self._marks: deque[tuple[float, int]] = deque(maxlen=100)  # (time, step) of late, for the speed
        self._drawn = -float("inf")
        self._best: float | None = None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def step(
        self,
        phase: str,
        step: int,
        losses: Losses,
        best: float | None = None,
        skipped: Callable[[], int] = lambda: 0,
    ) -> None:
        """Tell that `step` steps of `phase` are done; `best` is the best validation score so far, if any.

        `skipped` counts the steps that were not made, as their loss or gradient was not finite.
        """
        now = self._clock()
        if phase != self._phase:
            self._begin_phase(phase, step, now)
        self._done[phase] = step
        if best is not None:
            self._best = best
        last_mark, _ = self._marks[-1]
        if now - last_mark >= DRAW_SECONDS:
            self._marks.append((now, step))

        # Only here are the losses asked for.
        interval = DRAW_SECONDS if self._live is not None else LINE_SECONDS
        is_last = step >= self._totals[phase]
        if is_last or now - self._drawn >= interval:
            self._drawn = now
            values = losses() if callable(losses) else losses
            self._draw_state(values, skipped())

    def print_message(self, text: str) -> None:
        """Print a line; on a terminal it stands above the bar."""
        self._print_text(harmless(text))

    def _print_text(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def _begin_phase(self, phase: str, step: int, now: float) -> None:
        self._phase = phase
        self._totals.setdefault(phase, 0)
        self._marks.clear()
        self._marks.append((now, step))
        if self._live is None:
            self._drawn = now

    def _draw_state(self, losses: Mapping[str, float], skipped: int) -> None:
        details = self._write_details(losses, skipped)
        if self._live is None:
            count = self._write_count(self._phase)
            state = f"{self._phase} {count}"
            self._print_text(f"{state}  {self._write_pace()}  {details}")
        else:
            below = Text(details, no_wrap=True, overflow="ellipsis")
            self._live.update(Group(self._make_bars(), below), refresh=True)

    def _write_details(self, losses: Mapping[str, float], skipped: int) -> str:
        parts = []
        if self._best is not None:
            parts.append(f"best {self._best:.3f}")
        if skipped:
            parts.append(f"{skipped} not finite, skipped")
        parts.append(_write_memory())
        parts += [f"{name} {value:.4g}" for name, value in losses.items()]
        return "  ".join(parts)

    def _write_count(self, phase: str) -> str:
        done = self._done.get(phase, 0)
        total = self._totals[phase]
        return f"{done}/{total}"

    def _make_bars(self) -> Table:
        """A row for each phase: its name, a bar, the count of its steps, and of the phase that runs the pace."""
        table = Table.grid(padding=(0, 2))
        for justify in COLUMNS:
            table.add_column(no_wrap=True, justify=justify)
        for phase, total in self._totals.items():
            done = self._done.get(phase, 0)
            bar = ProgressBar(max(total, 1), done, width=30, complete_style="cyan")
            pace = self._write_pace() if phase == self._phase else ""
            table.add_row(phase, bar, self._write_count(phase), pace)
        return table

    def _write_pace(self) -> str:
        """Steps a second of late, and the time that the phase will take yet."""
        start, first = self._marks[0]
        end, last = self._marks[-1]
        if last <= first or end <= start:
            return "…"
        rate = (last - first) / (end - start)
        speed = _write_speed(rate, self._unit)
        steps_left = self._totals[self._phase] - self._done[self._phase]
        if steps_left <= 0:
            return speed
        duration = write_duration(steps_left / rate)
        return f"{speed}  {duration} left"


def _write_speed(rate: float, unit: str) -> str:
    if rate >= 1:
        return f"{rate:.1f} {unit}s/s"
    return f"{1 / rate:.1f} s/{unit}"


def write_duration(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minute:02}:{second:02}"
    return f"{minute}:{second:02}"


def _write_memory() -> str:
    """Peak memory: the GPU's where there is one in use, else the process's."""
    on_gpu = torch.cuda.is_initialized()
    peak = peak_memory("cuda" if on_gpu else "cpu")
    written = write_gib(peak)
    return f"{written} GPU" if on_gpu else written
