"""What a person sees of a fetch."""

import sys
import time
from typing import Self, TextIO

from rich import progress as bars
from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from genseg_betty.terminal import harmless

LINE_SECONDS = 10.0


class Screen:
    """Tells on stderr how far a fetch is: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        # A terminal gets a bar that is drawn anew; any other stream gets lines.
        stream = stream or sys.stderr
        self._console = Console(file=stream, highlight=False)
        self._bars: bars.Progress | None = None
        if stream.isatty() and not self._console.is_dumb_terminal:
            self._bars = bars.Progress(
                "{task.description}",
                bars.BarColumn(),
                bars.DownloadColumn(),
                bars.TransferSpeedColumn(),
                bars.TimeRemainingColumn(),
                console=self._console,
            )
        self._title = ""
        self._drawn = 0.0

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def print_message(self, text: str) -> None:
        """Print a line; on a terminal it stands above the bar."""
        line = Text(harmless(text))
        self._console.print(line, soft_wrap=True)

    def step(self, title: str, done: int, total: int | None) -> None:
        """Tell that `done` of `total` bytes are through what the title says."""
        if self._bars is not None:
            self._draw_bar(self._bars, title, done, total)
        elif title != self._title:
            self._drawn = time.monotonic()
        elif time.monotonic() - self._drawn >= LINE_SECONDS:
            self._drawn = time.monotonic()
            of_total = f" of {decimal(total)}" if total else ""
            self.print_message(f"{title}: {decimal(done)}{of_total}")
        self._title = title

    def _draw_bar(self, shown: bars.Progress, title: str, done: int, total: int | None) -> None:
        if title != self._title:
            for task in shown.task_ids:
                shown.remove_task(task)
            description = harmless(title).replace("[", r"\[")
            shown.add_task(description, total=total, completed=done)
        shown.update(shown.task_ids[0], completed=done, total=total)
