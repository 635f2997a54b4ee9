"""WGAN-GP: image and mask from one vector, architecture gradients, the penalty in closed form, a joint training."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from generators.families import (
    assert_function_of_weights,
    assert_second_derivative,
    assert_strongest_is_the_same,
    assert_trains_jointly,
    build_family,
    draw_architecture,
    draw_one_hot,
    draw_uniform,
)
from genseg_betty.build import build_named
from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.errors import UserError
from genseg_betty.generators.cells import Architecture
from genseg_betty.generators.encoding import decode_mask
from genseg_betty.generators.wgan_gp import WGAN, Critic, WassersteinGAN, gradient_penalty
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.training.components import Components

LATENT = 5
OVERRIDES = [
    "generator=wgan_gp", "dataset=phantom", "backbone=unet_classic", "backbone.base_channels=4", "image_size=32",
    "device=cpu", "generator.base_channels=4", "generator.max_channels=8", "generator.discriminator.base_channels=4",
    "generator.latent_channels=5", "trainer.batch_size=2", "dataset.n_test=2", "ood=[]", "precision=fp32",
]  # fmt: skip


def build(image_size: int | tuple[int, int] = 32, masks: int = 1, channels: int = 3, **settings: Any) -> WGAN:
    torch.manual_seed(0)
    sizes = {"latent_channels": LATENT, "base_channels": 4, "max_channels": 8}
    return build_family(WGAN, masks, channels, image_size, **{**sizes, **settings})


@pytest.mark.parametrize(
    ("size", "levels"), [((32, 32), 3), ((48, 80), 3), ((64, 96), 4), ((33, 71), 3), ((100, 100), 4), ((256, 256), 6)]
)
@pytest.mark.parametrize(("masks", "channels"), [(1, 1), (3, 3)])
def test_shape_table(size: tuple[int, int], levels: int, masks: int, channels: int) -> None:
    generator = build(size, masks, channels)
    assert generator.cells == {"down": 0, "up": levels}
    image, mask = generator(torch.randn(2, LATENT), draw_uniform(generator))
    assert image.shape == (2, channels, *size)
    assert mask.shape == (2, masks, *size)
    assert max(image.abs().max(), mask.abs().max()) <= 1
    assert Critic(masks + channels, base_channels=4)(mask, image).shape == (2,)


def test_cells_and_errors() -> None:
    assert build(searched="decoder").cells == {"down": 0, "up": 3}
    assert build(kernels=[4]).cells == {"down": 0, "up": 0}
    with pytest.raises(UserError, match="no encoder: choose both or decoder"):
        build(searched="encoder")
    with pytest.raises(UserError, match="pix2pix3d for volumes"):
        build(spatial_dims=3)
    with pytest.raises(UserError, match="expected a number above 0"):
        build(temperature=0)


def test_masks_are_shares_of_the_classes() -> None:
    logits = torch.randn(2, 3, 4, 4).double()
    torch.testing.assert_close(decode_mask(build(masks=3).relax_mask(logits)), logits.softmax(dim=1))
    sharper = build(temperature=0.5)
    torch.testing.assert_close(decode_mask(sharper.relax_mask(logits[:, :1])), (2 * logits[:, :1]).sigmoid())


@pytest.mark.parametrize("masks", [1, 3])
def test_straight_through_hands_out_hard_masks_with_soft_derivatives(masks: int) -> None:
    logits = torch.randn(2, masks, 4, 4).double().requires_grad_()
    weights = torch.randn(2, masks, 4, 4).double()
    hard, soft = (build(masks=masks, straight_through=through).relax_mask(logits) for through in (True, False))
    torch.testing.assert_close(hard.abs(), torch.ones_like(hard))
    assert torch.equal(hard.argmax(dim=1), soft.argmax(dim=1))
    assert torch.equal(hard > 0, soft > 0) or masks > 1
    gradients = [torch.autograd.grad((mask * weights).sum(), logits)[0] for mask in (hard, soft)]
    torch.testing.assert_close(*gradients)


def test_penalty_of_a_linear_critic_in_closed_form() -> None:
    """(‖w‖ - 1)² wherever it is taken, the norm over mask and image together."""
    weights = [torch.randn(1, 1, 6, 6).double() * 0.2, torch.randn(1, 3, 6, 6).double() * 0.2]
    for weight in weights:
        weight.requires_grad_()

    def linear(mask: Tensor, image: Tensor) -> Tensor:
        return sum((w * x).flatten(1).sum(dim=1) for w, x in zip(weights, (mask, image), strict=True)) + 7

    real = torch.randn(4, 1, 6, 6).double(), torch.randn(4, 3, 6, 6).double()
    fake = torch.randn(4, 1, 6, 6).double(), torch.randn(4, 3, 6, 6).double()
    expected = (torch.cat([w.flatten() for w in weights]).norm() - 1).square()
    penalty = gradient_penalty(linear, real, fake)
    torch.testing.assert_close(penalty, expected)
    for ours, theirs in zip(torch.autograd.grad(penalty, weights), torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_penalty_is_taken_on_the_lines_between_pairs() -> None:
    """Of the critic Σ x² / 2, whose slope is x itself: mask and image at the same share of the way."""
    torch.manual_seed(2)
    real = torch.randn(3, 1, 6, 6).double(), torch.randn(3, 2, 6, 6).double()
    fake = torch.randn(3, 1, 6, 6).double(), torch.randn(3, 2, 6, 6).double()

    def square(mask: Tensor, image: Tensor) -> Tensor:
        return torch.cat([mask, image], dim=1).square().flatten(1).sum(dim=1) / 2

    torch.manual_seed(3)
    penalty = gradient_penalty(square, real, fake)
    torch.manual_seed(3)
    share = torch.rand(3, 1, 1, 1, dtype=torch.float64)
    mixed = (1 - share) * torch.cat(real, dim=1) + share * torch.cat(fake, dim=1)
    torch.testing.assert_close(penalty, (mixed.flatten(1).norm(dim=1) - 1).square().mean())


def test_penalty_has_a_derivative_where_the_critic_is_flat() -> None:
    weight = torch.zeros(1, 1, 4, 4, requires_grad=True)
    pair = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    penalty = gradient_penalty(lambda mask, image: (weight * (mask + image)).flatten(1).sum(dim=1), pair, pair)
    assert torch.autograd.grad(penalty, weight)[0].isfinite().all()


def test_losses_of_both_sides() -> None:
    generator, critic = build().double(), Critic(4, base_channels=4, layers=3).double()
    alpha = draw_uniform(generator)
    condition, image = torch.randn(2, 1, 32, 32).sign().double(), torch.rand(2, 3, 32, 32).double() * 2 - 1
    objective = WassersteinGAN(LATENT, penalty_weight=0.0)
    torch.manual_seed(1)
    critics = objective.discriminator_loss(lambda z: generator(z, alpha), critic, condition, image)
    torch.manual_seed(1)
    ours = objective.generator_loss(lambda z: generator(z, alpha), critic, condition, image)
    torch.testing.assert_close(critics, -ours - critic(condition, image).mean())
    weighted = WassersteinGAN(LATENT).discriminator_loss(lambda z: generator(z, alpha), critic, condition, image)
    gradients = torch.autograd.grad(weighted, list(critic.parameters())[:-1])  # the last bias has none to give
    assert all(gradient.isfinite().all() and gradient.abs().max() > 0 for gradient in gradients)


def test_draw_looks_at_no_mask_and_reaches_alpha_by_image_and_mask() -> None:
    generator = build()
    architecture = Architecture(**generator.cells)
    drawn = []
    for seed, condition in (
        (0, torch.ones(2, 1, 32, 32)),
        (0, -torch.ones(2, 1, 32, 32)),
        (1, torch.ones(2, 1, 32, 32)),
    ):
        torch.manual_seed(seed)
        drawn.append(WassersteinGAN(LATENT).draw(lambda z: generator(z, architecture()), condition))
    for part in (0, 1):
        assert torch.equal(drawn[0][part], drawn[1][part])
        assert not torch.equal(drawn[0][part], drawn[2][part])
        (gradient,) = torch.autograd.grad(drawn[0][part].square().sum(), architecture.up_logits, retain_graph=True)
        assert gradient.abs().max() > 0


def test_second_derivative_in_alpha_against_finite_differences() -> None:
    """d/dα of a direction of the gradient of the generator's own loss (Eq. 10), in float64."""
    generator = build().double()
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    critic = Critic(4, base_channels=4, layers=2).double()
    architecture = draw_architecture(generator)
    condition, image = torch.randn(2, 1, 32, 32).double(), torch.randn(2, 3, 32, 32).double()

    def compute_loss() -> Tensor:
        torch.manual_seed(3)
        return WassersteinGAN(LATENT).generator_loss(lambda z: generator(z, architecture()), critic, condition, image)

    assert_second_derivative(compute_loss, generator, architecture, rtol=1e-4)


def test_functional_call_sees_every_weight() -> None:
    generator = build(norm="instance")
    assert_function_of_weights(generator, torch.randn(2, LATENT), draw_uniform(generator))


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_keep_strongest_equals_the_generator_where_alpha_is_one_hot(norm: str) -> None:
    generator = build(40, norm=norm)
    alpha = draw_one_hot(generator)
    assert_strongest_is_the_same(generator, alpha, torch.randn(2, LATENT), atol=1e-6, rtol=1e-5)


def test_joint_training_through_the_real_engine() -> None:
    config = compose([*OVERRIDES, "trainer.warmup_iterations=1", "trainer.iterations=4"])
    engine = PhasedEngine(build_named(config.method).plan(Components(config, load_data(config))))
    found = assert_trains_jointly(engine, 5)
    assert [len(gradients) for gradients in found] == [1, 1, 1]
