"""∇_A of every generator with every optimizer against finite differences of the real joint step, in float64.

Nothing of the step is written down a second time here: what it keeps, cuts, draws once or differentiates in closed form
has to give the slope of the loss that it ends in.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nibabel
import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from genseg_betty.build import OPTIMIZERS
from genseg_betty.config import compose, group_members
from genseg_betty.data.loading import DataBundle, load_data
from genseg_betty.generators.discriminators import SpectralNorm
from levels.displaced import RecordedJointStep, find_disagreement, find_displaced_loss, record_joint_step
from methods.tiny import TINY, built

STEPS_BEFORE = 2  # joint ones: moments of the optimizers are there, and A has left its even start
SIDE = 32
EPSILONS = (1e-8, 3e-9)
"""Steps of the differences. S' = S - η ∇L jumps where a ReLU switches: steps of 1e-6 fail at random, of 1e-8 hardly
any. The shorter one is tried where the first disagrees: a jump is out of its reach, a wrong derivative is not."""
TOLERANCE = 1e-4
"""Rounding of L_val leaves about 1e-8 of a slope at the first step: the learning rates make slopes of 1e-3 and more."""

NO_DISCRIMINATOR = ("bbdm",)
VOLUMES = ("pix2pix3d",)
GENERATORS: dict[str, list[str]] = {
    "asapnet": ["generator.depth=2", "generator.blocks=1", "generator.mlp_layers=2"],
    "bbdm": ["generator.depth=2", "generator.objective.steps=2", "generator.objective.differentiated=2"],
    "pix2pix": ["generator.depth=3"],
    "pix2pix3d": ["generator.depth=3", "generator.base_channels=2", "generator.max_channels=4"],
    "soft_intro_vae": ["generator.latent_channels=4"],
    "spade": ["generator.depth=2", "generator.hidden_channels=4"],
    "wgan_gp": ["generator.latent_channels=4"],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "adam": {"betas": [0.5, 0.999], "weight_decay": 1e-3},
    "adamw": {"betas": [0.5, 0.999], "weight_decay": 0.1},
    "rmsprop": {"momentum": 0.9, "weight_decay": 1e-3},
    "sgd": {"momentum": 0.9, "weight_decay": 1e-3},
}
RATES = {"adam": (0.03, 0.05), "adamw": (0.03, 0.04), "rmsprop": (0.001, 0.003), "sgd": (0.001, 1.0)}
"""Learning rates of G and S."""
OTHER_RATES = {
    ("asapnet", "sgd"): (0.1, 0.5),
    ("bbdm", "sgd"): (0.3, 1.0),
    ("pix2pix3d", "adam"): (0.02, 0.05),
    ("pix2pix3d", "adamw"): (0.02, 0.05),
    ("pix2pix3d", "sgd"): (0.002, 0.6),
    ("soft_intro_vae", "sgd"): (1.0, 1.0),
    ("wgan_gp", "adamw"): (0.03, 0.05),
    ("wgan_gp", "rmsprop"): (0.003, 0.005),
    ("wgan_gp", "sgd"): (3.0, 1.0),
}
ITERATIONS = 100
"""Of the power iteration for SPADE's singular vectors: the derivative holds them fixed, right once they converged."""

Recorder = Callable[..., RecordedJointStep]


def draw_volumes(root: Path) -> None:
    """Six volumes with a bright ball in noise."""
    grid = np.indices((SIDE,) * 3)
    for index in range(6):
        random = np.random.default_rng(index)
        ball = ((grid - random.integers(12, 20, (3, 1, 1, 1))) ** 2).sum(axis=0) < 64
        image = random.integers(0, 100, ball.shape) + 120 * ball
        for part, array in (("images", image), ("masks", ball)):
            (root / part).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array.astype(np.uint8), np.eye(4)), root / part / f"ball{index}.nii.gz")


def compose_small(generator: str, volumes: Path) -> DictConfig:
    """The config of a small training with this generator; `volumes`: where there are some."""
    small = TINY
    if generator in NO_DISCRIMINATOR:
        small = [key for key in small if "discriminator" not in key]
    if generator in VOLUMES:
        small = [key for key in small if not key.startswith(("dataset", "backbone"))]
        small += [
            "dataset=folder", f"dataset.root={volumes}", "dataset.classes=[background, ball]", "dataset.n_labelled=4",
            "backbone=unet3d", "backbone.base_channels=2", "backbone.residual_units=0",
            f"image_size=[{SIDE}, {SIDE}, {SIDE}]", "trainer.batch_size=1",
        ]  # fmt: skip
    return compose(
        [
            *small, f"generator={generator}", *GENERATORS[generator], "precision=fp32", "seed=3", "ood=[]",
            "trainer.warmup_iterations=1", "trainer.optimizers.architecture={name: adam, lr: 0.3}",
        ]
    )  # fmt: skip


