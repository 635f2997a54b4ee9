"""The config of a training: composed from conf/ by Hydra, overridden by the user, resolved and checked.

YAML files in conf/ and in a user's own `--config-dir` name code by `_target_`, which is imported and run.
"""

import copy
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genseg_betty.config.checking import check, check_dataset_section, names_foreign_code
from genseg_betty.config.composing import Composed, compose_groups, compose_once, default_choices, resolve_values
from genseg_betty.config.folders import (
    all_members,
    conf_dir,
    dataset_names,
    group_members,
    group_names,
    user_folder,
)
from genseg_betty.config.wording import show, spell_out
from genseg_betty.errors import ConfigError, UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = [
    "Composed", "all_members", "compose", "conf_dir", "dataset_names", "group_members", "group_names",
    "load_dataset_config", "require_betty", "user_folder",
]  # fmt: skip
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
    """The resolved and checked config of one training; `run_dir` is filled in, `origins` and `reduced` are told.

    Args:
        overrides: as on the command line; `+dataset=x` and `dataset=x` are the same.
        config_dir: a folder of the user's own YAML files, laid out as conf/; kept in `config.config_dir`.
        composed: filled, and asked before Hydra is.

    Raises:
        ConfigError: a UserError that names every fault, and the nearest right key or member.
    """
    from omegaconf import OmegaConf

    from genseg_betty.config import overrides as overriding
    from genseg_betty.config.naming import default_run_dir, label_faults, run_dir_faults
    from genseg_betty.config.origins import find_sources

    folder = user_folder(config_dir)
    members = all_members(folder)
    problems: list[str] = []
    parsed = overriding.parse(overrides, members, problems)
    composed = {} if composed is None else composed
    tree, choices = compose_once(parsed.groups, folder, composed)
    base = copy.deepcopy(tree)
    overriding.apply(tree, parsed.values, problems)
    problems += label_faults(parsed.values, members, choices)
    faults: list[str] = []
    values, sources = resolve_values(tree, problems), find_sources(tree)
    config = check(values, faults, sources)
    # Where a member is unknown and nothing is near, the default stands in for it, and its keys say nothing.
    problems += [fault for fault in faults if fault.partition(".")[0] not in parsed.unknown_groups]
    config["ood"] = _check_ood(config.get("ood"), members["dataset"], folder, composed, problems)
    _require_none(problems)
    _require_none(run_dir_faults(config["run_dir"]))
    if names_foreign_code(values):  # last of all: it may import PyTorch
        config |= check(values, problems, sources, importing=True) | {"ood": config["ood"]}
        _require_none(problems)
    for group, choice in choices.items():
        if "name" in config.get(group, {}):
            config[group]["name"] = config[group]["name"] or choice
    config["config_dir"] = str(folder) if folder else None
    overridden = {override.key_or_group for override in parsed.values}
    config |= _told_of(tree, overridden | parsed.groups.keys(), choices, folder)
    if config["run_dir"] is None:
        config["run_dir"] = default_run_dir(config, base, overridden, choices, default_choices())
    return OmegaConf.create(config)


def _told_of(
    tree: "DictConfig", overridden: set[str], choices: Mapping[str, str | None], folder: Path | None
) -> dict[str, Any]:
    """What set the values that a training tells, and which sizes of networks a preset has made smaller."""
    from genseg_betty.config.origins import find_origins, find_reduced

    places = [folder, conf_dir()] if folder else [conf_dir()]
    files = [place / "experiment" / f"{choices.get('experiment')}.yaml" for place in places]
    experiment = next((file for file in files if file.is_file()), None)
    return {"origins": find_origins(tree, overridden, choices, experiment), "reduced": find_reduced(tree)}


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

    from genseg_betty.config import overrides as overriding

    folder = user_folder(config_dir)
    members = all_members(folder)
    problems: list[str] = []
    parsed = overriding.parse(map(overriding.in_dataset, overrides), members, problems)
    if name not in members["dataset"]:
        problems.append(overriding.unknown_member("dataset", name, members["dataset"]))
        _require_none(problems)
    tree, _ = compose_groups({"dataset": name}, folder)
    overriding.apply(tree, parsed.values, problems)
    if root is not None:
        tree.dataset.root = str(root)
    dataset = check_dataset_section(resolve_values(tree, problems).get("dataset"), problems)
    _require_none(problems)
    return OmegaConf.create({**dataset, "name": dataset["name"] or name})


def _require_none(problems: Sequence[str]) -> None:
    if problems:
        raise ConfigError([spell_out(problem) for problem in problems])


def _check_ood(entries: Any, names: Sequence[str], folder: Path | None, composed: Composed, problems: list[str]) -> Any:
    """`ood` converted: names of datasets, or mappings of a name and keys of that dataset; faults go to `problems`."""
    from genseg_betty.config import overrides as overriding

    if not isinstance(entries, list):
        return entries
    converted = []
    for entry in entries:
        name, keys = (entry.get("name"), entry) if isinstance(entry, dict) else (entry, {})
        if name is None:
            problems.append(f"ood: {show(entry)}: expected the name of a dataset, or {{name: …, root: …}}")
        elif not isinstance(name, str) or name not in names:
            problem = overriding.unknown_member("dataset", show(name), names)
            problems.append(problem.replace("dataset=", "ood: ", 1))
        elif keys:
            tree, _ = compose_once({"dataset": name}, folder, composed)
            faults: list[str] = []
            checked = check_dataset_section({**resolve_values(tree, problems)["dataset"], **keys}, faults)
            # What stands in the dataset trained on as well, and is taken over from there, is told of that one.
            own = [fault for fault in faults if fault not in problems]
            problems += [f"ood: {name}: {fault.replace('dataset.', '')}" for fault in own]
            entry = {key: checked.get(key, value) for key, value in keys.items()}
        converted.append(entry)
    return converted
