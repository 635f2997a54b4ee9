"""What Runs of earlier versions say otherwise, brought to the form of today when it is read.

Levels were called by their stages; now by the keys of the config.
"""

import copy
from collections.abc import Mapping
from typing import TypeVar

from omegaconf import DictConfig

from genseg_betty.run.names import DISCRIMINATOR, GENERATOR, SEGMENTER, SKIPPED_PREFIX

LEVEL_NAMES = {
    "generation": GENERATOR,
    "discrimination": DISCRIMINATOR,
    "segmentation": SEGMENTER,
}
CONDITIONAL_GAN = "genseg_betty.generators.objectives.ConditionalGAN"
PATCH_DISCRIMINATOR = "genseg_betty.generators.discriminators.PatchDiscriminator"

SUPERVISED = "genseg_betty.methods.supervised.Supervised"
# The recipes that the methods combine and vanilla come with.
AUGMENTATION = {"_target_": "genseg_betty.augment.Augmentation", "mask_border": "zeros", "pair_border": "border"}
PAPER_RECIPE = {**AUGMENTATION, "rotate": 15.0, "flip": [1], "translate": 0.1}
NO_RECIPE = {**AUGMENTATION, "rotate": 0.0, "flip": [], "translate": 0.0}
NAMED_RECIPES = {"paper": PAPER_RECIPE, "none": NO_RECIPE}

Value = TypeVar("Value")


def rename_levels(by_level: Mapping[str, Value]) -> dict[str, Value]:
    """The same values by the names that the levels have today."""
    return {LEVEL_NAMES.get(name, name): value for name, value in by_level.items()}


def rename_metric(name: str) -> str:
    """The name that a metric of metrics.csv has today: a level's loss, or the count of its skipped steps."""
    prefix = SKIPPED_PREFIX if name.startswith(SKIPPED_PREFIX) else ""
    level = name.removeprefix(prefix)
    return prefix + LEVEL_NAMES.get(level, level)


def migrate_config(config: DictConfig) -> DictConfig:
    """A config of an earlier version in this one's form; one of this version as it is."""
    return _migrate_recipe(_migrate_pasting(_migrate_method(_migrate_generator(config))))


def _migrate_recipe(config: DictConfig) -> DictConfig:
    """The recipe had no name; one of a user's own has none today either."""
    if "recipe" in config:
        return config
    named = [name for name, recipe in NAMED_RECIPES.items() if config.get("augment") == recipe]
    if not named:
        return config
    config = copy.deepcopy(config)
    config.recipe = named[0]
    return config


def _migrate_pasting(config: DictConfig) -> DictConfig:
    """Nothing was pasted."""
    if "augment" not in config or "copy_paste" in config:
        return config
    config = copy.deepcopy(config)
    config.copy_paste = 0.0
    return config


def _migrate_method(config: DictConfig) -> DictConfig:
    """Combine had any recipe of conf/augment: with another than the paper's it is called `supervised` today.

    Vanilla had one that it made no use of.
    """
    method = config.get("method")
    if not isinstance(method, DictConfig) or method.get("_target_") != SUPERVISED:
        return config
    config = copy.deepcopy(config)
    if method.get("name") == "vanilla" and method.get("augment") is False:
        config.augment = NO_RECIPE
    elif method.get("name") == "combine" and config.get("augment") != PAPER_RECIPE:
        config.method.name = "supervised"
    return config


def _migrate_generator(config: DictConfig) -> DictConfig:
    """Generators had the losses of Pix2Pix, and no choice."""
    found = config.get("generator")
    is_older = isinstance(found, DictConfig) and "l1_weight" in found and "objective" not in found
    if not is_older:
        return config
    config = copy.deepcopy(config)
    generator = config.generator
    l1_weight = generator.pop("l1_weight")
    generator.objective = {"_target_": CONDITIONAL_GAN, "l1_weight": l1_weight}

    # The kind of normalisation was a choice between one.
    discriminator = {"_target_": PATCH_DISCRIMINATOR}
    for key, value in (generator.get("discriminator") or {}).items():
        if value != "instance":
            discriminator[key] = value
    generator.discriminator = discriminator
    generator.branches = "learnable"
    generator.kernels = [4, 6, 8]
    return config
