"""The Pix2Pix generator: shapes, sizes, architecture gradients and what is kept of it."""

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from generators.families import (
    assert_function_of_weights,
    assert_second_derivative,
    assert_strongest_is_the_same,
    build_family,
    count_weights,
    draw_architecture,
    draw_one_hot,
    draw_uniform,
)
from genseg_betty.errors import UserError
from genseg_betty.generators.cells import SearchableCell
from genseg_betty.generators.layers import initialise
from genseg_betty.generators.pix2pix import Pix2Pix


def build(image_size: int | tuple[int, int] = 32, **settings: object) -> Pix2Pix:
    return build_family(Pix2Pix, 1, 3, image_size, **{"base_channels": 4, "max_channels": 8, **settings})


@pytest.mark.parametrize(
    ("size", "levels"),
    [((32, 32), 5), ((48, 48), 5), ((64, 96), 6), ((100, 100), 6), ((33, 71), 5), ((256, 256), 8)],
)
@pytest.mark.parametrize("searched", ["both", "decoder", "encoder"])
def test_shape_table(size: tuple[int, int], levels: int, searched: str) -> None:
    generator = build(size, searched=searched)
    assert generator.cells == {
        "down": levels if searched != "decoder" else 0,
        "up": levels if searched != "encoder" else 0,
    }
    image = generator(torch.randn(2, 1, *size), draw_uniform(generator))
    assert image.shape == (2, 3, *size)
    assert image.abs().max() <= 1


def test_depth_and_size_errors_say_how_to_mend() -> None:
    assert build(64, depth=3).cells == {"down": 3, "up": 3}
    with pytest.raises(UserError, match="allows 2 to 5"):
        build(32, depth=6)
    with pytest.raises(UserError, match="at least 32"):
        build((64, 24))
    with pytest.raises(UserError, match="both, decoder or encoder"):
        build(searched="all")
    with pytest.raises(UserError, match="instance or batch"):
        build(norm="none")
    with pytest.raises(ValueError, match="5 searchable down cells, weights given: none"):
        build()(torch.randn(1, 1, 32, 32))


def test_parameters_at_the_size_of_the_paper() -> None:
    """Channel pairs of 8 levels, times the taps of the operations, plus the biases where no norm follows."""
    widths = [64, 128, 256, 512, 512, 512, 512, 512]
    down = sum(a * b for a, b in zip([1, *widths], widths, strict=False))
    up = 512 * 512 + sum(2 * a * b for a, b in zip(widths[-2::-1], [*widths[-3::-1], 3], strict=True))
    one, all_three = 16, 16 + 36 + 64
    down_biases, up_biases = 64 + 512, 3
    expected = {
        "both": all_three * (down + up) + 3 * (down_biases + up_biases),
        "decoder": one * down + all_three * up + down_biases + 3 * up_biases,
        "encoder": all_three * down + one * up + 3 * down_biases + up_biases,
    }
    with torch.device("meta"):
        sizes = {searched: count_weights(build_family(Pix2Pix, 1, 3, 256, searched=searched)) for searched in expected}
    assert sizes == expected
    assert round(sizes["decoder"] / 1e6) == 272


def test_dropout_in_the_three_innermost_levels_of_full_width() -> None:
    def probabilities(**settings: int) -> list[float]:
        with torch.device("meta"):
            return [level.dropout.p for level in build_family(Pix2Pix, 1, 3, 256, **settings).up]

    assert probabilities() == [0.5, 0.5, 0.5, 0, 0, 0, 0, 0]
    assert probabilities(base_channels=32, max_channels=8192) == [0, 0, 0, 0, 0, 0, 0, 0]
    with torch.device("meta"):
        assert [level.dropout.p for level in build_family(Pix2Pix, 1, 3, 32).up] == [0.5, 0, 0, 0, 0]


def test_dropout_follows_the_seed_and_stops_in_eval() -> None:
    generator = build()
    condition, alpha = torch.randn(2, 1, 32, 32), draw_uniform(generator)
    images = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        images.append(generator(condition, alpha))
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])
    generator.eval()
    assert torch.equal(generator(condition, alpha), generator(condition, alpha))


def test_reads_the_mask_through_the_bottleneck() -> None:
    """The single innermost pixel still depends on the mask: no norm wipes it out."""
    generator = build(dropout=0.0)
    x = torch.randn(1, 1, 32, 32, requires_grad=True)
    rows = generator.rows(draw_uniform(generator))
    features = x
    for level in generator.down:
        features = level(features, rows)
    assert features.shape[-2:] == (1, 1)
    (gradient,) = torch.autograd.grad(features.square().sum(), x)
    assert gradient.abs().max() > 0


def test_a_cell_at_rest_varies_as_a_plain_convolution_does() -> None:
    cell = SearchableCell(64, 64, transposed=False).apply(initialise)
    plain = nn.Conv2d(64, 64, 4, 2, 1, bias=False).apply(initialise)
    x = torch.randn(4, 64, 32, 32)
    with torch.no_grad():
        resting, reference = (y[..., 2:-2, 2:-2].var() for y in (cell(x, torch.full((3,), 1 / 3)), plain(x)))
    assert (resting / reference).item() == pytest.approx(116 / 144, abs=0.03)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("fused", ["always", "never", "auto"])
def test_second_derivative_in_alpha_against_finite_differences(norm: str, fused: str) -> None:
    """d/dα of a direction of the weight gradient (Eq. 10), through the whole generator, in float64."""
    generator = build(searched="both", dropout=0.0, norm=norm, fused=fused).double()
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    architecture = draw_architecture(generator)
    condition = torch.randn(3, 1, 33, 36, dtype=torch.float64)

    def compute_loss() -> Tensor:
        return generator(condition, architecture()).square().mean()

    assert_second_derivative(compute_loss, generator, architecture, rtol=1e-5)


def test_functional_call_sees_every_weight() -> None:
    generator = build(dropout=0.0)
    alpha, condition = draw_uniform(generator), torch.randn(1, 1, 32, 32)
    assert generator(condition, alpha).abs().max() > 0
    assert_function_of_weights(generator, condition, alpha)


@pytest.mark.parametrize("searched", ["both", "decoder", "encoder"])
def test_keep_strongest_equals_the_generator_where_alpha_is_one_hot(searched: str) -> None:
    generator = build(40, searched=searched).eval()
    alpha, condition = draw_one_hot(generator), torch.randn(2, 1, 40, 40)
    assert_strongest_is_the_same(generator, alpha, condition, atol=1e-6, rtol=1e-5)
    assert generator.cells != {"down": 0, "up": 0}


def test_the_shipped_config_names_the_arguments(request: pytest.FixtureRequest) -> None:
    config = OmegaConf.load(request.config.rootpath / "conf" / "generator" / "pix2pix.yaml")
    consumed_elsewhere = {"name", "_target_", "alpha", "branches", "objective", "discriminator"}
    settings = {key: value for key, value in config.items() if key not in consumed_elsewhere}
    with torch.device("meta"):
        assert count_weights(build_family(Pix2Pix, 1, 3, 256, **settings)) == count_weights(
            build_family(Pix2Pix, 1, 3, 256)
        )
    assert config._target_ == f"{Pix2Pix.__module__}.{Pix2Pix.__qualname__}"
    assert set(config.discriminator) == {"_target_", "base_channels", "layers"}
