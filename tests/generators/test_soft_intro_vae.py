"""Soft-IntroVAE: shapes, architecture gradients, its two losses against the published formulas, a joint training."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

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
from genseg_betty.generators.soft_intro_vae import (
    Encoder,
    Introspection,
    SoftIntroVAE,
    divergence,
    reparameterise,
    squared_error,
)
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.training.components import Components

LATENT = 5
OVERRIDES = [
    "generator=soft_intro_vae", "dataset=phantom", "backbone=unet_classic", "backbone.base_channels=4", "image_size=32",
    "device=cpu", "generator.base_channels=4", "generator.max_channels=8", "generator.discriminator.base_channels=4",
    "generator.latent_channels=5", "trainer.batch_size=2", "dataset.n_test=2", "ood=[]", "precision=fp32",
]  # fmt: skip


def build(image_size: int | tuple[int, int] = 32, masks: int = 1, channels: int = 3, **settings: Any) -> SoftIntroVAE:
    torch.manual_seed(0)
    sizes = {"latent_channels": LATENT, "base_channels": 4, "max_channels": 8}
    return build_family(SoftIntroVAE, masks, channels, image_size, **{**sizes, **settings})


def pairs(generator: SoftIntroVAE, size: int = 2) -> tuple[Tensor, Tensor]:
    """Encoded masks and images."""
    return torch.randn(size, 1, 32, 32).sign().double(), torch.rand(size, 3, 32, 32).double() * 2 - 1


@pytest.mark.parametrize(
    ("size", "levels"), [((32, 32), 3), ((48, 80), 3), ((64, 96), 4), ((33, 71), 3), ((100, 100), 4), ((256, 256), 6)]
)
@pytest.mark.parametrize(("masks", "channels"), [(1, 1), (3, 3)])
def test_shape_table(size: tuple[int, int], levels: int, masks: int, channels: int) -> None:
    generator = build(size, masks, channels)
    assert generator.cells == {"down": levels, "up": levels}
    condition = torch.randn(2, masks, *size)
    image = generator(torch.randn(2, LATENT), condition, draw_uniform(generator))
    assert image.shape == (2, channels, *size)
    assert image.abs().max() <= 1
    mean, log_variance = Encoder(masks + channels, LATENT, base_channels=4)(condition, image)
    assert mean.shape == log_variance.shape == (2, LATENT)


def test_cells_and_errors() -> None:
    assert build(searched="decoder").cells == {"down": 0, "up": 3}
    assert build(searched="encoder").cells == {"down": 3, "up": 0}
    assert build(kernels=[4]).cells == {"down": 0, "up": 0}
    assert build(64, depth=2).cells == {"down": 2, "up": 2}
    with pytest.raises(UserError, match="pix2pix3d for volumes"):
        build(spatial_dims=3)
    with pytest.raises(UserError, match="both, decoder or encoder"):
        build(searched="all")
    with pytest.raises(ValueError, match="built for another size"):
        build(64)(torch.randn(1, LATENT), torch.randn(1, 1, 32, 32), draw_uniform(build(64)))


def test_image_follows_z_and_mask() -> None:
    generator = build()
    z, condition = torch.randn(1, LATENT, requires_grad=True), torch.randn(1, 1, 32, 32, requires_grad=True)
    image = generator(z, condition, draw_uniform(generator))
    assert all(g.abs().max() > 0 for g in torch.autograd.grad(image.square().sum(), [z, condition]))


def test_divergence_against_torch_distributions() -> None:
    mean, log_variance = torch.randn(4, LATENT).double(), torch.randn(4, LATENT, dtype=torch.float64)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros(1).double(), 1)).sum(dim=1)
    torch.testing.assert_close(divergence(mean, log_variance), expected)
    z = reparameterise(mean[:1].expand(20000, -1), log_variance[:1].expand(20000, -1))
    torch.testing.assert_close(z.mean(dim=0), mean[0], rtol=0, atol=0.1)
    torch.testing.assert_close(z.var(dim=0).log(), log_variance[0], rtol=0, atol=0.1)


class Recorder:
    """E and D as functions; says what went in, and can cut a graph."""

    def __init__(self, module: nn.Module, *more: Any) -> None:
        self.module, self.more = module, more

    def __call__(self, *inputs: Tensor) -> Any:
        return self.module(*inputs, *self.more)


def networks() -> tuple[SoftIntroVAE, Encoder, Recorder, Recorder]:
    generator = build().double()
    encoder = Encoder(4, LATENT, base_channels=4, layers=3).double()
    return generator, encoder, Recorder(generator, draw_uniform(generator)), Recorder(encoder)


def test_encoder_loss_against_the_published_one() -> None:
    """¼ (exp(rec) + exp(fake)) of the two kinds of drawn images, each with a graph to the encoder alone."""
    _, encoder, decode, encode = networks()
    condition, image = pairs(build())
    objective = Introspection(LATENT, beta_rec=0.7, beta_kl=0.9, beta_neg=3.0)
    torch.manual_seed(1)
    found = objective.discriminator_loss(decode, encode, condition, image)

    torch.manual_seed(1)
    scale = 1 / (3 * 32 * 32)
    mean, log_variance = encode(condition, image)
    reconstructed = decode(mean + (log_variance / 2).exp() * torch.randn(2, LATENT, dtype=torch.float64), condition)
    fake = decode(torch.randn(2, LATENT, dtype=torch.float64), condition)
    noise = torch.randn(4, LATENT, dtype=torch.float64)
    loss = scale * (
        0.7 * (image - reconstructed).square().sum(dim=(1, 2, 3)).mean() + 0.9 * divergence(mean, log_variance).mean()
    )
    for drawn, epsilon in ((reconstructed.detach(), noise[:2]), (fake.detach(), noise[2:])):
        m, v = encode(condition, drawn)
        again = decode(m + (v / 2).exp() * epsilon, condition)
        elbo = 0.7 * (drawn - again).square().sum(dim=(1, 2, 3)) + 3.0 * divergence(m, v)
        loss = loss + 0.25 * (-2 * scale * elbo).exp().mean()
    torch.testing.assert_close(found, loss)
    weights = list(encoder.parameters())
    for ours, theirs in zip(torch.autograd.grad(found, weights), torch.autograd.grad(loss, weights), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_decoder_loss_against_the_published_one() -> None:
    generator, _, decode, encode = networks()
    condition, image = pairs(generator)
    objective = Introspection(LATENT, beta_rec=0.7, beta_kl=0.9, reconstruct_drawn=0.3)
    torch.manual_seed(1)
    found = objective.generator_loss(decode, encode, condition, image)

    torch.manual_seed(1)
    mean, log_variance = encode(condition, image)
    z = (mean + (log_variance / 2).exp() * torch.randn(2, LATENT, dtype=torch.float64)).detach()
    prior = torch.randn(2, LATENT, dtype=torch.float64)
    noise = torch.randn(4, LATENT, dtype=torch.float64)
    loss = 0.7 * squared_error(image, decode(z, condition)).mean()
    for latent, epsilon in ((z, noise[:2]), (prior, noise[2:])):
        drawn = decode(latent, condition)
        m, v = encode(condition, drawn)
        again = decode((m + (v / 2).exp() * epsilon).detach(), condition)
        loss = loss + 0.5 * 0.9 * divergence(m, v).mean()
        loss = loss + 0.3 * 0.5 * 0.7 * squared_error(drawn.detach(), again).mean()
    torch.testing.assert_close(found, loss / (3 * 32 * 32))
    weights = list(generator.parameters())
    theirs = torch.autograd.grad(loss / (3 * 32 * 32), weights)
    for one, other in zip(torch.autograd.grad(found, weights), theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_losses_stay_finite_at_extreme_encodings() -> None:
    _, encoder, decode, encode = networks()
    with torch.no_grad():
        encoder.head.weight.mul_(1e6)
    condition, image = pairs(build())
    for loss in (Introspection(LATENT).discriminator_loss, Introspection(LATENT).generator_loss):
        assert loss(decode, encode, condition, image).isfinite()


def searched(generator: nn.Module) -> Architecture:
    architecture = Architecture(**generator.cells).double()
    for logits in architecture.parameters():
        nn.init.normal_(logits, std=0.3)
    return architecture


def test_second_derivative_in_alpha_against_finite_differences() -> None:
    """d/dα of a direction of the gradient of the generator's own loss (Eq. 10), in float64."""
    generator = build().double()
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    encoder = Encoder(4, LATENT, base_channels=4, layers=2).double()
    architecture = draw_architecture(generator)
    condition, image = pairs(generator)
    objective = Introspection(LATENT)  # with a large γ_r, what it keeps constant would count

    def compute_loss() -> Tensor:
        torch.manual_seed(3)
        generate_fixed = Recorder(generator, architecture())
        return objective.generator_loss(generate_fixed, encoder, condition, image)

    assert_second_derivative(compute_loss, generator, architecture, rtol=1e-4)


