"""The ASAPNet generator: shapes, tiles, architecture gradients and what is kept of it."""

import copy
from functools import cache

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from generators.families import (
    assert_function_of_weights,
    assert_second_derivative,
    assert_strongest_is_the_same,
    assert_trains_jointly,
    build_family,
    count_weights,
    draw_architecture,
    draw_one_hot,
    draw_uniform,
)
from genseg_betty.config import compose
from genseg_betty.data.loading import DataBundle, load_data
from genseg_betty.errors import UserError
from genseg_betty.generators.asapnet import ASAPNet, TiledPerceptrons, encode_position
from methods.tiny import TINY, built


def build(image_size: int | tuple[int, int] = 32, channels: tuple[int, int] = (1, 3), **settings: object) -> ASAPNet:
    arguments = {"base_channels": 4, "max_channels": 8, "blocks": 1, **settings}
    return build_family(ASAPNet, *channels, image_size, **arguments)


@pytest.mark.parametrize(
    ("size", "down", "tile"),
    [((32, 32), 3, 2), ((64, 96), 4, 4), ((100, 100), 4, 4), ((33, 71), 3, 2), ((256, 256), 6, 16)],
)
@pytest.mark.parametrize("searched", ["both", "decoder", "encoder"])
def test_shape_table(size: tuple[int, int], down: int, tile: int, searched: str) -> None:
    generator = build(size, searched=searched)
    assert generator.perceptrons.tile == tile
    assert generator.cells == {"down": down if searched != "decoder" else 0, "up": 2 if searched != "encoder" else 0}
    image = generator(torch.randn(1, 1, *size), draw_uniform(generator))
    assert image.shape == (1, 3, *size)
    assert image.abs().max() <= 1


