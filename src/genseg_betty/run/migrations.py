"""What Runs of earlier versions call otherwise, brought to the names of today when it is read.

Levels were called by their stages; now by the keys of the config.
"""

from collections.abc import Mapping
from typing import TypeVar

LEVEL_NAMES = {"generation": "generator", "discrimination": "discriminator", "segmentation": "segmenter"}
SKIPPED = "skipped_"

Value = TypeVar("Value")


def rename_levels(by_level: Mapping[str, Value]) -> dict[str, Value]:
    """The same values by the names that the levels have today."""
    return {LEVEL_NAMES.get(name, name): value for name, value in by_level.items()}


def rename_metric(name: str) -> str:
    """The name that a metric of metrics.csv has today: a level's loss, or the count of its skipped steps."""
    prefix = SKIPPED if name.startswith(SKIPPED) else ""
    level = name.removeprefix(prefix)
    return prefix + LEVEL_NAMES.get(level, level)
