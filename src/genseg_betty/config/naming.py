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
    # What most Runs differ in stands in the name, in the open.
    n_labelled = config["dataset"]["n_labelled"]
    count = "auto" if n_labelled is None else n_labelled
    seed = config["seed"]
    parts = [str(choices[group]) for group in IN_NAME]
    parts += [f"n{count}", f"s{seed}"]

    # Everything else that names a Run has a part in the hash.
    hashed = {key for key in overridden if find_role(key).names_run}
    changes = _find_other_choices(choices, defaults)
    changes |= _find_changed_values(config, base, hashed)
    if changes:
        text = json.dumps(changes, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        parts.append(digest[:8])
    name = "-".join(parts)
    return f"outputs/{name}"


def find_run_dir_faults(run_dir: str | None) -> list[str]:
    """One line where a file lies in the place of the Run's directory, or of one above it."""
    path = Path(run_dir or ".").expanduser().absolute()
    faults = []
    for place in (path, *path.parents):
        if os.path.exists(place) and not os.path.isdir(place):
            faults.append(f"run_dir={show(run_dir)}: {place} is a file; expected a folder, new or of a Run")
    return faults


def find_run_label_faults(
    values: Iterable[Override], members: Mapping[str, Sequence[str]], choices: Choices
) -> list[str]:
    """One line where a name alone is changed to that of another member, as whose training it would pass."""
    faults = []
    for override in values:
        key = override.key_or_group
        if key not in LABELLED:
            continue
        group = key.partition(".")[0]
        name, chosen = show(override.value()), choices[group]
        if name in members[group] and name != chosen:
            faults.append(f"{group}.name={name}: this is the name alone, {chosen} stays; choose {group}={name}")
    return faults


def fill_names(config: dict[str, Any], choices: Choices) -> None:
    """Name each section that has no name after the chosen member of its group."""
    for group, choice in choices.items():
        section = config.get(group, {})
        if "name" in section:
            section["name"] = section["name"] or choice


def name_count(run_dir: str, n_labelled: int | str) -> str:
    """The name with the number of labelled images in force, or with a pattern for all of them."""
    return run_dir.replace(OPEN, f"-n{n_labelled}-", 1)


def _find_other_choices(choices: Choices, defaults: Choices) -> dict[str, Any]:
    """The members, of groups that the name does not show, which are not the default."""
    others = {}
    for group, member in choices.items():
        is_hidden = group not in IN_NAME and find_role(group).names_run
        if is_hidden and member != defaults.get(group):
            others[group] = member
    return others


def _find_changed_values(config: dict[str, Any], base: DictConfig, keys: set[str]) -> dict[str, Any]:
    """Overridden keys whose value is not what it would have been."""
    tree = OmegaConf.create(config)
    changed = {}
    for key in keys:
        value = _select_value(tree, key)
        if value != _select_value(base, key):
            changed[key] = value
    return changed


def _select_value(tree: DictConfig, key: str) -> Any:
    """The plain value of a dotted key; None where there is none."""
    value = OmegaConf.select(tree, key, throw_on_resolution_failure=False)
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True)
    return value
