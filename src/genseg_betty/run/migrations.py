"""What Runs of earlier versions call otherwise, brought to the names of today when it is read.

Levels were called by their stages; now by the keys of the config.
"""

from collections.abc import Mapping
from typing import TypeVar

from genseg_betty.run.names import DISCRIMINATOR, GENERATOR, SEGMENTER, SKIPPED_PREFIX

LEVEL_NAMES = {"generation": GENERATOR, "discrimination": DISCRIMINATOR, "segmentation": SEGMENTER}

Value = TypeVar("Value")


def rename_levels(by_level: Mapping[str, Value]) -> dict[str, Value]:
    """The same values by the names that the levels have today."""
    return {LEVEL_NAMES.get(name, name): value for name, value in by_level.items()}


def rename_metric(name: str) -> str:
    """The name that a metric of metrics.csv has today: a level's loss, or the count of its skipped steps."""
    prefix = SKIPPED_PREFIX if name.startswith(SKIPPED_PREFIX) else ""
    level = name.removeprefix(prefix)
    return prefix + LEVEL_NAMES.get(level, level)
