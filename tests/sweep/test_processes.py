"""Several cells at once, each in a process of its own. Stand-ins write what a cell would leave behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from genseg_betty.errors import Interrupted
from genseg_betty.sweep import processes
from genseg_betty.sweep.processes import list_gpus, share_machine, start_cell, train_in_processes
from genseg_betty.sweep.progress import SweepProgress
from genseg_betty.sweep.sweep_file import Cell, CellOutcome, Sweep

# Writes when it began and ended, and its outcome; SIGTERM ends it early, as a checkpoint would be written.
CELL = """
import json, pathlib, signal, sys, time
folder, number, state = sys.argv[1:]
signal.signal(signal.SIGTERM, lambda *_: end("interrupted"))
began = time.time()
def end(state):
    times = pathlib.Path(folder, f"times-{number}.json")
    times.write_text(json.dumps([began, time.time()]))
    outcome = {"state": state, "reason": "why" if state == "failed" else ""}
    pathlib.Path(folder, "cells", f"{number}.json").write_text(json.dumps(outcome))
    sys.exit(0)
pathlib.Path(folder, f"begun-{number}").touch()
time.sleep(30 if state == "slow" else 0.3)
end(state)
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    cells = [Cell(number, [f"seed={number}"], {"seed": str(number)}, f"run-{number}") for number in range(1, 6)]
    made = Sweep(tmp_path / "sweep", cells, {"name": "local", "jobs": 2}, [], working_dir=str(tmp_path))
    made.write()
    return made


def stand_in(monkeypatch: pytest.MonkeyPatch, states: dict[int, str]) -> None:
    """Begin stand-ins in the place of cells; their states are finished unless said."""

    def start(sweep: Sweep, cell: Cell, environment: object) -> "subprocess.Popen[bytes]":
        words = [str(sweep.folder), str(cell.number), states.get(cell.number, "finished")]
        return subprocess.Popen([sys.executable, "-c", CELL, *words], start_new_session=True)

    monkeypatch.setattr(processes, "start_cell", start)
    monkeypatch.setattr(processes, "list_gpus", lambda: [])


def train(sweep: Sweep, jobs: int) -> None:
    train_in_processes(sweep, sweep.cells, jobs, SweepProgress(sweep, sweep.cells, jobs, finished=()))


def test_so_many_are_trained_at_once_and_no_more(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, {3: "failed", 5: "failed"})
    train(sweep, jobs=2)
    spans = [json.loads((sweep.folder / f"times-{number}.json").read_text()) for number in range(1, 6)]
    together = [sum(began <= moment < ended for began, ended in spans) for moment, _ in spans]
    assert max(together) == 2
    printed = capsys.readouterr()
    assert [line.split(",")[0] for line in printed.out.splitlines()] == [f"{n} of 5: seed={n}" for n in range(1, 6)]
    assert printed.err.splitlines() == [
        "genseg: 3 of 5: seed=3: failed: why",
        "genseg: 5 of 5: seed=5: failed for the same reason as 3",
    ]


def test_a_signal_is_passed_on_and_nothing_new_begins(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, dict.fromkeys(range(1, 6), "slow"))

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while len(list(sweep.folder.glob("begun-*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted) as caught:
        train(sweep, jobs=2)
    thread.join()
    assert caught.value.signal_number == signal.SIGTERM
    outcomes = [sweep.read_outcome(cell) for cell in sweep.cells]
    assert outcomes == [CellOutcome("interrupted"), CellOutcome("interrupted"), None, None, None]


def test_cores_and_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert share_machine(0, 3, []) == {"OMP_NUM_THREADS": "2"}
    assert share_machine(0, 16, []) == {"OMP_NUM_THREADS": "1"}
    assert [share_machine(slot, 3, ["4", "7"])["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["4", "7", "4"]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert "OMP_NUM_THREADS" not in share_machine(0, 3, [])


@pytest.mark.parametrize(("visible", "gpus"), [("0,2", ["0", "2"]), ("GPU-1, MIG-2", ["GPU-1", "MIG-2"]), ("", [])])
def test_gpus_are_those_that_are_visible(visible: str, gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert list_gpus() == gpus


def test_a_cell_says_in_its_log_what_is_wrong_with_it(sweep: Sweep) -> None:
    wrong = Cell(1, ["seed=-1"], {}, "run-1")
    broken = Sweep(sweep.folder, [wrong], sweep.launcher, [], sweep.working_dir)
    broken.write()
    assert start_cell(broken, wrong, {}).wait() == 1
    outcome = broken.read_outcome(wrong)
    assert outcome is not None
    assert outcome.state == "failed"
    assert "seed=-1: expected an integer at least 0" in outcome.reason
    assert broken.find_log(wrong).is_file()
