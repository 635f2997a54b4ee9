"""Who set a value: the user, an experiment, or a preset such as trainer=quick. What is told of a value rests on it."""

import copy
import re
from collections.abc import Collection, Mapping, Set
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

SET = "set"  # of a value that an override of the user's names
WATCHED = (
    "image_size", "run_dir", "trainer.batch_size", "trainer.loss", "dataset.channels", "dataset.intensity",
    "dataset.n_labelled", "dataset.spacing",
)  # fmt: skip
# Keys that have no part in a training without a generator, or without a hypergradient.
OF_GENERATOR = (
    "generator", "trainer.warmup_iterations", "trainer.finetune_iterations", "trainer.warm_start",
    "trainer.keep_warmup", "trainer.small.max_channels", "trainer.optimizers.generator",
    "trainer.optimizers.discriminator",
)  # fmt: skip
OF_ARCHITECTURE = ("hypergradient", "precondition", "arch_every", "trainer.optimizers.architecture")
OF_AUGMENT = ("augment",)  # of the images; a method's own switch is method.augment
SHRINKING = "oc.select:trainer.small."
SOURCES = re.compile(r"\$\{(?:oc\.select:)?([\w.]+)")


def find_origins(
    tree: DictConfig, overridden: Set[str], choices: Mapping[str, str | None], experiment: Path | None
) -> dict[str, str]:
    """For each watched key that is not null, what set it: `set`, `experiment=x`, or the member of a group.

    Keys of a generator, an architecture and an augmentation are watched where the user set them.

    Args:
        tree: the composed tree, interpolations in it, with the user's values.
        overridden: dotted keys that the user set, and groups that the user chose.
        choices: the chosen member of every group.
        experiment: the YAML file of the chosen experiment.
    """
    named = OmegaConf.load(experiment) if experiment else OmegaConf.create({})
    raw = _flatten(OmegaConf.to_container(tree, resolve=False))

    def origin(key: str) -> str | None:
        if belongs(key, overridden - choices.keys()):
            return SET
        if OmegaConf.select(named, key, throw_on_resolution_failure=False) is not None:
            return f"experiment={choices['experiment']}"
        if str(raw.get(key)).startswith("${"):
            sources = SOURCES.findall(str(raw[key]))
            return next((origin(source) for source in sources if OmegaConf.select(tree, source) is not None), None)
        group = key.partition(".")[0]
        return f"{group}={choices[group]}" if choices.get(group) else None

    found = {key: origin(key) for key in WATCHED if OmegaConf.select(tree, key) is not None}
    watched = (*OF_GENERATOR, *OF_ARCHITECTURE, *OF_AUGMENT)
    optional = {key: SET for key in sorted(overridden) if belongs(key, watched)}
    return {key: name for key, name in found.items() if name} | optional


def find_idle_sections(method: Any, has_generator: bool, learns_architecture: bool) -> tuple[str, ...]:
    """The keys and sections that have no part in a training; `method` is the config's section of that name."""
    switch = method.get("augment") if isinstance(method, Mapping | DictConfig) else None
    idle: tuple[str, ...] = () if has_generator else OF_GENERATOR
    idle += () if learns_architecture else OF_ARCHITECTURE
    return idle + (OF_AUGMENT if switch is False and not has_generator else ())


def belongs(key: str, sections: Collection[str]) -> bool:
    """Whether a dotted key is one of these or lies below one."""
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def find_sources(tree: DictConfig) -> dict[str, list[str]]:
    """The keys whose values a key takes over: `${oc.select:trainer.small.base_channels,64}`."""
    raw = _flatten(OmegaConf.to_container(tree, resolve=False))
    sources = {key: SOURCES.findall(value) for key, value in raw.items() if isinstance(value, str)}
    return {key: found for key, found in sources.items() if found}


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
