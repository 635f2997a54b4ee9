"""A sweep on a real SLURM of one node, which this test starts: a cell is cancelled, another one runs out of time."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from genseg_betty.sweep.sweep_file import Sweep, read_sweep
from methods.tiny import TINY
from states import different

Command = Callable[..., "subprocess.Popen[str]"]
pytestmark = pytest.mark.slow
COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
ENOUGH = 600.0
"""Seconds for anything that is waited for."""
TIMES = {"finished", "seconds", "seconds_per_iteration", "peak_memory_bytes", "versions"}
SWEEP = [
    "-m", "method=vanilla,genseg", "seed=0,1,2", *TINY, "ood=[]", "trainer.warmup_iterations=20",
    "trainer.iterations=100", "trainer.finetune_iterations=4", "trainer.validate_every=20",
    "trainer.checkpoint_every=5",
]  # fmt: skip
ON_SLURM = [
    "launcher=slurm", "launcher.gpus=null", "launcher.cpus=1", "launcher.memory_gib=2", "launcher.minutes=2",
    "launcher.warning_seconds=30",
]  # fmt: skip


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A running SLURM, found by SLURM_CONF."""
    missing = [name for name in COMMANDS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing:
        pytest.skip(f"SLURM is not installed ({', '.join(missing)} missing); make setup-slurm installs it on Debian")
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    folder = tmp_path_factory.mktemp("slurm")
    os.environ["PATH"] += ":/usr/sbin"
    started = subprocess.run(
        ["bash", str(Path(__file__).with_name("start_slurm.sh")), str(folder)], capture_output=True, text=True
    )
    try:
        if started.returncode:
            pytest.skip(f"SLURM does not start here: {started.stderr.strip()}")
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        yield
    finally:
        os.environ.pop("SLURM_CONF", None)
        for name in ("slurmd", "slurmctld", "munged"):
            file = folder / f"{name}.pid"
            if file.exists():
                os.kill(int(file.read_text()), signal.SIGTERM)


@pytest.fixture
def genseg() -> Iterator[Command]:
    """Begin a command of one thread, as its jobs are, in a folder. What still runs in the end is ended."""
    begun = []

    def begin(folder: Path, *words: str) -> "subprocess.Popen[str]":
        folder.mkdir(exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "genseg_betty", *words]
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.wait()


def wait_for(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ENOUGH
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def find_sweep(folder: Path) -> Sweep:
    (file,) = folder.glob("outputs/sweeps/*/sweep.json")
    return read_sweep(file.parent)


def find_process(sweep: Sweep, number: int) -> int | None:
    """The id of the process of a cell that has written its first checkpoint, and trains on."""
    run = Path(sweep.working_dir) / sweep.cells[number - 1].run_dir
    if not (run / "checkpoints" / "last.pt").exists():
        return None
    status = json.loads((run / "status.json").read_text())
    if status["state"] != "running":
        return None
    return int(status["pid"])


def count_restarts(job: str) -> int:
    shown = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True).stdout
    return int(shown.partition("Restarts=")[2].split()[0]) if "Restarts=" in shown else 0


def slow_down(sweep: Sweep, number: int, job: str) -> None:
    """Let the process of a cell run a twentieth of the time, until SLURM has queued its job anew."""

    def is_queued_anew() -> bool:
        process = find_process(sweep, number)
        if process is not None:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
                time.sleep(0.95)
                os.kill(process, signal.SIGCONT)
        return count_restarts(job) > 0

    wait_for("the end of its time", is_queued_anew)


def test_a_sweep_on_slurm_equals_one_that_nothing_stopped(slurm: None, genseg: Command, tmp_path: Path) -> None:
    there = tmp_path / "slurm"
    head = genseg(there, *SWEEP, *ON_SLURM)
    wait_for("the jobs", lambda: bool(list(there.glob("outputs/sweeps/*/jobs.json"))))
    sweep = find_sweep(there)
    jobs = sweep.read_jobs()
    assert len(jobs) == 6

    # One cell is cancelled midway, another one is slow, and runs out of its time.
    wait_for("a checkpoint of cell 4", lambda: find_process(sweep, 4) is not None)
    subprocess.run(["scancel", jobs[4]], check=True)
    wait_for("a checkpoint of cell 5", lambda: find_process(sweep, 5) is not None)
    slow_down(sweep, 5, jobs[5])
    said, _ = head.communicate(timeout=ENOUGH)
    assert head.returncode == 1, said
    assert "finished: 5 of 6" in said
    assert f"genseg sweep resume {sweep.folder.relative_to(there)}" in said

    # What it left is trained on the cluster as well.
    resumed = genseg(there, "sweep", "resume", str(sweep.folder))
    said, _ = resumed.communicate(timeout=ENOUGH)
    assert resumed.returncode == 0, said
    assert "6 cells, 1 to train" in said
    assert "finished: 6 of 6" in said
    assert (sweep.folder / "report.html").is_file()

    here = tmp_path / "local"
    local = genseg(here, *SWEEP)
    said, _ = local.communicate(timeout=2 * ENOUGH)
    assert local.returncode == 0, said
    for cell in sweep.cells:
        assert_equal_runs(there / cell.run_dir, here / cell.run_dir)


def assert_equal_runs(one: Path, other: Path) -> None:
    """Equal to the bit, but for what time it took."""
    for name in ("predictor.pt", "last.pt"):
        states = [torch.load(run / "checkpoints" / name, weights_only=True) for run in (one, other)]
        places = [place for place in different(*states) if "seconds" not in place]
        assert not places, (one.name, name)
    results = [json.loads((run / "results.json").read_text()) for run in (one, other)]
    for result in results:
        for key in TIMES:
            result.pop(key, None)
    assert results[0] == results[1]
    rows = []
    for run in (one, other):
        with (run / "metrics.csv").open(newline="") as file:
            rows.append([row for row in csv.DictReader(file) if row["phase"] != "system"])
    assert rows[0] == rows[1]
