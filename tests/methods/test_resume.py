"""A training that is killed at any step and resumed equals one that was never killed, to the bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from genseg_betty.run import Run

TINY = [
    "dataset=phantom", "backbone=unet_classic", "backbone.base_channels=4", "image_size=32", "device=cpu",
    "generator.base_channels=4", "generator.max_channels=8", "generator.discriminator.base_channels=4",
    "trainer.batch_size=2", "trainer.warmup_iterations=12", "trainer.iterations=18", "trainer.finetune_iterations=2",
    "trainer.checkpoint_every=4", "trainer.validate_every=3", "trainer.sample_every=10", "dataset.n_test=2", "ood=[]",
    "arch_every=2", "trainer.scheduler=plateau",
]  # fmt: skip


def start(path: Path) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "genseg_betty", *TINY, f"run_dir={path}"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def step_of(path: Path) -> int:
    """The last step that reached metrics.csv's checkpoint status, 0 before the first."""
    try:
        return Run.open(path).read_status().get("step") or 0
    except Exception:
        return 0


def flat(state: object, prefix: str = "") -> dict[str, object]:
    if isinstance(state, dict):
        return {k: v for key, value in state.items() for k, v in flat(value, f"{prefix}/{key}").items()}
    if isinstance(state, list | tuple):
        return {k: v for key, value in enumerate(state) for k, v in flat(value, f"{prefix}/{key}").items()}
    return {prefix: state}


def metrics_of(run: Run) -> list[dict]:
    return [row for row in run.metrics() if row["phase"] != "system"]


def assert_same_run(found: Run, expected: Run) -> None:
    for name in ("last", "best", "predictor", "generator", "generator_strongest"):
        left, right = (flat(run.load_checkpoint(name)) for run in (found, expected))
        assert left.keys() == right.keys()
        for key in left:
            if key == "/seconds":
                continue
            same = torch.equal(left[key], right[key]) if torch.is_tensor(left[key]) else left[key] == right[key]
            assert same, f"{name}{key}"
    assert metrics_of(found) == metrics_of(expected)
    left, right = (run.read_json("results.json") for run in (found, expected))
    for key in ("test", "validation", "architecture", "data_sha256", "strongest"):
        assert left[key] == right[key], key


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Run:
    path = tmp_path_factory.mktemp("unbroken") / "run"
    process = start(path)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return Run.open(path)


@pytest.mark.parametrize("phase", ["warmup", "joint"])
def test_killed_and_resumed(phase, unbroken, tmp_path):
    """SIGKILL after the first checkpoint of the phase, then at a random moment after another one."""
    source = random.Random(phase)
    path = tmp_path / "run"
    for earliest in (4, 8) if phase == "warmup" else (16, 24):
        process = start(path)
        while step_of(path) < earliest and process.poll() is None:
            time.sleep(0.005)
        time.sleep(source.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(path)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    assert_same_run(Run.open(path), unbroken)


def test_interrupted_by_sigterm_leaves_a_checkpoint(unbroken, tmp_path):
    path = tmp_path / "run"
    process = start(path)
    while step_of(path) < 4 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143
    assert Run.open(path).read_status()["state"] == "interrupted"
    process = start(path)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    assert_same_run(Run.open(path), unbroken)
