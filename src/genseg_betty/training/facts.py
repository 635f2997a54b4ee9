"""What results.json says of a training but its scores: what was trained, on what, by which versions."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from omegaconf import DictConfig

from genseg_betty.config.networks import describe_networks, describe_reduced
from genseg_betty.data.loading import DataBundle
from genseg_betty.device import resolve_device
from genseg_betty.ranks import count_processes
from genseg_betty.run import Run
from genseg_betty.training.console import find_unused_cases
from genseg_betty.training.method import Method

PACKAGES = ("genseg-betty", "torch", "betty-ml", "segmentation-models-pytorch", "monai", "hydra-core", "numpy")


def collect_facts(run: Run, data: DataBundle, method: Method) -> dict[str, Any]:
    """What results.json says before the first step. A method without a generator has none of its keys' values."""
    config, has_generator = run.config, method.has_generator
    return {
        "schema": 1,
        "name": config.name or _find_label(run, has_generator),
        "method": config.method.name,
        "dataset": config.dataset.name,
        "backbone": config.backbone.name,
        "encoder": config.backbone.get("encoder"),
        "encoder_weights": config.backbone.get("encoder_weights"),
        "generator": config.generator.name if has_generator else None,
        "networks": describe_networks(config, has_generator),
        "reduced": describe_reduced(config, has_generator),
        "trainer": config.trainer.name,
        "augment": _find_recipe(config, method),
        "seed": config.seed,
        "image_size": list(data.preprocessing.image_size),
        "n_labelled": len(data.splits.train) + len(data.splits.validation),
        "n_train": len(data.splits.train),
        "n_validation": len(data.splits.validation),
        "n_unused": len(find_unused_cases(data)),
        "warmup_iterations": config.trainer.warmup_iterations if has_generator else 0,
        "metric": data.metric,
        "device": _device_name(config),
        **_count_processes(),
        "versions": _find_versions(),
        "data_sha256": data.sha256,
    }


def list_tags(config: DictConfig, method: Method) -> list[str]:
    """What a training is found by in a service that tracks it: its parts by name."""
    backbone = config.backbone.name if method.trains_backbone else None
    generator = config.generator.name if method.has_generator else None
    found = [config.dataset.name, backbone, generator, config.method.name, _find_recipe(config, method)]
    return list(dict.fromkeys(tag for tag in found if tag))


def _find_recipe(config: DictConfig, method: Method) -> str | None:
    """The recipe by which images are augmented; None for a method that has its own."""
    if not method.trains_backbone:
        return None
    return "none" if config.method.get("augment") is False else config.get("recipe")


def _find_label(run: Run, has_generator: bool) -> str:
    """The directory's name; its third part, a generator whether the method has one or not, is left out without one."""
    directory = run.path.name
    if has_generator:
        return directory
    generator, method = run.config.generator.name, run.config.method.name
    return directory.replace(f"-{generator}-{method}-", f"-{method}-", 1)


def _count_processes() -> dict[str, int]:
    """How many processes shared each batch, where there were several."""
    count = count_processes()
    return {"processes": count} if count > 1 else {}


def _device_name(config: DictConfig) -> str:
    if resolve_device(config.device).type == "cuda":
        return torch.cuda.get_device_name()
    return f"cpu, {torch.get_num_threads()} threads"


def _find_versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that a training's numbers depend on."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions
