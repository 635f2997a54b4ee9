"""Cells as jobs of SLURM: submitted by hydra-submitit-launcher, then followed by what their Runs and squeue say.

The launcher itself waits for results that its jobs pickle, which one that was cancelled never does. So it submits in a
process of its own, which is ended once the jobs are queued. Every job trains its cell with the same command again
wherever it was stopped, and goes on from its checkpoint.
"""

import subprocess
import sys
import time
from collections.abc import Sequence

from genseg_betty.errors import UserError
from genseg_betty.sweep.cell_states import GOING_ON, read_states
from genseg_betty.sweep.sweep_file import Cell, Sweep
from genseg_betty.terminal import say

JOB_FOLDERS = ".submitit"
SUBMITTED = "*_submitted.pkl"
LOG = "submission.log"
SUBMISSION_SECONDS = 600
LOOK_SECONDS = 5.0
LAST_LINES = 4


def submit_cells(sweep: Sweep, cells: Sequence[Cell]) -> None:
    """Queue a job for each cell, all of them one array. Raises UserError where SLURM takes none."""
    before = set(_list_job_folders(sweep))
    log = sweep.folder / LOG
    numbers = [str(cell.number) for cell in cells]
    command = [sys.executable, "-m", "genseg_betty.sweep.submission", str(sweep.folder.absolute()), *numbers]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=sweep.working_dir
        )
    try:
        jobs = _await_jobs(sweep, before, len(cells), process)
    finally:
        process.kill()  # it would wait for results that are read from the Runs instead
        process.wait()
    sweep.write_jobs({cell.number: job for cell, job in zip(cells, jobs, strict=True)})
    master = jobs[0].partition("_")[0]
    say(f"{len(jobs)} jobs of SLURM are queued, array {master}; their output: {sweep.folder / JOB_FOLDERS}")


def follow_jobs(sweep: Sweep, cells: Sequence[Cell]) -> None:
    """Tell whenever the state of a cell changes, until none of them runs or is queued."""
    told: dict[int, str] = {}
    while True:
        states = read_states(sweep, cells)
        for state in states:
            cell = state.cell
            if told.get(cell.number) != state.state:
                told[cell.number] = state.state
                say(f"{sweep.name_cell(cell)}: {state.description}")

        # A cell that has ended is not looked at again: its Run is read whole each time.
        cells = [state.cell for state in states if state.state in GOING_ON]
        if not cells:
            return
        time.sleep(LOOK_SECONDS)


def _await_jobs(sweep: Sweep, before: set[str], count: int, process: subprocess.Popen[bytes]) -> list[str]:
    """The ids of the new jobs, in the order of their cells. Raises UserError where they do not come."""
    deadline = time.monotonic() + SUBMISSION_SECONDS
    while time.monotonic() < deadline:
        jobs = [job for job in _list_job_folders(sweep) if job not in before]
        if len(jobs) == count:
            return sorted(jobs, key=_find_index)
        if process.poll() is not None:
            break
        time.sleep(0.2)
    log = sweep.folder / LOG
    lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    said = "\n  ".join(lines)
    raise UserError(f"SLURM took no jobs. The launcher said ({log}):\n  {said}")


def _list_job_folders(sweep: Sweep) -> list[str]:
    """The ids of all jobs that were submitted: each has a folder with what it is to do."""
    folder = sweep.folder / JOB_FOLDERS
    return [file.parent.name for file in folder.glob(f"*/{SUBMITTED}")]


def _find_index(job: str) -> int:
    """The place of a job in its array."""
    return int(job.partition("_")[2] or 0)
