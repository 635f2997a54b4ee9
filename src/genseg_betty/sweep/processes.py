"""Several cells at once on this machine, each in a process of its own, cores and GPUs shared out among them."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence

from genseg_betty.errors import Interrupted
from genseg_betty.signals import interruption
from genseg_betty.sweep.progress import SweepProgress
from genseg_betty.sweep.sweep_file import Cell, Sweep

VISIBLE = "CUDA_VISIBLE_DEVICES"
THREADS = "OMP_NUM_THREADS"
LOOK_SECONDS = 0.2
Running = dict[int, tuple[Cell, subprocess.Popen[bytes]]]
"""Slot -> the cell that is trained there, and its process."""


def train_in_processes(sweep: Sweep, cells: Sequence[Cell], jobs: int, progress: SweepProgress) -> None:
    """Train `jobs` cells at a time; the next one begins whenever a process has ended.

    Raises:
        Interrupted: a signal came, and those that were trained have written their checkpoints.
    """
    waiting = deque(cells)
    running: Running = {}
    gpus = list_gpus()
    stopping = False
    with interruption() as caught:
        while running or (waiting and not stopping):
            for slot in range(jobs):
                if slot not in running and waiting and not stopping:
                    cell = waiting.popleft()
                    progress.begin(cell)
                    running[slot] = cell, start_cell(sweep, cell, share_machine(slot, jobs, gpus))
            time.sleep(LOOK_SECONDS)

            # A signal is passed on once, and the processes write their checkpoints.
            if caught.stopping and not stopping:
                stopping = True
                for _, process in running.values():
                    process.send_signal(signal.SIGTERM)
            _take_ended(sweep, running, progress)
    if caught.stopping:
        raise Interrupted(caught.stopping[0])


def start_cell(sweep: Sweep, cell: Cell, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Begin a cell in a process of its own, whose output goes to its log.

    It has a session of its own: Ctrl-C reaches this process alone, which passes it on once.
    """
    command = [sys.executable, "-m", "genseg_betty.sweep.cell_process", str(sweep.folder.absolute()), str(cell.number)]
    with sweep.find_log(cell).open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=sweep.working_dir,
            env={**os.environ, **environment},
            start_new_session=True,
        )


def share_machine(slot: int, jobs: int, gpus: Sequence[str]) -> dict[str, str]:
    """The variables of a process: its share of the cores, unless the user set one, and its GPU."""
    shared = {}
    if THREADS not in os.environ:
        cores = len(os.sched_getaffinity(0))
        shared[THREADS] = str(max(cores // jobs, 1))
    if gpus:
        shared[VISIBLE] = gpus[slot % len(gpus)]
    return shared


def list_gpus() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA takes."""
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _take_ended(sweep: Sweep, running: Running, progress: SweepProgress) -> None:
    """Take the processes that have ended out of `running`."""
    for slot, (cell, process) in list(running.items()):
        if process.poll() is not None:
            del running[slot]
            progress.end(cell, sweep.read_outcome(cell))
