"""BBDM: shapes, architecture gradients, the bridge against a simulation, the sampler, a joint training."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

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
from genseg_betty.generators.bbdm import BBDM, BrownianBridge, as_grey_levels
from genseg_betty.generators.cells import Architecture
from genseg_betty.generators.encoding import encode_mask
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.training.components import Components

OVERRIDES = [
    "generator=bbdm", "dataset=phantom", "backbone=unet_classic", "backbone.base_channels=4", "image_size=32",
    "device=cpu", "generator.base_channels=4", "generator.max_channels=8", "trainer.batch_size=2",
    "dataset.n_test=2", "ood=[]", "precision=fp32",
]  # fmt: skip


def build(image_size: int | tuple[int, int] = 32, masks: int = 1, channels: int = 3, **settings: Any) -> BBDM:
    torch.manual_seed(0)
    arguments = {"base_channels": 4, "max_channels": 8, "depth": 2, **settings}
    return build_family(BBDM, masks, channels, image_size, **arguments)


@pytest.mark.parametrize(
    ("size", "levels"), [((32, 32), 4), ((48, 80), 4), ((64, 96), 4), ((33, 71), 4), ((100, 100), 4)]
)
@pytest.mark.parametrize(("masks", "channels"), [(1, 1), (3, 3)])
def test_shape_table(size: tuple[int, int], levels: int, masks: int, channels: int) -> None:
    generator = build(size, masks, channels, depth=None)
    assert generator.cells == {"down": levels, "up": levels}
    alpha, condition, time = draw_uniform(generator), torch.randn(2, masks, *size), torch.rand(2)
    assert generator(torch.randn(2, channels, *size), time, condition, alpha).shape == (2, channels, *size)
    image, mask = BrownianBridge().draw(lambda *inputs: generator(*inputs, alpha), condition)
    assert image.shape == (2, channels, *size)
    assert image.abs().max() <= 1
    assert mask is condition


def test_cells_and_errors() -> None:
    assert build(searched="decoder").cells == {"down": 0, "up": 2}
    assert build(searched="encoder").cells == {"down": 2, "up": 0}
    assert build(kernels=[4]).cells == {"down": 0, "up": 0}
    with pytest.raises(UserError, match="pix2pix3d for volumes"):
        build(spatial_dims=3)
    with pytest.raises(UserError, match="both, decoder or encoder"):
        build(searched="all")
    with pytest.raises(UserError, match="are 5, 4 and 1000; expected 1 or more"):
        BrownianBridge(steps=4, differentiated=5)
    with pytest.raises(UserError, match="choose l1 or l2"):
        BrownianBridge(loss="huber")


def test_grey_levels_of_masks() -> None:
    mask = torch.tensor([[[0, 1], [2, 1]]])
    assert as_grey_levels(encode_mask(mask, 3)).tolist() == [[[[-1, 0], [1, 0]]]]
    assert as_grey_levels(encode_mask(mask % 2, 2)).tolist() == [[[[-1, 1], [-1, 1]]]]


def test_every_time_is_told_apart() -> None:
    generator, alpha = build(), draw_uniform(build())
    x, condition = torch.randn(1, 3, 32, 32), torch.randn(1, 1, 32, 32)
    told = [generator(x, torch.tensor([time]), condition, alpha) for time in (0.25, 0.251, 1.0)]
    assert all((a - b).abs().max() > 1e-6 for a, b in ((told[0], told[1]), (told[1], told[2])))


def test_training_pairs_have_the_marginals_of_a_simulated_bridge() -> None:
    """x_t of a random walk tied down at x_0 and y, Δx = (y - x) Δm / (1 - m) + √(2 s Δm) ε."""
    torch.manual_seed(0)
    x0, y, variance, moments, paths = 0.4, -1.0, 0.6, 400, 20000
    x, simulated = torch.full((paths,), x0), {}
    for step in range(moments - 1):
        m, length = step / moments, 1 / moments
        x = x + (y - x) * length / (1 - m) + math.sqrt(2 * variance * length) * torch.randn(paths)
        simulated[step + 1] = x
    seen = {}

    def network(x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        seen.update(x=x_t, time=time)
        return torch.zeros_like(x_t)

    bridge = BrownianBridge(times=4, variance=variance)
    image, condition = torch.full((400, 1, 10, 10), x0), torch.full((400, 1, 10, 10), y)
    loss = bridge.generator_loss(network, None, condition, image)
    assert set(seen["time"].tolist()) == {0.25, 0.5, 0.75, 1.0}
    torch.testing.assert_close(loss, (seen["x"] - image).square().mean())  # the target is x_t - x_0
    for time in (0.25, 0.5, 0.75):
        drawn, walked = seen["x"][seen["time"] == time], simulated[int(time * moments)]
        assert drawn.mean().item() == pytest.approx(walked.mean().item(), abs=0.03)
        assert drawn.std().item() == pytest.approx(walked.std().item(), abs=0.02)
    assert torch.equal(seen["x"][seen["time"] == 1], condition[seen["time"] == 1])


@pytest.mark.parametrize("steps", [1, 2, 4, 10])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_sampler_reaches_the_image_with_a_perfect_network(steps: int, eta: float) -> None:
    image, condition = torch.rand(2, 3, 8, 8).double() * 2 - 1, torch.randn(2, 1, 8, 8).double().sign()
    times = []

    def perfect(x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        times.append(time[0].item())
        return x_t - image

    found, _ = BrownianBridge(steps=steps, differentiated=1, eta=eta).draw(perfect, condition)
    torch.testing.assert_close(found, image)
    assert times == pytest.approx([1 - step / steps for step in range(steps)])


def test_skipped_steps_keep_the_marginals_of_the_bridge() -> None:
    """With the true image told, x_s has mean (1 - m_s) x_0 + m_s y and variance δ_s after every step."""
    torch.manual_seed(0)
    x0, y, variance, steps = 0.3, 1.0, 0.8, 5
    bridge = BrownianBridge(variance=variance, steps=steps)
    x = condition = torch.full((1, 1, 300, 300), y, dtype=torch.float64)
    for step in range(steps - 1):
        x = bridge.step_back(lambda x_t, time, mask: x_t - x0, x, condition, step)
        m = 1 - (step + 1) / steps
        assert x.mean().item() == pytest.approx((1 - m) * x0 + m * y, abs=0.02)
        assert x.var().item() == pytest.approx(2 * variance * (m - m**2), rel=0.02)


@pytest.mark.parametrize("differentiated", [1, 2, 4])
def test_gradients_go_through_the_last_steps_alone(differentiated: int) -> None:
    scale = torch.ones([], requires_grad=True)
    recorded = []

    def network(x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        recorded.append(torch.is_grad_enabled())
        return 0.1 * scale * x_t.expand(-1, 3, -1, -1)

    bridge = BrownianBridge(steps=4, differentiated=differentiated, eta=0.0)
    image, _ = bridge.draw(network, torch.randn(1, 1, 4, 4).sign() * 0.5)
    assert recorded == [False] * (4 - differentiated) + [True] * differentiated
    assert image.requires_grad
    with torch.no_grad():
        assert not bridge.draw(network, torch.randn(1, 1, 4, 4))[0].requires_grad


def test_draw_follows_the_seed_and_reaches_alpha() -> None:
    generator = build()
    architecture = Architecture(**generator.cells)
    condition = torch.randn(2, 1, 32, 32).sign()
    images = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        images.append(BrownianBridge().draw(lambda *inputs: generator(*inputs, architecture()), condition)[0])
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])
    gradients = torch.autograd.grad(images[0].square().sum(), list(architecture.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_second_derivative_in_alpha_against_finite_differences(loss: str) -> None:
    """d/dα of a direction of the gradient of the generator's own loss (Eq. 10), in float64."""
    generator = build().double()
    architecture = draw_architecture(generator)
    condition, image = torch.randn(2, 1, 32, 32).sign().double(), torch.rand(2, 3, 32, 32).double() * 2 - 1
    objective = BrownianBridge(loss=loss)

    def compute_loss() -> Tensor:
        torch.manual_seed(3)
        return objective.generator_loss(lambda *inputs: generator(*inputs, architecture()), None, condition, image)

    assert_second_derivative(compute_loss, generator, architecture, rtol=1e-4)


def test_functional_call_sees_every_weight() -> None:
    generator = build()
    image, time, condition = torch.randn(1, 3, 32, 32), torch.rand(1), torch.randn(1, 1, 32, 32)
    assert_function_of_weights(generator, image, time, condition, draw_uniform(generator))


@pytest.mark.parametrize("half", ["both", "decoder", "encoder"])
def test_keep_strongest_equals_the_generator_where_alpha_is_one_hot(half: str) -> None:
    generator = build(40, searched=half)
    alpha = draw_one_hot(generator)
    inputs = torch.randn(2, 3, 40, 40), torch.rand(2), torch.randn(2, 1, 40, 40)
    assert_strongest_is_the_same(generator, alpha, *inputs, atol=1e-5, rtol=1e-4)


def test_joint_training_through_the_real_engine() -> None:
    config = compose([*OVERRIDES, "trainer.warmup_iterations=1", "trainer.iterations=4"])
    engine = PhasedEngine(build_named(config.method).plan(Components(config, load_data(config))))
    assert [level.name for level in engine.levels] == ["generator", "segmenter", "architecture"]
    assert len(assert_trains_jointly(engine, 5)) == 3
