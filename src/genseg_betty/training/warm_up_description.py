"""Everything that the warm-up of a generator depends on, in plain values, and how two warm-ups differ.

Not part of it are the seed, the code and the device. Neither are validation images, as no step of the warm-up sees
one; and as the training images of two equal descriptions are equal, no validation image is among those of the other.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.data.loading import DataBundle
from genseg_betty.device import resolve_autocast, resolve_device
from genseg_betty.faults import list_first
from genseg_betty.levels.generation import Discrimination, Generation

Description = dict[str, Any]

TITLES = {
    "steps": "steps of the warm-up (trainer.warmup_iterations; of separate trainer.iterations as well)",
    "augment": "augment (of stage I, by method.augment_pairs=both)",
}
"""What messages call keys of a description that are no keys of the config."""
SHOWN = 5  # ids in one message
LONGEST = 100  # characters of a value in a message


def describe_warm_up(config: DictConfig, data: DataBundle, steps: int, augments: bool) -> Description:
    """Describe a warm-up of `steps` steps.

    Args:
        augments: whether stage I moves its real pairs, as `config.augment` says.
    """
    generator = _to_plain(config.generator)
    optimizers = _to_plain(config.trainer.optimizers)
    if generator.get("discriminator") is None:
        optimizers["discriminator"] = None
    generator.pop("name", None)  # a label
    image = data.preprocessing.to_dict()
    autocast = resolve_autocast(config.precision, resolve_device(config.device))
    return {
        "images": {id: data.digests[id] for id in data.train.ids},
        "dataset.channels": image["channels"],
        "dataset.intensity": image["intensity"],
        "dataset.spacing": image["spacing"],
        "dataset.labels": _describe_labels(data),
        "image_size": image["image_size"],
        "steps": steps,
        "trainer.batch_size": data.settings.batch_size,
        "trainer.optimizers": {part: optimizers[part] for part in (Generation.part, Discrimination.part)},
        "generator": generator,
        "augment": _describe_augment(config) if augments else None,
        "precision": "bf16" if autocast else "fp32",
    }


def hash_description(description: Description) -> str:
    """Its SHA-256."""
    return hashlib.sha256(write_canonically(description).encode()).hexdigest()


def write_canonically(description: Any) -> str:
    """One text for equal descriptions. Raises TypeError, ValueError or RecursionError for what is no plain values."""
    return json.dumps(description, sort_keys=True)


def compare_images(there: Any, here: dict[str, str]) -> str | None:
    """One line on training images (id -> content) that differ, in their order too; None where none does."""
    there = there if isinstance(there, dict) else {}
    both = there.keys() & here.keys()
    kinds = {
        "there alone": there.keys() - here.keys(),
        "here alone": here.keys() - there.keys(),
        "of other content": {id for id in both if there[id] != here[id]},
    }
    told = []
    for kind, ids in kinds.items():
        if ids:
            some = list_first(sorted(map(str, ids)), SHOWN)
            told.append(f"{len(ids)} {kind} ({some})")
    if told:
        return f"training images: {', '.join(told)}"
    return None if list(there) == list(here) else "training images: the same in another order"


def compare_values(there: Any, here: Any, place: str = "") -> Iterator[str]:
    """A line for each place at which two descriptions differ."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted({*there, *here}, key=str):
            inner = f"{place}.{key}" if place else TITLES.get(key, key)
            yield from compare_values(there.get(key, "absent"), here.get(key, "absent"), inner)
    elif there != here:
        yield f"{place}: {_shorten_value(there)} there, {_shorten_value(here)} here"


def _describe_augment(config: DictConfig) -> dict[str, Any]:
    """What moves real pairs; copy-paste where there is any, which earlier versions did not know."""
    described = _to_plain(config.augment)
    if config.get("copy_paste"):
        described["copy_paste"] = config.copy_paste
    return described


def _describe_labels(data: DataBundle) -> dict[str, Any]:
    """Classes, and the class of each value in a mask file (colours packed); None where nothing is declared."""
    labels = data.dataset.labels
    values = None
    if labels.lookup is not None:
        values = {str(value): index for value, index in labels.lookup.items()}
    return {"classes": data.num_classes, "threshold": labels.threshold, "values": values}


def _shorten_value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _to_plain(section: DictConfig) -> dict[str, Any]:
    values: dict[str, Any] = OmegaConf.to_container(section, resolve=True)  # type: ignore[assignment]
    return values
