"""How far each cell of a sweep has come: out of its Run, of what it ended with, and of its SLURM job."""

from collections.abc import Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from genseg_betty.config.naming import OPEN, name_count
from genseg_betty.errors import UserError
from genseg_betty.reporting.reading import read_record
from genseg_betty.reporting.record import Record
from genseg_betty.slurm_job import list_live_jobs
from genseg_betty.sweep.sweep_file import Cell, CellOutcome, Sweep, read_sweep

FINISHED, RUNNING, FAILED, WAITING, QUEUED = "finished", "running", "failed", "waiting", "queued"
STOPPED = "killed"  # says that it runs, and its process is gone
GOING_ON = (RUNNING, QUEUED)


@dataclass(frozen=True)
class CellState:
    """A cell, the state that it is in and why, and what its Run says, where there is one."""

    cell: Cell
    state: str
    reason: str = ""
    record: Record | None = None

    @property
    def description(self) -> str:
        """ "finished", or "failed: no such image"."""
        return f"{self.state}: {self.reason}" if self.reason else self.state


def read_states(sweep: Sweep, cells: Sequence[Cell]) -> list[CellState]:
    """The states of these cells of a sweep."""
    jobs = sweep.read_jobs()
    masters = {job.partition("_")[0] for job in jobs.values()}
    alive = {master: list_live_jobs(master) for master in masters}
    states = []
    for cell in cells:
        outcome = sweep.read_outcome(cell)
        record = read_cell_record(sweep, cell, outcome)
        job = jobs.get(cell.number)
        live = alive[job.partition("_")[0]] if job else None
        is_alive = None if live is None else job in live
        states.append(_judge_cell(cell, outcome, record, is_alive))
    return states


def read_cell_record(sweep: Sweep, cell: Cell, outcome: CellOutcome | None) -> Record | None:
    """What the Run of a cell says; None where it has none yet, or one that cannot be read."""
    named = outcome.run_dir if outcome and outcome.run_dir else cell.run_dir
    place = Path(sweep.working_dir) / Path(named).expanduser()
    places = [place]
    if OPEN in place.name:  # the data say how many images are labelled
        pattern = name_count(escape(place.name), "*")
        places = sorted(place.parent.glob(pattern))
    for path in places:
        try:
            return read_record(path)
        except UserError:
            continue
    return None


def list_cell_runs(folder: Path) -> list[Path]:
    """The directories of all Runs of the sweep in a folder. Raises UserError where there is no sweep."""
    sweep = read_sweep(folder)
    records = [read_cell_record(sweep, cell, sweep.read_outcome(cell)) for cell in sweep.cells]
    return [record.path for record in records if record is not None]


def _judge_cell(cell: Cell, outcome: CellOutcome | None, record: Record | None, is_job_alive: bool | None) -> CellState:
    """The state of a cell: what its Run says, unless SLURM or how it ended last say more.

    `is_job_alive` is None of a cell without a job, or where SLURM cannot be asked.
    """
    state = record.state if record else WAITING
    if state == FINISHED:
        return CellState(cell, state, record=record)
    if is_job_alive:
        return CellState(cell, RUNNING if state == RUNNING else QUEUED, record=record)
    if state == RUNNING:
        is_lost = is_job_alive is False  # its node may have died, and could not write so
        return CellState(cell, STOPPED if is_lost else RUNNING, record=record)
    if outcome and outcome.state == FINISHED and record is None:
        return CellState(cell, WAITING, f"its Run was finished, and {outcome.run_dir} is gone")
    if outcome and outcome.state != FINISHED:
        return CellState(cell, outcome.state, outcome.reason, record)
    reason = str(record.status.get("message", "")) if record else ""
    return CellState(cell, state, reason, record)
