"""The smallest training that goes through every part, and a way to run it in a process of its own."""

from typing import Any

import torch
from omegaconf import DictConfig

from genseg_betty.build import build_named
from genseg_betty.cli import main
from genseg_betty.data.loading import DataBundle
from genseg_betty.multilevel.cuda_graphs import Backend
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.training.components import Components

TINY = [
    "dataset=phantom", "backbone=unet_classic", "backbone.base_channels=4", "image_size=32", "device=cpu",
    "generator.base_channels=4", "generator.max_channels=8", "generator.discriminator.base_channels=4",
    "trainer.batch_size=2", "dataset.n_test=2",
]  # fmt: skip


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
