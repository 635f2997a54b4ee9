"""The names of a training, and its directory: the same for the same command, and never one for two trainings."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from genseg_betty.config.keys import find_role
from genseg_betty.config.wording import show

IN_NAME = ("dataset", "backbone", "generator", "method")
LABELLED = tuple(f"{group}.name" for group in ("backbone", "generator", "method", "trainer"))

OPEN = "-nauto-"  # in the name of a Run whose number of labelled images is for the data to say

Choices = Mapping[str, str | None]


def default_run_dir(
    config: dict[str, Any], base: DictConfig, overridden: set[str], choices: Choices, defaults: Choices
) -> str:
    """`outputs/<dataset>-<backbone>-<generator>-<method>-n<n_labelled>-s<seed>`, and a hash of other changes.

    Args:
        config: the checked config.
        base: the tree as the chosen group members compose it, before values were overridden.
        overridden: dotted keys that the user set.
        choices: the member of every group, an experiment's choices included.
        defaults: the member of every group when nothing is said.
    """
    n_labelled = config["dataset"]["n_labelled"]
    parts = [str(choices[group]) for group in IN_NAME]
    parts += [f"n{'auto' if n_labelled is None else n_labelled}", f"s{config['seed']}"]
    hashed = {key for key in overridden if find_role(key).names_run}
    changes = _other_choices(choices, defaults) | _changed_values(config, base, hashed)
    if changes:
        text = json.dumps(changes, sort_keys=True)
        parts.append(hashlib.sha256(text.encode()).hexdigest()[:8])
    return f"outputs/{'-'.join(parts)}"


def run_dir_faults(run_dir: str | None) -> list[str]:
    """One line where a file lies in the place of the Run's directory, or of one above it."""
    path = Path(run_dir or ".").expanduser().absolute()
    files = [place for place in (path, *path.parents) if os.path.exists(place) and not os.path.isdir(place)]
    return [f"run_dir={show(run_dir)}: {place} is a file; expected a folder, new or of a Run" for place in files]


def label_faults(values: Iterable[Override], members: Mapping[str, Sequence[str]], choices: Choices) -> list[str]:
    """One line where a name alone is changed to that of another member, as whose training it would pass."""
    faults = []
    for override in values:
        group = override.key_or_group.partition(".")[0]
        name = show(override.value())
        if override.key_or_group in LABELLED and name in members[group] and name != choices[group]:
            faults.append(f"{group}.name={name}: this is the name alone, {choices[group]} stays; choose {group}={name}")
    return faults


def name_count(run_dir: str, n_labelled: int) -> str:
    """The name with the number of labelled images in force."""
    return run_dir.replace(OPEN, f"-n{n_labelled}-", 1)


def _other_choices(choices: Choices, defaults: Choices) -> dict[str, Any]:
    return {
        group: member for group, member in choices.items() if group not in IN_NAME and member != defaults.get(group)
    }


def _changed_values(config: dict[str, Any], base: DictConfig, keys: set[str]) -> dict[str, Any]:
    """Overridden keys whose value is not what it would have been."""
    values = {key: (_select(OmegaConf.create(config), key), _select(base, key)) for key in keys}
    return {key: value for key, (value, before) in values.items() if value != before}


def _select(tree: DictConfig, key: str) -> Any:
    value = OmegaConf.select(tree, key, throw_on_resolution_failure=False)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