def load_in_float64(config: DictConfig) -> DataBundle:
    data = load_data(config)
    train, validation = (replace(part, images=part.images.double()) for part in (data.train, data.validation))
    return replace(data, train=train, validation=validation)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """Records the third joint step of a generator, an optimizer of G and S and a hypergradient, each once."""
    root = tmp_path_factory.mktemp("volumes")
    draw_volumes(root)
    composed = cache(lambda generator: compose_small(generator, root))
    loaded = cache(lambda volumes: load_in_float64(composed(VOLUMES[0] if volumes else "pix2pix")))

    @cache
    def recorded(
        generator: str,
        optimizer: str,
        hypergradient: str,
        *changes: tuple[str, Any],
        iterations: int = ITERATIONS,
    ) -> RecordedJointStep:
        config = copy.deepcopy(composed(generator))
        config.hypergradient = hypergradient
        rates = OTHER_RATES.get((generator, optimizer), RATES[optimizer])
        for part, rate in zip(("generator", "segmenter"), rates, strict=True):
            config.trainer.optimizers[part] = {"name": optimizer, "lr": rate, **OPTIONS[optimizer]}
        for key, value in changes:
            OmegaConf.update(config, key, value)
        with patch("genseg_betty.training.components.check_backbone"):  # takes as long as three steps
            engine = built(config, loaded(generator in VOLUMES), dtype=torch.float64)[1]
        for module in engine.generator.module.modules():
            if isinstance(module, SpectralNorm):
                module.iterations = iterations
        return record_joint_step(engine, STEPS_BEFORE)

    usual = torch.get_num_threads()
    torch.set_num_threads(1)  # networks as small as these gain nothing by more
    yield recorded
    torch.set_num_threads(usual)


def find_least_disagreement(step: RecordedJointStep, in_images: bool) -> float:
    """Of the differences by the steps `EPSILONS`; the shorter one is asked where the first disagrees."""
    found = find_disagreement(step, EPSILONS[0], in_images)
    return found if found < TOLERANCE else min(found, find_disagreement(step, EPSILONS[1], in_images))


def list_steps() -> list[Any]:
    """Every generator with every optimizer and hypergradient. In `make test` every generator and every optimizer
    meets both hypergradients; the slow tests are the rest.
    """
    found = []
    for which, generator in enumerate(GENERATORS):
        for other, optimizer in enumerate(OPTIONS):
            for last, hypergradient in enumerate(("exact", "exact_full")):
                quick = (which + other + 2 * last) % len(OPTIONS) == 0
                found.append(pytest.param(generator, optimizer, hypergradient, marks=[] if quick else pytest.mark.slow))
    return found


@pytest.mark.parametrize(("generator", "optimizer", "hypergradient"), list_steps())
def test_gradient_of_the_architecture_is_the_slope_of_the_real_step(record, generator, optimizer, hypergradient):
    step = record(generator, optimizer, hypergradient)
    assert find_least_disagreement(step, in_images=hypergradient == "exact_full") < TOLERANCE


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_step_with_nothing_displaced_is_the_real_one(record, generator):
    """With what G draws for H and itself drawn anew, and with nothing recorded."""
    step = record(generator, "adam", "exact_full")
    found = find_displaced_loss(step, torch.zeros_like(step.gradient), in_images=True)
    torch.testing.assert_close(found, step.loss, rtol=1e-13, atol=0)


def test_every_generator_and_every_optimizer_is_there():
    assert sorted(GENERATORS) == sorted(group_members("generator"))
    assert sorted(OPTIONS) == sorted(OPTIMIZERS)


# -- so that the tests above can fail ----------------------------------------------------------------------------


def test_a_gradient_that_is_wrong_by_a_thousandth_is_seen(record):
    step = record("pix2pix", "adam", "exact")
    wrong = replace(step, gradient=1.001 * step.gradient)
    assert find_least_disagreement(wrong, in_images=False) > 5 * TOLERANCE


def test_the_chain_alone_is_not_the_slope_with_the_images_displaced(record):
    assert find_least_disagreement(record("pix2pix", "adam", "exact"), in_images=True) > 0.1


def test_the_total_derivative_is_not_the_slope_with_the_images_held(record):
    assert find_least_disagreement(record("pix2pix", "adam", "exact_full"), in_images=False) > 0.1


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
def test_a_gradient_that_takes_the_step_for_a_plain_one_is_seen(record, optimizer):
    """Not with SGD, whose step is plain."""
    step = record("pix2pix", optimizer, "exact", ("precondition", "identity"))
    assert find_least_disagreement(step, in_images=False) > 0.1


def test_a_sampler_that_is_differentiated_in_part_is_seen(record):
    step = record("bbdm", "adam", "exact", ("generator.objective.differentiated", 1))
    assert find_least_disagreement(step, in_images=False) > 0.1


def test_singular_vectors_that_have_not_converged_are_seen(record):
    step = record("spade", "adam", "exact", iterations=1)
    assert find_least_disagreement(step, in_images=False) > TOLERANCE
