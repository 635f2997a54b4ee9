"""What a person sees of a training, on stderr: a bar on a terminal, a plain line now and then elsewhere.

Drawing is throttled, and losses may be given as a function that is called only when something is drawn: a
step costs next to nothing, and a GPU is not waited for.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TextIO

import torch
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from genseg_betty.device import peak_memory
from genseg_betty.terminal import harmless

Losses = Mapping[str, float] | Callable[[], Mapping[str, float]]
DRAW_SECONDS = 0.2
LINE_SECONDS = 10.0


class Progress:
    """Progress of the phases of a training; a context manager.

    Args:
        totals: steps of each phase, in their order.
        done: steps of each phase done before (a continued Run).
        stream: where to draw; stderr unless given. A bar if it is a terminal.
    """

    def __init__(
        self,
        totals: Mapping[str, int],
        done: Mapping[str, int] | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._totals = {phase: total for phase, total in totals.items() if total > 0}
        self._done = {phase: (done or {}).get(phase, 0) for phase in self._totals}
        self._clock = clock
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
        self, phase: str, step: int, losses: Losses, best: float | None = None, skipped: Callable[[], int] = lambda: 0
    ) -> None:
        """Tell that `step` steps of `phase` are done; `best` is the best validation score so far, if any.

        `skipped` counts the steps that were not made, as their loss or gradient was not finite.
        """
        now = self._clock()
        if phase != self._phase:
            self._begin(phase, step, now)
        self._done[phase] = step
        self._best = self._best if best is None else best
        if now - self._marks[-1][0] >= DRAW_SECONDS:
            self._marks.append((now, step))
        interval = DRAW_SECONDS if self._live is not None else LINE_SECONDS
        if now - self._drawn >= interval or step >= self._totals[phase]:
            self._drawn = now
            self._draw(losses() if callable(losses) else losses, skipped())

    def message(self, text: str) -> None:
        """Print a line; on a terminal it stands above the bar."""
        self._console.print(Text(harmless(text)), soft_wrap=True)

    def _begin(self, phase: str, step: int, now: float) -> None:
        self._phase = phase
        self._totals.setdefault(phase, 0)
        self._marks.clear()
        self._marks.append((now, step))
        if self._live is None:
            self._drawn = now

    def _draw(self, losses: Mapping[str, float], skipped: int) -> None:
        best = [] if self._best is None else [f"best {self._best:.3f}"]
        not_finite = [f"{skipped} not finite, skipped"] if skipped else []
        values = (f"{name} {value:.4g}" for name, value in losses.items())
        details = "  ".join([*best, *not_finite, _memory(), *values])
        if self._live is None:
            count = f"{self._done[self._phase]}/{self._totals[self._phase]}"
            self._console.print(Text(f"{self._phase} {count}  {self._pace()}  {details}"), soft_wrap=True)
        else:
            self._live.update(Group(self._bars(), Text(details, no_wrap=True, overflow="ellipsis")), refresh=True)

    def _bars(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for column in range(4):
            table.add_column(no_wrap=True, justify="right" if column == 2 else "left")
        for phase, total in self._totals.items():
            done = self._done.get(phase, 0)
            pace = self._pace() if phase == self._phase else ""
            table.add_row(
                phase,
                ProgressBar(max(total, 1), done, width=30, complete_style="cyan"),
                f"{done}/{total}",
                pace,
            )
        return table

    def _pace(self) -> str:
        """Steps a second of late, and the time that the phase will take yet."""
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        if last <= first or end <= start:
            return "…"
        rate = (last - first) / (end - start)
        speed = f"{rate:.1f} steps/s" if rate >= 1 else f"{1 / rate:.1f} s/step"
        left = max(0, self._totals[self._phase] - self._done[self._phase]) / rate
        return f"{speed}  {_duration(left)} left" if left else speed


def _duration(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _memory() -> str:
    """Peak memory: the GPU's where there is one in use, else the process's."""
    on_gpu = torch.cuda.is_initialized()
    return f"{peak_memory('cuda' if on_gpu else 'cpu') / 2**30:.1f} GiB{' GPU' if on_gpu else ''}"
