"""Many trainings from one command: Hydra's multirun, each cell of the sweep a Run of its own."""

import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from omegaconf import DictConfig, OmegaConf

import genseg_betty
from genseg_betty.config import Composed, all_members, compose, conf_dir, require_betty, user_folder
from genseg_betty.config.naming import OPEN, name_count
from genseg_betty.config.override_grammar import parse_lines
from genseg_betty.config.sweep_cells import expand_cells, write_for_hydra
from genseg_betty.data.inspect.counting import count_labelled, require_dataset_folders
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
    flags = ["--multirun"]
    if folder:
        flags += ["--config-dir", str(folder)]
    told: dict[str, str] = {}

    def train_next(_: DictConfig) -> None:
        train_cell(told)

    multirun = hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(train_next)
    with tempfile.TemporaryDirectory() as hydras_own:
        arguments = [*flags, f"hydra.sweep.dir={hydras_own}", *lines]
        with _command_line(arguments):
            multirun()


def check_sweep(overrides: Sequence[str], folder: Path | None) -> list[str]:
    """The overrides in Hydra's own terms, after every cell has been composed and found sound."""
    members = all_members(folder)
    problems: list[str] = []
    parsed = parse_lines(overrides, problems)
    ours = [override for override in parsed if not override.is_hydra_override()]
    cells = expand_cells(ours, members, problems)
    configs, faulty = _compose_cells(cells, folder)
    for problem, count in faulty.items():
        problems.append(f"{problem} (in {count} of {len(cells)} cells)")
    problems += _find_shared_directories(configs)
    if not cells and not problems:
        problems.append("no cells: a pattern such as glob(*) finds no member of its group")
    if problems:
        raise ConfigError(problems, "in the sweep, of which nothing was trained")
    hydras = [str(override.input_line) for override in parsed if override.is_hydra_override()]
    return hydras + [write_for_hydra(override, members) for override in ours]


def _compose_cells(cells: Sequence[list[str]], folder: Path | None) -> tuple[list[DictConfig], Counter[str]]:
    """The configs of the sound cells, each with a name of its own, and in how many cells each fault is."""
    faulty: Counter[str] = Counter()
    composed: Composed = {}
    configs = []
    for cell in cells:
        try:
            configs.append(compose(cell, folder, composed))
        except ConfigError as error:
            faulty.update(error.problems)
        except UserError as error:
            faulty[str(error)] += 1
    for config, fault in zip(configs, _find_data_faults(configs), strict=True):
        if fault:
            faulty[fault] += 1
        elif OPEN in config.run_dir:
            _name_beside(config, configs)
    return configs, faulty


def _find_shared_directories(configs: Sequence[DictConfig]) -> Iterator[str]:
    """One line for each directory in which several cells would train."""
    given = {config.run_dir for config in configs if "run_dir" in config.origins}
    directories = Counter(config.run_dir for config in configs)
    for directory, count in directories.items():
        if count > 1:
            mend = "leave run_dir out, and each has its own" if directory in given else "give each value once"
            yield f"run_dir={directory}: {count} cells would share it; {mend}"


def _find_data_faults(configs: Sequence[DictConfig]) -> Iterator[str | None]:
    """Of each cell, which folders of its datasets are not there. Cells of the same datasets ask once."""
    known: dict[str, str | None] = {}
    for config in configs:
        asked = OmegaConf.to_yaml(OmegaConf.masked_copy(config, ["dataset", "ood"]))
        if asked not in known:
            known[asked] = _find_missing_folders(config)
        yield known[asked]


def _find_missing_folders(config: DictConfig) -> str | None:
    try:
        require_dataset_folders(config)
    except UserError as error:
        return str(error)
    return None


def _name_beside(config: DictConfig, others: Sequence[DictConfig]) -> None:
    """Name a cell by the number of its labelled images, if another cell that states one might have the same name.

    Only then are the data asked for that number before the training.
    """
    before, _, behind = config.run_dir.partition(OPEN)
    alike = re.compile(rf"{re.escape(before)}-n\d+-{re.escape(behind)}")
    if any(alike.fullmatch(other.run_dir) for other in others):
        with suppress(UserError):  # the training tells all that is wrong with the data
            count = count_labelled(config.dataset)
            config.run_dir = name_count(config.run_dir, count)


def train_cell(told: dict[str, str]) -> None:
    """Train one cell. Hydra's own composition is put aside for ours, which checks and names the Run.

    `told` has the first cell that failed for each reason: what it said is not said again.
    """
    state = HydraConfig.get()
    overrides = list(state.overrides.task)
    number = f"cell {state.job.num + 1}"
    written = " ".join(line.lstrip("+") for line in overrides)
    label = f"{number}: {written or 'defaults'}"
    say(label)
    try:
        genseg_betty.train(overrides, _find_own_folder(state))
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        first = told.setdefault(reason, number)
        text = f"failed: {reason}" if first == number else f"failed for the same reason as {first}"
        say(f"genseg: {label}: {text}", file=sys.stderr)
        raise CellFailed("the sweep is through, but not every cell is trained: see above") from error


def _find_own_folder(state: HydraConf) -> str | None:
    """The user's own folder of YAML files, which Hydra was given on its command line."""
    for source in state.runtime.config_sources:
        if source.provider == "command-line":
            return source.path
    return None


@contextmanager
def _command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Hydra reads sys.argv and nothing else."""
    usual = sys.argv
    sys.argv = ["genseg", *arguments]
    try:
        yield
    finally:
        sys.argv = usual
