"""The cells of a sweep are trained where its launcher says, and what they came to is told."""

from collections.abc import Sequence

from genseg_betty.sweep.cell_states import FINISHED, GOING_ON, read_states
from genseg_betty.sweep.cell_training import train_cell
from genseg_betty.sweep.hydra_multirun import run_multirun
from genseg_betty.sweep.processes import train_in_processes
from genseg_betty.sweep.progress import SweepProgress
from genseg_betty.sweep.slurm import follow_jobs, submit_cells
from genseg_betty.sweep.slurm_extra import require_launcher
from genseg_betty.sweep.summary import conclude
from genseg_betty.sweep.sweep_file import Cell, Sweep
from genseg_betty.terminal import say


def find_unfinished(sweep: Sweep) -> list[Cell]:
    """The cells that failed, stopped or never began."""
    return [state.cell for state in read_states(sweep, sweep.cells) if state.state not in (FINISHED, *GOING_ON)]


def train_cells(sweep: Sweep, cells: Sequence[Cell]) -> int:
    """Train these cells by the sweep's launcher and conclude. Returns the exit status."""
    say(f"{len(sweep.cells)} cells, {len(cells)} to train; the sweep's own files: {sweep.folder}")
    if cells:
        if sweep.launcher["name"] == "slurm":
            _train_on_slurm(sweep, cells)
        else:
            _train_here(sweep, cells)
    if sweep.launcher.get("wait") is False:
        say(f"see how far they are: genseg sweep status {sweep.folder}")
        return 0
    return conclude(sweep)


def _train_on_slurm(sweep: Sweep, cells: Sequence[Cell]) -> None:
    require_launcher()
    submit_cells(sweep, cells)
    if sweep.launcher["wait"]:
        follow_jobs(sweep, cells)


def _train_here(sweep: Sweep, cells: Sequence[Cell]) -> None:
    """One after the other by Hydra in this process, or several at once in processes of their own."""
    jobs = sweep.launcher["jobs"]
    finished = {state.cell.number for state in read_states(sweep, cells) if state.state == FINISHED}
    progress = SweepProgress(sweep, cells, jobs, finished)
    if jobs > 1:
        train_in_processes(sweep, cells, jobs, progress)
        return

    def train_number(number: int) -> None:
        cell = sweep.cells[number - 1]
        progress.begin(cell)
        progress.end(cell, train_cell(sweep, cell))

    run_multirun(sweep, [cell.number for cell in cells], train_number)
