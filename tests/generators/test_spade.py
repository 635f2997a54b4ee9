"""The SPADE generator, its discriminators and their losses."""

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
from genseg_betty.generators.discriminators import MultiScaleDiscriminator, PatchDiscriminator, SpectralNorm
from genseg_betty.generators.layers import pad_to_multiple
from genseg_betty.generators.objectives import HingeGAN, feature_distance, hinge_loss
from genseg_betty.generators.spade import SPADE
from methods.tiny import TINY, built


def build(image_size: int | tuple[int, ...] = 32, channels: tuple[int, int] = (1, 3), **settings: object) -> SPADE:
    return build_family(SPADE, *channels, image_size, **{"base_channels": 4, "max_channels": 8, **settings})


@pytest.mark.parametrize(
    ("size", "levels"),
    [((32, 32), 3), ((64, 96), 4), ((100, 100), 4), ((33, 71), 3), ((256, 256), 5), ((32, 33, 40), 3)],
)
@pytest.mark.parametrize("searched", ["both", "decoder", "encoder"])
def test_shape_table(size: tuple[int, ...], levels: int, searched: str) -> None:
    generator = build(size, searched=searched, spatial_dims=len(size))
    assert generator.cells == {
        "down": levels if searched != "decoder" else 0,
        "up": levels if searched != "encoder" else 0,
    }
    image = generator(torch.randn(1, 1, *size), draw_uniform(generator))
    assert image.shape == (1, 3, *size)
    assert image.abs().max() <= 1


@pytest.mark.parametrize("channels", [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_channels_of_mask_and_image(channels: tuple[int, int]) -> None:
    generator = build(channels=channels)
    assert generator(torch.randn(2, channels[0], 32, 32), draw_uniform(generator)).shape == (2, channels[1], 32, 32)


def test_depth_and_size_errors_say_how_to_mend() -> None:
    assert build(64, depth=5).cells == {"down": 5, "up": 5}
    assert build(kernels=(4,)).cells == {"down": 0, "up": 0}
    with pytest.raises(UserError, match="allows 2 to 4"):
        build(32, depth=5)
    with pytest.raises(UserError, match="at least 32"):
        build((64, 24))
    with pytest.raises(UserError, match="both, decoder or encoder"):
        build(searched="all")


def test_pads_with_the_border() -> None:
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 1, 4, 4)
    assert padded[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert pad_to_multiple(padded, 4) is padded


def test_every_pixel_depends_on_the_mask_at_its_place() -> None:
    """Through the modulation at full resolution, whatever the encoded map says."""
    generator = build((33, 35)).double()
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    alpha = {half: rows.double() for half, rows in draw_uniform(generator).items()}
    condition = torch.randn(1, 1, 33, 35, dtype=torch.float64, requires_grad=True)
    image = generator(condition, alpha).sum(dim=1)
    for row, column in [(0, 0), (5, 17), (32, 34), (32, 0), (20, 21)]:
        (gradient,) = torch.autograd.grad(image[0, row, column], condition, retain_graph=True)
        assert gradient[0, 0, row, column].abs() > 1e-9


@pytest.mark.parametrize("fused", ["always", "never"])
@pytest.mark.parametrize("spectral", [False, True])
def test_second_derivative_in_alpha_against_finite_differences(fused: str, spectral: bool) -> None:
    """d/dα of a direction of the weight gradient (Eq. 10), through the whole generator, in float64."""
    generator = build(fused=fused, spectral=spectral).double()
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    architecture = draw_architecture(generator)
    condition = torch.randn(2, 1, 33, 36, dtype=torch.float64)

    def compute_loss() -> Tensor:
        return generator(condition, architecture()).square().mean()

    assert_second_derivative(compute_loss, generator, architecture, rtol=1e-5, reaches_every_cell=True)


@pytest.mark.parametrize("spectral", [False, True])
def test_functional_call_sees_every_weight(spectral: bool) -> None:
    generator = build(spectral=spectral)
    gradients = assert_function_of_weights(generator, torch.randn(1, 1, 32, 32), draw_uniform(generator))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("searched", ["both", "decoder", "encoder"])
def test_keep_strongest_equals_the_generator_where_alpha_is_one_hot(searched: str) -> None:
    generator = build((40, 33), searched=searched)
    alpha, condition = draw_one_hot(generator), torch.randn(2, 1, 40, 33)
    assert_strongest_is_the_same(generator, alpha, condition, atol=1e-5, rtol=1e-4)


def test_the_same_image_each_time_and_from_a_copy_of_the_weights() -> None:
    generator, other = build(spectral=True), build(spectral=True)
    alpha, condition = draw_uniform(generator), torch.randn(2, 1, 32, 32)
    image = generator(condition, alpha)
    other.load_state_dict(generator.state_dict())
    for network in (generator, other, copy.deepcopy(generator), AveragedModel(generator)):
        assert torch.equal(network(condition, alpha), image)


OVERRIDES = [
    *TINY, "generator=spade", "method=genseg", "precision=fp32", "ood=[]", "trainer.warmup_iterations=1",
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
    assert isinstance(components.generator, SPADE)


def test_the_shipped_config_names_the_arguments(request: pytest.FixtureRequest) -> None:
    config = OmegaConf.load(request.config.rootpath / "conf" / "generator" / "spade.yaml")
    consumed_elsewhere = {"name", "_target_", "alpha", "branches", "objective", "discriminator"}
    settings = {key: value for key, value in config.items() if key not in consumed_elsewhere}
    with torch.device("meta"):
        assert (
            count_weights(build_family(SPADE, 1, 3, 256, **settings))
            == count_weights(build_family(SPADE, 1, 3, 256))
            == 185_488_067
        )
    assert config._target_ == f"{SPADE.__module__}.{SPADE.__qualname__}"
    assert set(config.discriminator) == {"_target_", "base_channels", "layers", "scales", "spectral"}
    assert set(config.objective) == {"_target_", "feature_weight", "l1_weight"}


@pytest.mark.parametrize("size", [(32, 32), (33, 71), (32, 32, 32)])
@pytest.mark.parametrize("spectral", [False, True])
def test_discriminators_return_features_and_logits_of_each_scale(size: tuple[int, ...], spectral: bool) -> None:
    opponent = MultiScaleDiscriminator(4, base_channels=2, spectral=spectral, spatial_dims=len(size))
    verdict = opponent(torch.randn(1, 1, *size), torch.randn(1, 3, *size))
    assert [[stage.shape[1] for stage in scale] for scale in verdict] == [[2, 4, 8, 16, 1]] * 2
    assert verdict[0][0].shape[2:] == tuple(side // 2 + 1 for side in size)
    assert not list(opponent.buffers())
    for fault in ("layers", "scales"):
        with pytest.raises(UserError, match=f"{fault} is 0"):
            MultiScaleDiscriminator(4, **{fault: 0})


def test_spectral_norm_is_one_and_a_function_of_the_weight_alone() -> None:
    weight = torch.randn(24, 10, 4, 4, dtype=torch.float64)
    norm = SpectralNorm()
    assert torch.linalg.matrix_norm(norm(weight).flatten(1), 2).item() == pytest.approx(1, abs=0.1)
    assert torch.equal(norm(weight), norm(weight))
    assert norm(torch.zeros(3, 2, 4, 4)).abs().max() == 0
    u, v = torch.randn(6, dtype=torch.float64), torch.randn(32, dtype=torch.float64)
    torch.testing.assert_close(norm(torch.outer(u, v)), torch.outer(u / u.norm(), v / v.norm()))


def test_hinge_loss_of_a_worked_example() -> None:
    fine, coarse = torch.tensor([2.0, 0.5, -1.0, 0.0]), torch.tensor([0.0, 3.0])
    features = torch.randn(5)
    verdict = [[features, fine], [features, coarse]]
    assert hinge_loss(verdict, real=True).item() == pytest.approx(((0 + 0.5 + 2 + 1) / 4 + (1 + 0) / 2) / 2)
    assert hinge_loss(verdict, real=False).item() == pytest.approx(((3 + 1.5 + 0 + 1) / 4 + (1 + 4) / 2) / 2)
    assert hinge_loss(fine, real=True).item() == pytest.approx(3.5 / 4)


def test_feature_distance_of_a_worked_example() -> None:
    """Summed over layers, the mean of scales; logits do not count, nor is a gradient sent to the real image."""
    ones, twos, logits = torch.ones(2, 3), 2 * torch.ones(4), torch.randn(7)
    verdict = [[ones, twos, logits], [3 * ones, twos, logits]]
    wanted = [[0 * ones, 0 * twos, 5 * logits], [0 * ones, 2 * twos, 0 * logits]]
    assert feature_distance(verdict, wanted).item() == pytest.approx(((1 + 2) + (3 + 2)) / 2)
    assert feature_distance(logits, 2 * logits).item() == 0


def test_generator_loss_is_the_sum_of_its_terms() -> None:
    opponent = MultiScaleDiscriminator(4, base_channels=2)
    condition, image = torch.randn(2, 1, 32, 32), torch.randn(2, 3, 32, 32)
    synthetic = torch.randn(2, 3, 32, 32, requires_grad=True)

    def loss(**weights: float) -> Tensor:
        return HingeGAN(**weights).generator_loss(lambda condition: synthetic, opponent, condition, image)

    judged, wanted = opponent(condition, synthetic), opponent(condition, image)
    adversarial = -(judged[0][-1].mean() + judged[1][-1].mean()) / 2
    torch.testing.assert_close(loss(feature_weight=0, l1_weight=0), adversarial)
    expected = adversarial + 3 * feature_distance(judged, wanted) + 5 * (synthetic - image).abs().mean()
    torch.testing.assert_close(loss(feature_weight=3, l1_weight=5), expected)
    (gradient,) = torch.autograd.grad(loss(), synthetic)
    assert gradient.abs().max() > 0


def test_a_discriminator_of_one_scale_without_features_will_do() -> None:
    opponent = PatchDiscriminator(4, base_channels=2)
    condition, image = torch.randn(2, 1, 32, 32), torch.randn(2, 3, 32, 32)
    objective = HingeGAN(l1_weight=0)
    loss = objective.generator_loss(lambda condition: -image, opponent, condition, image)
    torch.testing.assert_close(loss, -opponent(condition, -image).mean())
    against = objective.discriminator_loss(lambda condition: -image, opponent, condition, image)
    real, synthetic = opponent(condition, image), opponent(condition, -image)
    torch.testing.assert_close(against, F.relu(1 - real).mean() + F.relu(1 + synthetic).mean())
