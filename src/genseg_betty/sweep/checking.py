"""The cells of a sweep: every combination of the values given, each composed and found sound before one is trained."""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from genseg_betty.config import Composed, all_members, compose
from genseg_betty.config.experiments import find_experiment, read_params, read_swept_lines
from genseg_betty.config.naming import OPEN, name_count
from genseg_betty.config.override_grammar import parse_lines
from genseg_betty.config.sweep_cells import expand_cells
from genseg_betty.data.inspect.counting import count_labelled, require_dataset_folders
from genseg_betty.errors import ConfigError, UserError
from genseg_betty.sweep.missing_data import leave_out_missing
from genseg_betty.sweep.sweep_file import Cell
from genseg_betty.terminal import say

DIRECTORY = "hydra.sweep.dir"
MANY = 50
TITLE = "in the sweep, of which nothing was trained"


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep will do.

    Args:
        launcher: the section of the config that says where its cells are trained.
        hydras: overrides of Hydra's own settings.
        folder: where the sweep's own files go, if the user says so.
        notes: what an experiment names and is not there, a sentence each.
    """

    cells: list[Cell]
    launcher: dict[str, Any]
    hydras: list[str]
    experiment: str | None
    folder: str | None
    notes: list[str]


def plan_sweep(overrides: Sequence[str], config_dir: Path | None) -> SweepPlan:
    """All cells, composed and found sound. Raises ConfigError with all that is wrong with any of them."""
    members = all_members(config_dir)
    problems: list[str] = []
    given = parse_lines(overrides, problems)
    experiment = find_experiment(given)
    swept = read_swept_lines(experiment, config_dir, [override.key_or_group for override in given])
    parsed = [*parse_lines(swept, problems), *given]
    hydras = [override for override in parsed if override.is_hydra_override()]
    launchers = [override for override in parsed if is_of_launcher(override)]
    ours = [override for override in parsed if override not in hydras and override not in launchers]

    cells = expand_cells(ours, members, problems)
    notes: list[str] = []
    if cells and read_params(experiment, config_dir):
        present = leave_out_missing(cells, config_dir)
        cells, notes = present.cells or cells, present.notes
    if len(cells) >= MANY:
        say(f"checking {len(cells)} cells, which may take a minute", file=sys.stderr)
    configs, faulty = _compose_cells(cells, config_dir)
    for problem, count in faulty.items():
        problems.append(f"{problem} (in {count} of {len(cells)} cells)")
    problems += _find_shared_directories(configs)
    if not cells and not problems:
        problems.append("no cells: a pattern such as glob(*) finds no member of its group")
    for override in launchers:
        if override.is_sweep_override():
            problems.append(f"{override.input_line}: expected one value, for a sweep has one launcher")
    if problems:
        raise ConfigError(problems, TITLE)
    return SweepPlan(
        cells=_make_cells(cells, configs),
        launcher=choose_launcher(cells[0], [str(override.input_line) for override in launchers], config_dir),
        hydras=[str(override.input_line) for override in hydras if override.key_or_group != DIRECTORY],
        experiment=experiment,
        folder=_find_folder(hydras),
        notes=notes,
    )


def choose_launcher(cell: Sequence[str], lines: Sequence[str], config_dir: Path | None) -> dict[str, Any]:
    """The section `launcher` of a cell with further overrides of it. Raises ConfigError."""
    config = compose([*cell, *lines], config_dir)
    section: dict[str, Any] = OmegaConf.to_container(config.launcher)  # type: ignore[assignment]
    return section


def is_of_launcher(override: Override) -> bool:
    """Whether an override says where cells are trained: `launcher=slurm`, `launcher.jobs=2`."""
    return override.key_or_group.partition(".")[0] == "launcher"


def _find_folder(hydras: Sequence[Override]) -> str | None:
    """Where the sweep's own files go, if it is said."""
    for override in hydras:
        if override.key_or_group == DIRECTORY:
            return str(override.value())
    return None


def _make_cells(lines: Sequence[list[str]], configs: Sequence[DictConfig]) -> list[Cell]:
    """The cells with what sets each apart: the overrides that are not the same in all."""
    settings = [_read_settings(overrides) for overrides in lines]
    common = [key for key in settings[0] if all(key in values for values in settings)]
    varying = [key for key in common if len({values[key] for values in settings}) > 1]
    cells = []
    for number, (overrides, values, config) in enumerate(zip(lines, settings, configs, strict=True), start=1):
        own = {key: values[key] for key in varying}
        cells.append(Cell(number, overrides, own, config.run_dir))
    return cells


def _read_settings(overrides: Sequence[str]) -> Mapping[str, str]:
    """Key -> value, as written."""
    pairs = [override.lstrip("+").partition("=") for override in overrides]
    return {key: value for key, _, value in pairs}


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
