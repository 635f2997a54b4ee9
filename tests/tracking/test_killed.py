"""A real training that W&B follows offline: killed, resumed, and read back."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from genseg_betty.run import Run
from methods.tiny import TINY, train
from tracking.tracked import list_curves
from tracking.wandb_file import read_offline_run

# A server that has imported everything once forks each training.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["genseg_betty.training.run_training", "genseg_betty.cli"])
STEPS = 14
COMMAND = [
    *TINY, "trainer.warmup_iterations=4", "trainer.iterations=10", "trainer.finetune_iterations=0",
    "trainer.checkpoint_every=4", "trainer.validate_every=1", "trainer.sample_every=7", "logger=wandb",
    "logger.group=sizes",
]  # fmt: skip


def test_a_killed_and_resumed_training_is_one_run(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    path = tmp_path / "run"
    process = PROCESSES.Process(target=train, args=([*COMMAND, f"run_dir={path}"],))
    process.start()
    while process.is_alive() and count_validations(path) < 6:
        time.sleep(0.02)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list(path.glob("wandb/offline-run-*"))) == 1

    process = PROCESSES.Process(target=train, args=([*COMMAND, f"run_dir={path}"],))
    process.start()
    process.join()
    assert process.exitcode == 0
    run = Run.open(path)
    found = read_offline_run(path)
    steps = sorted({step for points in list_curves(run).values() for step, _ in points} | {7})
    assert found.steps == steps  # the pictures of step 7 among them
    for name, points in list_curves(run).items():
        assert found.find_points(name) == points
    assert [step for step, _ in found.find_points("synthetic")] == [7, STEPS]
    assert list(found.run.tags) == ["phantom", "unet_classic", "pix2pix", "genseg", "strong"]
    assert found.run.run_group == "sizes"
    scores = run.read_results()["test"]
    assert found.summary["test/phantom/dice"] == scores["phantom"]["dice"]
    assert [row["overlay"]["_type"] for row in found.read_table("cases/phantom_shifted")] == ["image-file"] * 2


def count_validations(path: Path) -> int:
    """How many validations metrics.csv has."""
    file = path / "metrics.csv"
    return file.read_text().count(",validation,dice,") if file.exists() else 0
