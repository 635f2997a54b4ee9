"""The smallest training that goes through every part, and a way to run it in a process of its own."""

import torch

from genseg_betty.cli import main

TINY = [
    "dataset=phantom", "backbone=unet_classic", "backbone.base_channels=4", "image_size=32", "device=cpu",
    "generator.base_channels=4", "generator.max_channels=8", "generator.discriminator.base_channels=4",
    "trainer.batch_size=2", "dataset.n_test=2",
]  # fmt: skip


def train(overrides: list[str]) -> None:
    """The command line on one thread. A process of another interpreter finds it here, but not in a test's file."""
    torch.set_num_threads(1)
    main(overrides)
