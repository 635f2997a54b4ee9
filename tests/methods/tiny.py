"""Overrides of the smallest training that goes through every part."""

TINY = [
    "dataset=phantom", "backbone=unet_classic", "backbone.base_channels=4", "image_size=32", "device=cpu",
    "generator.base_channels=4", "generator.max_channels=8", "generator.discriminator.base_channels=4",
    "trainer.batch_size=2", "dataset.n_test=2",
]  # fmt: skip