@pytest.mark.parametrize("channels", [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_channels_of_mask_and_image(channels: tuple[int, int]) -> None:
    generator = build(channels=channels)
    assert generator(torch.randn(2, channels[0], 32, 32), draw_uniform(generator)).shape == (2, channels[1], 32, 32)


@pytest.mark.parametrize(("tile", "up"), [(2, 2), (4, 1), (8, 0)])
def test_tiles_of_every_size(tile: int, up: int) -> None:
    generator = build(tile=tile)
    assert generator.cells == {"down": 3, "up": up}
    assert generator(torch.randn(2, 1, 32, 32), draw_uniform(generator)).shape == (2, 3, 32, 32)


def test_errors_say_how_to_mend() -> None:
    assert build(64, depth=2).cells == {"down": 2, "up": 1}
    assert build(kernels=(4,)).cells == {"down": 0, "up": 0}
    with pytest.raises(UserError, match="allows 2 to 4"):
        build(32, depth=5)
    with pytest.raises(UserError, match="at least 32"):
        build((64, 24))
    with pytest.raises(UserError, match="both, decoder or encoder"):
        build(searched="all")
    with pytest.raises(UserError, match=r"tile is 3; at depth 3 choose one of \[2, 4, 8\]"):
        build(tile=3)
    with pytest.raises(UserError, match="mlp_layers is 0"):
        build(mlp_layers=0)
    with pytest.raises(UserError, match="not volumes"):
        build(spatial_dims=3)


def test_position_of_a_tile_of_four() -> None:
    """Cosines and sines of the row with the periods 4 and 2, then of the column."""
    cosine, sine, half, none = [1, 0, -1, 0], [0, 1, 0, -1], [1, -1, 1, -1], [0, 0, 0, 0]
    waves = torch.tensor([cosine, half, sine, none]).double().T
    position = encode_position(4, waves)
    assert position.shape == (4, 4, 8)
    torch.testing.assert_close(position[:, 2], torch.cat([waves, waves[2].expand(4, -1)], dim=1))
    torch.testing.assert_close(position[3], torch.cat([waves[3].expand(4, -1), waves], dim=1))


def test_perceptrons_against_a_pixel_by_pixel_loop() -> None:
    tile, x = 2, torch.randn(2, 3, 4, 6, dtype=torch.float64)
    perceptrons = TiledPerceptrons([3, 5, 2], tile)
    weights = torch.randn(2, sum(perceptrons.sizes), 2, 3, dtype=torch.float64)
    image = perceptrons(x, weights)
    assert image.shape == (2, 2, 4, 6)
    position = encode_position(tile, x)
    for one in range(2):
        for row in range(4):
            for column in range(6):
                first, second = weights[one, :, row // tile, column // tile].split(perceptrons.sizes)
                y = torch.cat([x[one, :, row, column], position[row % tile, column % tile]])
                y = F.leaky_relu(y @ first[:35].reshape(7, 5) + first[35:], 0.01)
                y = torch.tanh(y @ second[:10].reshape(5, 2) + second[10:])
                torch.testing.assert_close(image[one, :, row, column], y)


def test_perceptrons_start_as_one_that_keeps_the_variance() -> None:
    perceptrons = TiledPerceptrons([8, 64, 64, 64, 64], 4)
    first, second, *_ = perceptrons.draw().split(perceptrons.sizes)
    assert first[: 16 * 64].square().mean().item() == pytest.approx(2 / 16, rel=0.2)
    assert second[: 64 * 64].square().mean().item() == pytest.approx(2 / 64, rel=0.1)
    assert second[64 * 64 :].abs().max() == 0


def test_every_pixel_depends_on_the_mask_at_its_place_and_around_it() -> None:
    generator = build((33, 35)).double()
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    alpha = {half: rows.double() for half, rows in draw_uniform(generator).items()}
    condition = torch.randn(1, 1, 33, 35, dtype=torch.float64, requires_grad=True)
    image = generator(condition, alpha).sum(dim=1)
    for row, column in [(0, 0), (5, 17), (32, 34), (32, 0), (20, 21)]:
        (gradient,) = torch.autograd.grad(image[0, row, column], condition, retain_graph=True)
        assert gradient[0, 0, row, column].abs() > 1e-12
        assert gradient.abs().gt(0).float().mean() > 0.5  # the network that predicts the perceptrons sees far


@pytest.mark.parametrize("fused", ["always", "never"])
def test_second_derivative_in_alpha_against_finite_differences(fused: str) -> None:
    """d/dα of a direction of the weight gradient (Eq. 10), through the whole generator, in float64."""
    generator = build(fused=fused).double()
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    architecture = draw_architecture(generator)
    condition = torch.randn(2, 1, 33, 36, dtype=torch.float64)

    def compute_loss() -> Tensor:
        return generator(condition, architecture()).square().mean()

    assert_second_derivative(compute_loss, generator, architecture, rtol=1e-5, reaches_every_cell=True)


def test_functional_call_sees_every_weight() -> None:
    generator = build()
    gradients = assert_function_of_weights(generator, torch.randn(1, 1, 32, 32), draw_uniform(generator))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("searched", ["both", "decoder", "encoder"])
def test_keep_strongest_equals_the_generator_where_alpha_is_one_hot(searched: str) -> None:
    generator = build((40, 33), searched=searched)
    alpha, condition = draw_one_hot(generator), torch.randn(2, 1, 40, 33)
    assert_strongest_is_the_same(generator, alpha, condition, atol=1e-5, rtol=1e-4)


def test_the_same_image_each_time_and_from_a_copy_of_the_weights() -> None:
    generator, other = build(), build()
    alpha, condition = draw_uniform(generator), torch.randn(2, 1, 32, 32)
    image = generator(condition, alpha)
    other.load_state_dict(generator.state_dict())
    for network in (generator, other, copy.deepcopy(generator), AveragedModel(generator)):
        assert torch.equal(network(condition, alpha), image)


OVERRIDES = [
    *TINY, "generator=asapnet", "method=genseg", "precision=fp32", "ood=[]", "trainer.warmup_iterations=1",
    "trainer.iterations=4",
]  # fmt: skip


@cache
def loaded() -> DataBundle:
    return load_data(compose(OVERRIDES))


@pytest.mark.parametrize("hypergradient", ["exact_full", "finite_difference"])
def test_trains_jointly_and_the_architecture_learns(hypergradient: str) -> None:
    components, engine = built(compose([*OVERRIDES, f"hypergradient={hypergradient}"]), loaded())
    found = assert_trains_jointly(engine, 4)
    assert [len(gradients) for gradients in found] == [2, 2]  # of both halves; one step was of the warm-up
    assert isinstance(components.generator, ASAPNet)


def test_the_shipped_config_names_the_arguments(request: pytest.FixtureRequest) -> None:
    config = OmegaConf.load(request.config.rootpath / "conf" / "generator" / "asapnet.yaml")
    consumed_elsewhere = {"name", "_target_", "alpha", "branches", "objective", "discriminator"}
    settings = {key: value for key, value in config.items() if key not in consumed_elsewhere}
    with torch.device("meta"):
        assert (
            count_weights(build_family(ASAPNet, 1, 3, 256, **settings))
            == count_weights(build_family(ASAPNet, 1, 3, 256))
            == 181_721_539
        )
    assert config._target_ == f"{ASAPNet.__module__}.{ASAPNet.__qualname__}"
