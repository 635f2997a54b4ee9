"""`beyond` in results.json: what a method takes beyond supervised training on the same images with as many updates.

A count by each of these names; what a method does not take is left out. Who compares two methods has to know of it.
"""

from collections.abc import Mapping
from typing import Any

IMAGES_PER_STEP = "images_per_step"  # that the segmenter sees, where they are more than a batch
UNLABELLED_IMAGES = "unlabelled_images"  # that are learned from
VALIDATION_IMAGES = "validation_images"  # labelled images of the validation part that are learned from
GENERATOR_UPDATES = "generator_updates"
SEGMENTERS = "segmenters"  # that are trained, where they are more than one

WORDS = {
    IMAGES_PER_STEP: "images a step",
    UNLABELLED_IMAGES: "unlabelled images",
    VALIDATION_IMAGES: "validation images learned from",
    GENERATOR_UPDATES: "generator updates",
    SEGMENTERS: "segmenters",
}


def describe_beyond(beyond: Mapping[str, Any]) -> list[str]:
    """A few words for each count: "8 images a step"."""
    described = []
    for name, count in beyond.items():
        words = WORDS.get(name, name.replace("_", " "))
        described.append(f"{count} {words}")
    return described
