"""Who set a value: the user, an experiment, or a preset such as trainer=quick. What is told of a value rests on it."""

import copy
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

SET = "set"  # of a value that an override of the user's names
WATCHED = (
    "image_size", "run_dir", "trainer.batch_size", "trainer.loss", "dataset.channels", "dataset.intensity",
    "dataset.n_labelled", "dataset.spacing",
)  # fmt: skip
SHRINKING = "oc.select:trainer.small."
SOURCES = re.compile(r"oc\.select:([\w.]+)")


def find_origins(
    tree: DictConfig, overridden: Collection[str], choices: Mapping[str, str | None], experiment: Path | None
) -> dict[str, str]:
    """For each watched key that is not null, what set it: `set`, `experiment=x`, or the member of a group.

    Args:
        tree: the composed tree, interpolations in it, with the user's values.
        overridden: dotted keys that the user set.
        choices: the chosen member of every group.
        experiment: the YAML file of the chosen experiment.
    """
    named = OmegaConf.load(experiment) if experiment else OmegaConf.create({})
    raw = _flatten(OmegaConf.to_container(tree, resolve=False))

    def origin(key: str) -> str | None:
        if any(key == other or key.startswith(f"{other}.") for other in overridden):
            return SET
        if OmegaConf.select(named, key, throw_on_resolution_failure=False) is not None:
            return f"experiment={choices['experiment']}"
        if str(raw.get(key)).startswith("${"):
            sources = SOURCES.findall(str(raw[key]))
            return next((origin(source) for source in sources if OmegaConf.select(tree, source) is not None), None)
        group = key.partition(".")[0]
        return f"{group}={choices[group]}" if choices.get(group) else None

    found = {key: origin(key) for key in WATCHED if OmegaConf.select(tree, key) is not None}
    return {key: name for key, name in found.items() if name}


def find_reduced(tree: DictConfig) -> dict[str, Any]:
    """The keys of networks that trainer.small has made smaller, each with its usual value."""
    usual = copy.deepcopy(tree)
    OmegaConf.update(usual, "trainer.small", None)
    raw = _flatten(OmegaConf.to_container(tree, resolve=False))
    keys = [key for key, value in raw.items() if SHRINKING in str(value) and "." in key]
    values = {key: OmegaConf.select(usual, key) for key in keys}
    return {key: value for key, value in values.items() if value != OmegaConf.select(tree, key)}


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
