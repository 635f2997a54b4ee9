"""Experiments that are sweeps: what their file says to sweep over, and how their cells are named.

`hydra.sweeper.params` of the file has keys and their values as on the command line. Cells that train the same have the
same name, whatever experiment they belong to: what it sets counts, not which one it was.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from genseg_betty.config.folders import conf_dir
from genseg_betty.config.overrides import OPTIONAL
from genseg_betty.config.wording import show
from genseg_betty.errors import ConfigError

PARAMS = "hydra.sweeper.params"
OOD_OF = "ood_of"
Choices = Mapping[str, str | None]
Compose = Callable[[Mapping[str, str]], tuple[DictConfig, dict[str, str | None]]]
"""Chosen members -> the tree that they compose, and the member of every group."""


def find_experiment(overrides: Sequence[Override]) -> str | None:
    """The experiment that the overrides choose."""
    chosen = [override.value() for override in overrides if override.key_or_group == "experiment"]
    return str(chosen[-1]) if chosen and chosen[-1] is not None else None


def read_params(experiment: str | None, folder: Path | None) -> dict[str, Any]:
    """What an experiment sweeps over: key -> values; {} where it is one training.

    Args:
        folder: the user's own YAML files, which go before ours.

    Raises:
        ConfigError: the file is no YAML, or its sweep is no mapping of keys to values.
    """
    folders = [folder, conf_dir()] if folder else [conf_dir()]
    files = [place / "experiment" / f"{experiment}.yaml" for place in folders]
    file = next((file for file in files if file.is_file()), None)
    if experiment is None or file is None:
        return {}
    try:
        params = OmegaConf.select(OmegaConf.load(file), PARAMS)
    except (OmegaConfBaseException, YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file} cannot be read: {error}"]) from error
    if params is None:
        return {}
    if not OmegaConf.is_dict(params):
        raise ConfigError([f"{file}: {PARAMS} is {params}; expected keys with their values, such as seed: 0,1,2"])
    return {str(key).lstrip("+"): value for key, value in params.items()}


def read_swept_lines(experiment: str | None, folder: Path | None, given: Collection[str]) -> list[str]:
    """The overrides of an experiment's sweep, without those keys that are `given` otherwise. Raises ConfigError."""
    params = read_params(experiment, folder)
    return [f"{key}={value}" for key, value in params.items() if key not in given]


def compose_without_experiment(choices: Choices, compose: Compose) -> tuple[DictConfig, Choices]:
    """What all groups compose without experiment and scale, and their members: cells are named by both."""
    kept = {group: member for group, member in choices.items() if group not in OPTIONAL}
    tree, _ = compose({group: member for group, member in kept.items() if member is not None})
    return tree, kept


def find_changed_keys(tree: DictConfig, plain: DictConfig) -> set[str]:
    """The dotted keys in which two trees differ."""
    leaves, others = flatten_values(tree), flatten_values(plain)
    return {key for key in leaves.keys() | others.keys() if leaves.get(key) != others.get(key)}


def flatten_values(section: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value as written, interpolations among them; a list is one value."""
    flat: dict[str, Any] = {}
    found = OmegaConf.to_container(section) if OmegaConf.is_config(section) else section
    for key, value in found.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat |= flatten_values(value, f"{dotted}.")
        else:
            flat[dotted] = value
    return flat


def choose_ood(tree: DictConfig, dataset: str | None, names: Collection[str], problems: list[str]) -> None:
    """Take `ood_of` of an experiment out of the tree, and set `ood` to the list that it has for the chosen dataset.

    `ood_of: {isic: [ph2], jsrt: [nlm_mc]}` says which others a dataset of a sweep is tested on.
    """
    found = tree.pop(OOD_OF, None)
    if found is None:
        return
    lists = OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
    if not isinstance(lists, dict) or not lists.keys() <= set(names):
        problems.append(f"{OOD_OF}={show(lists)}: expected {{dataset: [others], …}} with names of datasets")
        return
    if dataset in lists:
        tree.ood = lists[dataset]
