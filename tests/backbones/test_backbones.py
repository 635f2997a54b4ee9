"""Every backbone: shapes, sizes, errors, and the second derivatives that the hypergradient needs."""

import io
from collections.abc import Callable

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.func import functional_call

from genseg_betty.backbones.padding import PadToMultiple
from genseg_betty.backbones.smp import deeplab, unet
from genseg_betty.backbones.unet_classic import unet_classic
from genseg_betty.errors import UserError

TINY = [
    pytest.param(unet, {"base_channels": 1, "encoder": "resnet18"}, id="unet"),
    pytest.param(unet, {"base_channels": 1, "encoder": "mobilenet_v2"}, id="unet-mobilenet"),
    pytest.param(deeplab, {"base_channels": 1, "encoder": "resnet18"}, id="deeplab-v3"),
    pytest.param(deeplab, {"base_channels": 1, "encoder": "resnet18", "version": "v3plus"}, id="deeplab-v3plus"),
    pytest.param(unet_classic, {"base_channels": 2}, id="unet_classic"),
    pytest.param(unet_classic, {"base_channels": 2, "bilinear": True}, id="unet_classic-bilinear"),
]
Backbone = Callable[..., nn.Module]


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("build", "arguments"), TINY)
@pytest.mark.parametrize(("channels", "outputs", "size"), [(1, 1, (32, 32)), (3, 4, (33, 50)), (2, 1, (17, 64))])
def test_logits_have_the_size_of_the_image(
    build: Backbone, arguments: dict, channels: int, outputs: int, size: tuple[int, int]
) -> None:
    logits = build(channels, outputs, **arguments)(torch.randn(2, channels, *size))
    assert logits.shape == (2, outputs, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("build", "arguments"), TINY)
def test_state_dict_round_trip(build: Backbone, arguments: dict) -> None:
    network, other = build(1, 1, **arguments).eval(), build(1, 1, **arguments).eval()
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    image = torch.randn(2, 1, 40, 40)
    assert torch.equal(network(image), other(image))


@pytest.mark.parametrize(("build", "arguments"), TINY)
def test_second_derivatives_match_finite_differences(build: Backbone, arguments: dict) -> None:
    """Of v · dL/dweights, by weights and by image (factors of Eq. 9-11), in training mode, with padding."""
    network = build(1, 1, **arguments).double()
    weights = dict(network.named_parameters())
    image = torch.randn(3, 1, 33, 36, dtype=torch.float64, requires_grad=True)
    target = torch.rand(3, 1, 33, 36, dtype=torch.float64)
    vector = [torch.randn_like(weight) for weight in weights.values()]

    def projected_gradient(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        torch.manual_seed(7)  # the same dropout
        logits = functional_call(network, weights, (image,))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        return sum((v * g).sum() for v, g in zip(vector, gradients, strict=True))

    sources = [*weights.values(), image]
    exact = torch.autograd.grad(projected_gradient(weights, image), sources, materialize_grads=True)
    # ReLU and max-pooling have kinks: a step this small crosses none, and float64 still resolves it.
    step = 1e-10
    directions = {name: torch.randn_like(weight) for name, weight in weights.items()}
    by_weights = sum(
        sign * projected_gradient({n: w + sign * step * directions[n] for n, w in weights.items()}, image)
        for sign in (1, -1)
    )
    expected = sum((g * d).sum() for g, d in zip(exact[:-1], directions.values(), strict=True))
    torch.testing.assert_close(by_weights / (2 * step), expected, rtol=1e-3, atol=1e-3)
    direction = torch.randn_like(image)
    by_image = sum(sign * projected_gradient(weights, image + sign * step * direction) for sign in (1, -1))
    torch.testing.assert_close(by_image / (2 * step), (exact[-1] * direction).sum(), rtol=1e-3, atol=1e-3)


def test_parameter_counts_of_the_paper() -> None:
    assert round(count(unet_classic(3, 1)) / 1e6, 1) == 31.0
    assert round(count(deeplab(3, 1)) / 1e6, 1) == 39.6


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (16, 16), (17, 31)])
def test_padding_is_cropped_where_it_was_added(size: tuple[int, int]) -> None:
    seen = []

    class Recorder(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            seen.append(image)
            return image

    image = torch.randn(1, 2, *size)
    assert torch.equal(PadToMultiple(Recorder(), 16)(image), image)
    assert all(side % 16 == 0 for side in seen[0].shape[-2:])
    assert seen[0].min() == image.min()
    assert seen[0].max() == image.max()


def test_sizes_that_fit_are_not_touched() -> None:
    padded = unet(1, 1, base_channels=1, encoder="resnet18").eval()
    image = torch.randn(1, 1, 64, 32)
    assert torch.equal(padded(image), padded.network(image))


@pytest.mark.parametrize(
    ("build", "size"),
    [(deeplab, 64), (unet, 32)],
    ids=["deeplab pools to one value", "unet at 32 px ends at one value"],
)
def test_batch_of_one_in_training_is_explained(build: Backbone, size: int) -> None:
    network = build(1, 1, base_channels=1, encoder="resnet18")
    with pytest.raises(UserError, match=r"trainer\.batch_size=2"):
        network(torch.randn(1, 1, size, size))
    assert network.eval()(torch.randn(1, 1, size, size)).shape == (1, 1, size, size)


def test_other_value_errors_are_left_alone() -> None:
    class Broken(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        PadToMultiple(Broken(), 2)(torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize(
    ("build", "arguments", "expected"),
    [
        (unet, {"encoder": "resnet43"}, "resnet34"),
        (deeplab, {"encoder": "mobilenetv2"}, "mobilenet_v2"),
        (unet, {"encoder": "resnet18", "encoder_weights": "imagnet"}, "imagenet"),
        (unet, {"encoder": "tu-nosuchmodel"}, "could not be built"),
        (deeplab, {"encoder": "vgg11"}, "could not be built"),
        (deeplab, {"version": "v4"}, "v3plus"),
    ],
)
def test_wrong_names_are_answered(build: Backbone, arguments: dict, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        build(1, 1, **arguments)


def test_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(smp.encoders, "hf_hub_download", offline)
    with pytest.raises(UserError, match="encoder_weights=null") as raised:
        unet(3, 1, encoder="resnet18", encoder_weights="imagenet")
    assert "cache" in str(raised.value)
    assert "no route" in str(raised.value)


def test_nothing_is_downloaded_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("download")

    monkeypatch.setattr(smp.encoders, "hf_hub_download", forbidden)
    unet(3, 1, encoder="resnet18")
    deeplab(3, 1, encoder="resnet18")
