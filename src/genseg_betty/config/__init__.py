"""The config of a training: composed from conf/ by Hydra, overridden by the user, resolved and checked.

YAML files in conf/ and in a user's own `--config-dir` name code by `_target_`, which is imported and run.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genseg_betty.config.checking import check_config, check_dataset_section, names_foreign_code
from genseg_betty.config.composing import Composed, compose_groups, resolve_values
from genseg_betty.config.folders import (
    all_members,
    conf_dir,
    dataset_names,
    group_members,
    group_names,
    user_folder,
)
from genseg_betty.config.library import Library
from genseg_betty.config.wording import spell_out
from genseg_betty.errors import ConfigError, UserError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

__all__ = [
    "Composed",
    "all_members",
    "compose",
    "conf_dir",
    "dataset_names",
    "group_members",
    "group_names",
    "load_dataset_config",
    "require_betty",
    "user_folder",
]
BETTY = "0.2.1"


def require_betty() -> None:
    """Raise UserError, with the command that mends it, unless the Betty that we are built on is installed."""
    try:
        found = version("betty-ml")
    except PackageNotFoundError:
        found = None
    if found != BETTY:
        raise UserError(
            f"training needs betty-ml {BETTY}, found {found or 'none'}. Its metadata names older Pythons "
            "only, so install it by itself:\n"
            f"  uv pip install --no-deps betty-ml=={BETTY}\n"
            f"or\n  pip install --no-deps --ignore-requires-python betty-ml=={BETTY}"
        )


def compose(
    overrides: Sequence[str], config_dir: str | Path | None = None, composed: Composed | None = None
) -> "DictConfig":
    """The resolved and checked config of one training; `run_dir` is filled in, and what set it is told.

    Args:
        overrides: as on the command line; `+dataset=x` and `dataset=x` are the same.
        config_dir: a folder of the user's own YAML files, laid out as conf/; kept in `config.config_dir`.
        composed: filled, and asked before Hydra is.

    Raises:
        ConfigError: a UserError that names every fault, and the nearest right key or member.
    """
    from omegaconf import OmegaConf

    from genseg_betty.config.experiments import Naming, read_params
    from genseg_betty.config.naming import fill_names, find_run_label_faults
    from genseg_betty.config.ood import choose_ood
    from genseg_betty.config.overrides import apply_overrides, parse_overrides
    from genseg_betty.config.preset_methods import compose_preset

    folder = user_folder(config_dir)
    library = Library(folder, all_members(folder), {} if composed is None else composed)
    problems: list[str] = []
    parsed = parse_overrides(overrides, library.members, problems)
    is_sweep = bool(read_params(parsed.groups.get("experiment"), folder))
    tree, choices, preset = compose_preset(parsed, library.compose_members, problems, yields=is_sweep)
    choose_ood(tree, choices["dataset"], library.members["dataset"], problems)
    _add_second_backbone(tree, parsed.values, choices, library, problems)
    base = copy.deepcopy(tree)
    apply_overrides(tree, parsed.values, problems)
    problems += find_run_label_faults(parsed.values, library.members, choices)
    config = _check_tree(tree, library, parsed.unknown_groups, problems)
    fill_names(config, choices)
    overridden = {override.key_or_group for override in parsed.values}
    config |= _tell_sources(tree, base, overridden | parsed.groups.keys(), choices, library)
    if config["run_dir"] is None:
        naming = Naming(base, choices, overridden)
        config["run_dir"] = naming.name_run(config, tree, is_sweep, library.compose_members, preset)
    return OmegaConf.create(config)


def _add_second_backbone(
    tree: "DictConfig",
    values: Sequence["Override"],
    choices: Mapping[str, str | None],
    library: Library,
    problems: list[str],
) -> None:
    """Insert the section of a second backbone, of methods with two networks."""
    from genseg_betty.config.second_backbone import choose_second_backbone, insert_second_backbone

    second = choose_second_backbone(tree, values, choices["backbone"], library.members["backbone"], problems)
    if second:
        insert_second_backbone(tree, second, library.compose_members({"backbone": second})[0])


def load_dataset_config(
    name: str,
    root: str | Path | None = None,
    config_dir: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> "DictConfig":
    """The checked config of one dataset, without a training around it.

    `overrides` are keys of the dataset with or without `dataset.` before them: `root=/data/x`, `n_test=50`.
    Raises ConfigError as `compose`.
    """
    from omegaconf import OmegaConf

    from genseg_betty.config.overrides import apply_overrides, parse_overrides, prefix_dataset, tell_unknown_member

    folder = user_folder(config_dir)
    members = all_members(folder)
    problems: list[str] = []
    lines = [prefix_dataset(line) for line in overrides]
    parsed = parse_overrides(lines, members, problems)
    if name not in members["dataset"]:
        problems.append(tell_unknown_member("dataset", name, members["dataset"]))
        _require_none(problems)
    tree, _ = compose_groups({"dataset": name}, folder)
    apply_overrides(tree, parsed.values, problems)
    if root is not None:
        tree.dataset.root = str(root)
    values = resolve_values(tree, problems)
    dataset = check_dataset_section(values.get("dataset"), problems)
    _require_none(problems)
    return OmegaConf.create({**dataset, "name": dataset["name"] or name})


def _require_none(problems: Sequence[str]) -> None:
    """Raise ConfigError where there are problems."""
    if problems:
        raise ConfigError([spell_out(problem) for problem in problems])


def _check_tree(
    tree: "DictConfig", library: Library, unknown_groups: Collection[str], problems: list[str]
) -> dict[str, Any]:
    """The values of a composed tree, checked. Raises ConfigError with `problems` and what is found here."""
    from genseg_betty.config.naming import find_run_dir_faults
    from genseg_betty.config.ood import check_ood
    from genseg_betty.config.origins import find_sources

    values = resolve_values(tree, problems)
    sources = find_sources(tree)
    faults: list[str] = []
    config = check_config(values, faults, sources)
    # Where a member is unknown and nothing is near, the default stands in for it, and its keys say nothing.
    for fault in faults:
        group = fault.partition(".")[0]
        if group not in unknown_groups:
            problems.append(fault)
    ood = check_ood(config.get("ood"), library, problems)
    _require_none(problems)
    _require_none(find_run_dir_faults(config["run_dir"]))
    # Code of others comes last of all: it may import PyTorch.
    if names_foreign_code(values):
        config = check_config(values, problems, sources, importing=True)
        _require_none(problems)
    config["ood"] = ood
    return config


def _tell_sources(
    tree: "DictConfig",
    base: "DictConfig",
    overridden: set[str],
    choices: Mapping[str, str | None],
    library: Library,
) -> dict[str, Any]:
    """The user's own folder, what set the values that a training tells, what a preset changed, the name of the recipe.

    `base` is the tree without the user's values.
    """
    from genseg_betty.config.origins import find_origins, find_reduced
    from genseg_betty.config.preset_methods import describe_recipe

    experiment = library.find_file("experiment", choices.get("experiment"))
    return {
        "config_dir": str(library.folder) if library.folder else None,
        "origins": find_origins(tree, overridden, choices, experiment),
        "reduced": find_reduced(tree),
        "recipe": describe_recipe(tree, base, choices, library.compose_members),
    }
