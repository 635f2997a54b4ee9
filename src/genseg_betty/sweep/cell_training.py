"""One cell of a sweep is trained in this process, and what became of it is kept."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import genseg_betty
from genseg_betty.errors import Interrupted, UserError
from genseg_betty.sweep.sweep_file import Cell, CellOutcome, Sweep
from genseg_betty.terminal import say

SWEEP_VARIABLE = "GENSEG_SWEEP"
"""Of the environment: the name of the sweep, by which trackers group its Runs."""


def train_cell(sweep: Sweep, cell: Cell) -> CellOutcome:
    """Train one cell and keep what became of it. A failure is an outcome; an interruption passes through."""
    began = time.monotonic()
    try:
        with name_for_trackers(sweep.name):
            run = genseg_betty.train(cell.overrides, sweep.config_dir)
    except (Interrupted, KeyboardInterrupt) as stop:
        _keep(sweep, cell, CellOutcome("interrupted", str(stop)))
        raise
    except SystemExit:
        _keep(sweep, cell, CellOutcome("interrupted", "its launcher ended the process"))
        raise
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        outcome = CellOutcome("failed", explain_lost_training(error))
    else:
        outcome = CellOutcome("finished", "", str(run.path), time.monotonic() - began)
    _keep(sweep, cell, outcome)
    return outcome


@contextmanager
def name_for_trackers(name: str) -> Iterator[None]:
    """Trainings within are grouped under this name."""
    usual = os.environ.get(SWEEP_VARIABLE)
    os.environ[SWEEP_VARIABLE] = name
    try:
        yield
    finally:
        if usual is None:
            del os.environ[SWEEP_VARIABLE]
        else:
            os.environ[SWEEP_VARIABLE] = usual


def explain_lost_training(error: Exception) -> str:
    """Why a training failed: the sentence of a UserError; of any other error its class as well."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _keep(sweep: Sweep, cell: Cell, outcome: CellOutcome) -> None:
    """Write the outcome. Where it cannot be written that is told, for it must not hide how the cell ended."""
    try:
        sweep.write_outcome(cell, outcome)
    except OSError as error:
        say(f"genseg: what became of cell {cell.number} is not kept: {error}", file=sys.stderr)
