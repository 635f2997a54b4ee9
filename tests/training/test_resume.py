"""A training that is killed at any step and resumed equals one that was never killed, to the bit."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from genseg_betty.run import Run
from methods.tiny import TINY, train
from states import different

OVERRIDES = [
    *TINY,
    "trainer.warmup_iterations=12", "trainer.iterations=18", "trainer.finetune_iterations=2",
    "trainer.checkpoint_every=4", "trainer.validate_every=3", "trainer.sample_every=10", "arch_every=2", "ood=[]",
    "trainer.scheduler=plateau",
]  # fmt: skip


# A server that has imported everything once forks each training: a process of its own without its start-up time.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["genseg_betty.training.run_training", "genseg_betty.cli"])


def start(path: Path, overrides: list[str] = OVERRIDES) -> multiprocessing.Process:
    process = PROCESSES.Process(target=train, args=([*overrides, f"run_dir={path}"],))
    process.start()
    return process


def finish(path: Path) -> Run:
    process = start(path)
    process.join()
    assert process.exitcode == 0
    return Run.open(path)


def stop_after(path: Path, step: int, number: int, delay: float = 0.0) -> int:
    """Start the training, send it a signal once its checkpoint is at `step`, and return its exit code."""
    process = start(path)
    while step_of(path) < step and process.is_alive():
        time.sleep(0.002)
    time.sleep(delay)
    os.kill(process.pid, number)
    process.join()
    return process.exitcode


def step_of(path: Path) -> int:
    """The last step that reached metrics.csv's checkpoint status, 0 before the first."""
    try:
        return Run.open(path).read_status().get("step") or 0
    except Exception:
        return 0


def metrics_of(run: Run) -> list[dict]:
    return [row for row in run.metrics() if row["phase"] != "system"]


def assert_same_run(found: Run, expected: Run) -> None:
    for name in ("last", "best", "predictor", "generator", "generator_strongest"):
        found_there = different(found.load_checkpoint(name), expected.load_checkpoint(name))
        assert {*found_there} <= {"/seconds"}, f"{name}: {found_there}"
    assert metrics_of(found) == metrics_of(expected)
    left, right = (run.read_json("results.json") for run in (found, expected))
    for key in ("test", "validation", "architecture", "data_sha256", "strongest"):
        assert left[key] == right[key], key


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Run:
    return finish(tmp_path_factory.mktemp("unbroken") / "run")


@pytest.mark.parametrize(("phase", "steps"), [("warmup", (4, 8)), ("joint", (16, 24))])
def test_killed_and_resumed(phase, steps, unbroken, tmp_path):
    """SIGKILL twice, each time at a random moment after a checkpoint of the phase."""
    source = random.Random(phase)
    path = tmp_path / "run"
    for step in steps:
        assert stop_after(path, step, signal.SIGKILL, source.uniform(0, 0.15)) == -signal.SIGKILL
    assert_same_run(finish(path), unbroken)


def test_killed_before_the_first_checkpoint_starts_anew(unbroken, tmp_path):
    path = tmp_path / "run"
    process = start(path)
    while not (path / "splits.json").exists():
        time.sleep(0.002)
    process.kill()
    process.join()
    assert Run.open(path).load_checkpoint("last") is None
    assert_same_run(finish(path), unbroken)


OTHERS = [pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR2)]


@pytest.mark.parametrize("number", [signal.SIGTERM, *OTHERS])
def test_a_signal_leaves_a_checkpoint(number, unbroken, tmp_path):
    path = tmp_path / "run"
    assert stop_after(path, 16, number) == 128 + number
    assert Run.open(path).read_status()["state"] == "interrupted"
    assert_same_run(finish(path), unbroken)


def test_a_finished_run_goes_on_to_more_iterations(tmp_path):
    path = tmp_path / "run"
    fewer = [o.replace("trainer.iterations=18", "trainer.iterations=8") for o in OVERRIDES]
    process = start(path, fewer)
    process.join()
    assert process.exitcode == 0
    assert Run.open(path).read_json("results.json")["iterations"] == 8
    run = finish(path)
    assert run.read_json("results.json")["iterations"] == 18
