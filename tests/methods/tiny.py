"""The smallest training that goes through every part, and a way to run it in a process of its own."""

from typing import Any

import torch
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from genseg_betty.build import build_named
from genseg_betty.cli import main
from genseg_betty.config import conf_dir, group_members
from genseg_betty.data.loading import DataBundle, load_data
from genseg_betty.methods.level_method import LevelMethod
from genseg_betty.methods.semi_supervised import Paired, SemiSupervised
from genseg_betty.multilevel.cuda_graphs import Backend
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.training.components import Components

TINY = [
    "dataset=phantom", "backbone=unet_classic", "backbone.base_channels=4", "image_size=32", "device=cpu",
    "generator.base_channels=4", "generator.max_channels=8", "generator.discriminator.base_channels=4",
    "trainer.batch_size=2", "dataset.n_test=2",
]  # fmt: skip
SECOND = [
    "second_backbone.base_channels=8", "second_backbone.depths=[1, 1]", "second_backbone.decoder_depths=[1]",
    "second_backbone.window=4",
]  # fmt: skip
"""Of methods with two networks: the second one at the smallest size."""


def list_level_methods() -> list[str]:
    """The members of conf/method that train levels, without those that are other names of one."""
    found = []
    for name in group_members("method"):
        is_alias = "defaults:" in (conf_dir() / "method" / f"{name}.yaml").read_text()
        if not is_alias and issubclass(find_class(name), LevelMethod):
            found.append(name)
    return found


def find_class(method: str) -> type:
    """The class of a member of conf/method."""
    found: type = get_class(OmegaConf.load(conf_dir() / "method" / f"{method}.yaml")["_target_"])
    return found


def choose(method: str) -> list[str]:
    """The overrides that choose a method, and make what it needs small."""
    kind = find_class(method)
    words = [f"method={method}"]
    if issubclass(kind, SemiSupervised):
        words.append("unlabelled=5")
    return words + SECOND if issubclass(kind, Paired) else words


def load(config: DictConfig) -> DataBundle:
    """What `train` loads for the method of a config."""
    return load_data(config, reads_unlabelled=build_named(config.method).uses_unlabelled)


def find_first(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Of two networks' state dict that of the first one, under its own names; that of one network as it is."""
    first = {name.removeprefix("first."): value for name, value in state.items() if name.startswith("first.")}
    return first or state


def train(overrides: list[str]) -> None:
    """The command line on one thread. A process of another interpreter finds it here, but not in a test's file."""
    torch.set_num_threads(1)
    main(overrides)


def built(
    config: DictConfig, data: DataBundle, backend: Backend | None = None, **form: Any
) -> tuple[Components, PhasedEngine]:
    """The networks of a run in another `form` (dtype=, memory_format=) and its method's engine before a step."""
    components = Components(config, data)
    for network in (components.segmenter, components.generator, components.discriminator, components.architecture):
        if network is not None:
            network.to(**form)
    plan = build_named(config.method).plan(components)
    return components, PhasedEngine(plan, components.device.type, backend=backend)
