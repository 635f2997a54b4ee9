"""A sweep on disk: what its cells are, written before the first begins, and what became of each.

```
sweep.json          the cells: overrides, directory, what sets each apart; where and how they are launched
cells/7.json        what became of cell 7 when it was last trained
cells/7.log         its output, where cells are trained in processes of their own
jobs.json           cell -> job, of a sweep on SLURM
report.html, .md, .csv, report-figures/   all Runs that are finished, compared
```
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, bounded_json, to_json
from genseg_betty.lock import LOCK, Lock

SWEEP_FILE = "sweep.json"
CELLS = "cells"
JOBS = "jobs.json"
MOST_BYTES = 2**26
SCHEMA = 1
JOB_ID = re.compile(r"\d+(_\d+)?")


@dataclass(frozen=True)
class Cell:
    """One training of a sweep.

    Args:
        number: from 1 on.
        overrides: as on the command line of this training alone.
        settings: key -> value of those overrides that are not the same in all cells.
        run_dir: its directory as composed. The number of labelled images may be open in it.
    """

    number: int
    overrides: list[str]
    settings: dict[str, str]
    run_dir: str

    @property
    def label(self) -> str:
        """ "seed=0 method=genseg", or "defaults"."""
        written = " ".join(f"{key}={value}" for key, value in self.settings.items())
        return written or " ".join(self.overrides) or "defaults"


@dataclass(frozen=True)
class CellOutcome:
    """What became of a cell: its state (finished, failed or interrupted), why, where its Run lies, how long it took."""

    state: str
    reason: str = ""
    run_dir: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Sweep:
    """The cells of a sweep, and how they are launched.

    Args:
        launcher: the section of the config that says how.
        hydras: overrides of Hydra's own settings.
        working_dir: relative paths of the cells begin here.
        config_dir: the user's own folder of YAML files.
    """

    folder: Path
    cells: list[Cell]
    launcher: dict[str, Any]
    hydras: list[str]
    working_dir: str
    config_dir: str | None = None

    @property
    def name(self) -> str:
        return self.folder.name

    def name_cell(self, cell: Cell) -> str:
        """ "2 of 24: seed=0 method=genseg"."""
        return f"{cell.number} of {len(self.cells)}: {cell.label}"

    def write(self) -> None:
        """Write sweep.json. Raises OSError."""
        (self.folder / CELLS).mkdir(parents=True, exist_ok=True)
        content = {
            "schema": SCHEMA,
            "launcher": self.launcher,
            "hydras": self.hydras,
            "working_dir": self.working_dir,
            "config_dir": self.config_dir,
            "cells": [asdict(cell) for cell in self.cells],
        }
        atomic_write(self.folder / SWEEP_FILE, to_json(content).encode())

    def write_outcome(self, cell: Cell, outcome: CellOutcome) -> None:
        """Keep what became of a cell. Raises OSError."""
        atomic_write(self._find_file(cell, "json"), to_json(asdict(outcome)).encode())

    def read_outcome(self, cell: Cell) -> CellOutcome | None:
        """What became of a cell; None of one that has not been trained yet, or whose file cannot be read."""
        try:
            found = bounded_json(self._find_file(cell, "json"), MOST_BYTES)
            return CellOutcome(**found)
        except (OSError, ValueError, TypeError):
            return None

    def find_log(self, cell: Cell) -> Path:
        """Where the output of a cell goes that is trained in a process of its own."""
        return self._find_file(cell, "log")

    def write_jobs(self, jobs: Mapping[int, str]) -> None:
        """Keep the id of each cell's SLURM job. Raises OSError."""
        written = {str(number): job for number, job in {**self.read_jobs(), **jobs}.items()}
        atomic_write(self.folder / JOBS, to_json(written).encode())

    def read_jobs(self) -> dict[int, str]:
        """Number of a cell -> id of its SLURM job, where it was given to one."""
        try:
            found = bounded_json(self.folder / JOBS, MOST_BYTES)
            jobs = {int(number): str(job) for number, job in found.items()}
        except (OSError, ValueError, AttributeError):
            return {}
        return {number: job for number, job in jobs.items() if JOB_ID.fullmatch(job)}

    def _find_file(self, cell: Cell, suffix: str) -> Path:
        return self.folder / CELLS / f"{cell.number}.{suffix}"


def read_sweep(folder: str | Path) -> Sweep:
    """The sweep in a folder. Raises UserError where there is none, or where its file is not what was written."""
    folder = Path(folder).expanduser()
    file = folder / SWEEP_FILE
    if not file.is_file():
        raise UserError(
            f"{folder} holds no sweep: {SWEEP_FILE} is missing; expected the folder that `genseg -m` names as it begins"
        )
    try:
        content = bounded_json(file, MOST_BYTES)
        if content["schema"] != SCHEMA:
            raise ValueError(f"its schema is {content['schema']}, expected {SCHEMA}")
        cells = [_make_cell(cell) for cell in content["cells"]]
        return Sweep(
            folder,
            cells,
            launcher=dict(content["launcher"]),
            hydras=_make_lines(content["hydras"]),
            working_dir=str(content["working_dir"]),
            config_dir=content["config_dir"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is damaged ({type(error).__name__}: {error}); give the command of the sweep again"
        ) from error


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """One command at a time in the folder of a sweep or a search. Raises UserError where another has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = Lock(folder / LOCK)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def name_sweep(cells: Sequence[Cell], experiment: str | None) -> str:
    """The same name for the same cells: the experiment, or "sweep", and a hash."""
    text = json.dumps([[cell.overrides, cell.run_dir] for cell in cells])
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{experiment or 'sweep'}-{digest[:8]}"


def _make_cell(found: Mapping[str, Any]) -> Cell:
    settings = {str(key): str(value) for key, value in found["settings"].items()}
    return Cell(int(found["number"]), _make_lines(found["overrides"]), settings, str(found["run_dir"]))


def _make_lines(found: Any) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(line, str) for line in found):
        raise ValueError("expected a list of overrides")
    return found
