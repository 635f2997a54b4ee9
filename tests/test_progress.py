"""Progress: few draws, plain lines off a terminal, nothing on stdout."""

import io
import re
from collections.abc import Callable

import pytest

from genseg_betty.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def train(progress: Progress, clock: Clock, phase: str, steps: range, seconds: float) -> int:
    """Walks through the steps; returns how often the losses were asked for."""
    asked = 0

    def losses() -> dict[str, float]:
        nonlocal asked
        asked += 1
        return {"generator": 12.3456, "discriminator": 0.6931}

    for step in steps:
        clock.now += seconds
        progress.step(phase, step, losses, best=0.91234 if step > 50 else None)
    return asked


@pytest.fixture
def off_terminal() -> tuple[io.StringIO, Clock, Callable[..., Progress]]:
    stream, clock = io.StringIO(), Clock()
    return stream, clock, lambda totals, done=None: Progress(totals, done, stream=stream, clock=clock)


def test_plain_lines_come_every_ten_seconds_and_at_phase_ends(
    off_terminal: tuple[io.StringIO, Clock, Callable[..., Progress]], capsys: pytest.CaptureFixture[str]
) -> None:
    stream, clock, make = off_terminal
    with make({"warmup": 10, "joint": 100}) as progress:
        train(progress, clock, "warmup", range(1, 11), 0.1)
        asked = train(progress, clock, "joint", range(1, 101), 0.25)
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["10/10", "41/100", "81/100", "100/100"]
    assert asked == 3
    assert lines[0].startswith("warmup 10/10  10.0 steps/s  ")
    assert lines[0].endswith(" GiB  generator 12.35  discriminator 0.6931")
    assert "4.0 steps/s  0:15 left" in lines[1]
    assert "best" not in lines[1]
    assert re.search(r"best 0\.912  \d+\.\d GiB  ", lines[3])
    assert "\x1b" not in stream.getvalue()
    assert capsys.readouterr() == ("", "")


def test_a_step_may_have_a_name(off_terminal: tuple[io.StringIO, Clock, Callable[..., Progress]]) -> None:
    stream, clock, _ = off_terminal
    with Progress({"predict": 9}, stream=stream, clock=clock, unit="image") as progress:
        for step, seconds in enumerate((0.0, 20.0, 0.5), start=0):
            clock.now += seconds
            progress.step("predict", step, {})
        clock.now += 20.0
        progress.step("predict", 3, {})
    assert "predict 1/9  20.0 s/image  2:40 left" in stream.getvalue()


def test_skipped_steps_are_told(off_terminal: tuple[io.StringIO, Clock, Callable[..., Progress]]) -> None:
    stream, _, make = off_terminal
    with make({"joint": 2}) as progress:
        progress.step("joint", 2, {"generator": 0.5}, best=0.9, skipped=lambda: 3)
    assert "best 0.900  3 not finite, skipped  " in stream.getvalue()


def test_a_continued_run_counts_on_and_measures_only_itself(
    off_terminal: tuple[io.StringIO, Clock, Callable[..., Progress]],
) -> None:
    stream, clock, make = off_terminal
    with make({"warmup": 0, "joint": 5000}, {"joint": 4000}) as progress:
        train(progress, clock, "joint", range(4001, 4003), 30.0)
    assert "joint 4002/5000  30.0 s/step  8:19:00 left" in stream.getvalue()


def test_default_stream_is_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress({"joint": 1}) as progress:
        progress.print_message("[best] checkpoint written")
        progress.step("joint", 1, {"segmenter": 0.5})
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("[best] checkpoint written\njoint 1/1  …  ")
    assert err.endswith(" GiB  segmenter 0.5\n")


def test_a_terminal_is_drawn_at_most_five_times_a_second() -> None:
    stream, clock = Terminal(), Clock()
    with Progress({"warmup": 1000, "joint": 10}, stream=stream, clock=clock) as progress:
        asked = train(progress, clock, "warmup", range(1, 1001), 0.001)
        assert asked <= 7
        progress.print_message("above the bar")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "above the bar" in text
    assert "1000/1000" in text
    assert "0/10" in text
    assert "discriminator 0.6931" in text


def test_a_phase_nobody_announced_is_shown() -> None:
    stream = io.StringIO()
    with Progress({}, stream=stream) as progress:
        progress.step("finetune", 1, {})
    assert "finetune 1/0" in stream.getvalue()
