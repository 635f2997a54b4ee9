"""Many trainings from one command: Hydra's multirun, each cell of the sweep a Run of its own."""

import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from omegaconf import DictConfig

import genseg_betty
from genseg_betty.config import all_members, compose, conf_dir, require_betty, user_folder
from genseg_betty.config import overrides as overriding
from genseg_betty.errors import ConfigError, UserError
from genseg_betty.terminal import say


class CellFailed(CompactHydraException):
    """Of a cell whose failure has been told already."""


def run_sweep(overrides: Sequence[str], config_dir: str | Path | None = None) -> None:
    """Train every combination of the values given (`seed=0,1,2`), one after the other.

    A cell that fails is reported, the others go on, and the process exits with 1 in the end. Raises
    ConfigError, before anything is trained, if a cell is invalid or two would share a directory.
    """
    require_betty()
    folder = user_folder(config_dir)
    lines = check_sweep(overrides, folder)
    flags = ["--multirun", *(["--config-dir", str(folder)] if folder else [])]
    multirun = hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(train_cell)
    with tempfile.TemporaryDirectory() as hydras_own, _command_line([*flags, f"hydra.sweep.dir={hydras_own}", *lines]):
        multirun()


def check_sweep(overrides: Sequence[str], folder: Path | None) -> list[str]:
    """The overrides in Hydra's own terms, after every cell has been composed and found sound."""
    members = all_members(folder)
    problems: list[str] = []
    parsed = overriding.parse_lines(overrides, problems)
    ours = [override for override in parsed if not override.is_hydra_override()]
    cells = overriding.expand(ours, members, problems)
    faulty: dict[str, int] = defaultdict(int)
    directories: dict[str, int] = defaultdict(int)
    for cell in cells:
        try:
            directories[compose(cell, folder).run_dir] += 1
        except UserError as error:
            for problem in error.problems if isinstance(error, ConfigError) else [str(error)]:
                faulty[problem] += 1
    problems += [f"{problem} (in {count} of {len(cells)} cells)" for problem, count in faulty.items()]
    problems += [
        f"run_dir={directory}: {count} cells would share it; leave run_dir out, and each has its own"
        for directory, count in directories.items()
        if count > 1
    ]
    if problems:
        raise ConfigError(problems, "in the sweep, of which nothing was trained")
    hydras = [str(override.input_line) for override in parsed if override.is_hydra_override()]
    return [*hydras, *(overriding.for_hydra(override, members) for override in ours)]


def train_cell(_: DictConfig) -> None:
    """Train one cell. Hydra's own composition is put aside for ours, which checks and names the Run."""
    state = HydraConfig.get()
    overrides = list(state.overrides.task)
    own = [source.path for source in state.runtime.config_sources if source.provider == "command-line"]
    label = f"cell {state.job.num + 1}: {' '.join(line.lstrip('+') for line in overrides) or 'defaults'}"
    say(label)
    try:
        genseg_betty.train(overrides, own[0] if own else None)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        say(f"genseg: {label}: failed: {kind}{error}", file=sys.stderr)
        raise CellFailed("the sweep is through, but not every cell is trained: see above") from error


@contextmanager
def _command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Hydra reads sys.argv and nothing else."""
    usual = sys.argv
    sys.argv = ["genseg", *arguments]
    try:
        yield
    finally:
        sys.argv = usual
