"""Who set a value: the user, an experiment, or a preset such as trainer=quick. What is told of a value rests on it."""

import copy
import re
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

SET = "set"  # of a value that an override of the user's names
WATCHED = (
    "image_size",
    "run_dir",
    "trainer.batch_size",
    "trainer.loss",
    "dataset.channels",
    "dataset.intensity",
    "dataset.n_labelled",
    "dataset.spacing",
)
# Keys that have no part in a training without a generator, or without a hypergradient.
OF_GENERATOR = (
    "generator",
    "trainer.warmup_iterations",
    "trainer.finetune_iterations",
    "trainer.warm_start",
    "trainer.keep_warmup",
    "trainer.small.max_channels",
    "trainer.optimizers.generator",
    "trainer.optimizers.discriminator",
)
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
    assert isinstance(named, DictConfig)
    raw = flatten_raw(tree)
    settings = _Settings(tree, raw, overridden - choices.keys(), choices, named)
    origins = {}
    for key in WATCHED:
        origin = settings.find_origin(key) if OmegaConf.select(tree, key) is not None else None
        if origin:
            origins[key] = origin
    watched = (*OF_GENERATOR, *OF_ARCHITECTURE, *OF_AUGMENT)
    for key in sorted(overridden):
        if lies_in(key, watched):
            origins[key] = SET
    return origins


@dataclass
class _Settings:
    """A composed tree and what it was composed of."""

    tree: DictConfig
    raw: Mapping[str, Any]
    set_keys: Collection[str]
    choices: Mapping[str, str | None]
    experiment: DictConfig

    def find_origin(self, key: str) -> str | None:
        """What set a key; of one that takes over the value of another, what set that one."""
        if lies_in(key, self.set_keys):
            return SET
        if OmegaConf.select(self.experiment, key, throw_on_resolution_failure=False) is not None:
            name = self.choices["experiment"]
            return f"experiment={name}"
        value = str(self.raw.get(key))
        if value.startswith("${"):
            return self._find_taken_over(SOURCES.findall(value))
        group = key.partition(".")[0]
        member = self.choices.get(group)
        return f"{group}={member}" if member else None

    def _find_taken_over(self, sources: Collection[str]) -> str | None:
        """The origin of the first source that has a value."""
        for source in sources:
            if OmegaConf.select(self.tree, source) is not None:
                return self.find_origin(source)
        return None


def find_idle_sections(method: Any, has_generator: bool, learns_architecture: bool) -> tuple[str, ...]:
    """The keys and sections that have no part in a training; `method` is the config's section of that name."""
    switch = method.get("augment") if isinstance(method, Mapping | DictConfig) else None
    idle: tuple[str, ...] = ()
    if not has_generator:
        idle += OF_GENERATOR
    if not learns_architecture:
        idle += OF_ARCHITECTURE
    if switch is False and not has_generator:
        idle += OF_AUGMENT
    return idle


def lies_in(key: str, sections: Collection[str]) -> bool:
    """Whether a dotted key is one of these or lies below one."""
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def find_sources(tree: DictConfig) -> dict[str, list[str]]:
    """The keys whose values a key takes over: `${oc.select:trainer.small.base_channels,64}`."""
    sources = {}
    for key, value in flatten_raw(tree).items():
        found = SOURCES.findall(value) if isinstance(value, str) else []
        if found:
            sources[key] = found
    return sources


def find_reduced(tree: DictConfig) -> dict[str, Any]:
    """The keys of networks that trainer.small has changed, each with its usual value."""
    usual = copy.deepcopy(tree)
    OmegaConf.update(usual, "trainer.small", None)
    reduced = {}
    for key, raw in flatten_raw(tree).items():
        if SHRINKING not in str(raw) or "." not in key:
            continue
        usual_value = OmegaConf.select(usual, key)
        if usual_value != OmegaConf.select(tree, key):
            reduced[key] = usual_value
    return reduced


def flatten_raw(tree: DictConfig) -> dict[str, Any]:
    """Dotted keys and their values, interpolations as they are written."""
    return _flatten_tree(OmegaConf.to_container(tree, resolve=False))


def _flatten_tree(tree: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten_tree(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