def test_functional_call_sees_every_weight() -> None:
    generator = build()
    z, condition = torch.randn(1, LATENT), torch.randn(1, 1, 32, 32)
    assert_function_of_weights(generator, z, condition, draw_uniform(generator))


@pytest.mark.parametrize("half", ["both", "decoder", "encoder"])
def test_keep_strongest_equals_the_generator_where_alpha_is_one_hot(half: str) -> None:
    generator = build(40, searched=half)
    alpha = draw_one_hot(generator)
    inputs = torch.randn(2, LATENT), torch.randn(2, 1, 40, 40)
    assert_strongest_is_the_same(generator, alpha, *inputs, atol=1e-6, rtol=1e-5)


def test_draw_follows_the_seed_and_reaches_alpha() -> None:
    generator = build()
    architecture = Architecture(**generator.cells)
    condition = torch.randn(2, 1, 32, 32)
    images = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        image, mask = Introspection(LATENT).draw(Recorder(generator, architecture()), condition)
        assert mask is condition
        images.append(image)
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])
    gradients = torch.autograd.grad(images[0].square().sum(), list(architecture.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_joint_training_through_the_real_engine() -> None:
    config = compose([*OVERRIDES, "trainer.warmup_iterations=1", "trainer.iterations=4"])
    engine = PhasedEngine(build_named(config.method).plan(Components(config, load_data(config))))
    assert len(assert_trains_jointly(engine, 5)) == 3
