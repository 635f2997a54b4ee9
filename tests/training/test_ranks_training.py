"""A whole training in two processes equals one in a single process up to rounding, stopped and resumed or not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import genseg_betty as gs
from genseg_betty.run import Run
from methods.tiny import TINY
from processes import COUNT, PROCESSES, find_free_port, train_at_place

OVERRIDES = [
    *TINY, "method=genseg", "precision=fp32", "ood=[]",
    "trainer.warmup_iterations=3", "trainer.finetune_iterations=1", "trainer.validate_every=2",
    "trainer.sample_every=1000", "trainer.checkpoint_every=1", "trainer.scheduler=plateau",
]  # fmt: skip
STEPS = 6
ROUNDING = 2e-4  # relative: float32 over a few steps; α moves by fifty times as much
MEASURED = ("system",)  # phases of metrics.csv that hold times and memory


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As the processes have: with more of them sums are rounded otherwise, and the first joint steps enlarge that."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same training in one process."""
    path = tmp_path_factory.mktemp("alone") / "run"
    return gs.train([*OVERRIDES, f"trainer.iterations={STEPS}", f"run_dir={path}"])


def require_same_metrics(run: Run, expected: Run) -> None:
    """Every row of metrics.csv, but for times and memory, and the test scores."""
    rows = [row for row in run.metrics() if row["phase"] not in MEASURED]
    wanted = [row for row in expected.metrics() if row["phase"] not in MEASURED]
    names = {row["name"] for row in wanted}
    assert {"generator", "segmenter", "architecture", "gradient_norm", "dice"} <= names
    assert [(row["step"], row["name"]) for row in rows] == [(row["step"], row["name"]) for row in wanted]
    for row, other in zip(rows, wanted, strict=True):
        assert row["value"] == pytest.approx(other["value"], rel=ROUNDING, abs=1e-6), row
    scores, others = run.read_results()["test"]["phantom"], expected.read_results()["test"]["phantom"]
    assert scores["dice"] == pytest.approx(others["dice"], abs=1e-3)  # a pixel on the threshold may fall either way


def test_torchrun_leaves_the_run_of_one_process(alone: Run, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={COUNT}"]
    overrides = [*OVERRIDES, f"trainer.iterations={STEPS}", f"run_dir={tmp_path / 'run'}"]
    ended = subprocess.run(
        [*command, "-m", "genseg_betty", *overrides], capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    run = Run.open(tmp_path / "run")
    require_same_metrics(run, alone)
    results = run.read_results()
    assert results["processes"] == COUNT
    assert results["iterations"] == STEPS
    assert not run.find_changed_files()
    assert ended.stderr.count("note:  2 processes: each computes 1 of the 2 images of a batch") == 1
    assert ended.stderr.count("test scores") == 1


def test_a_signal_to_one_stops_both_and_a_single_process_goes_on(alone: Run, tmp_path: Path) -> None:
    path = tmp_path / "run"
    port = find_free_port()
    overrides = [*OVERRIDES, f"trainer.iterations={STEPS}", f"run_dir={path}"]
    processes = [PROCESSES.Process(target=train_at_place, args=(rank, port, overrides)) for rank in range(COUNT)]
    for process in processes:
        process.start()
    while find_step(path) < 4 and all(process.is_alive() for process in processes):
        time.sleep(0.01)
    assert processes[-1].pid is not None
    os.kill(processes[-1].pid, signal.SIGUSR2)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [128 + signal.SIGUSR2] * COUNT
    status = Run.open(path).read_status()
    assert status["state"] == "interrupted"
    assert 4 <= status["step"] < 3 + STEPS

    run = gs.train(overrides)
    assert run.resuming
    require_same_metrics(run, alone)


def find_step(path: Path) -> int:
    """The step of the last checkpoint; 0 before the first."""
    try:
        return Run.open(path).read_status().get("step") or 0
    except Exception:
        return 0
