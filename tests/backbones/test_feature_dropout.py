"""Channel dropout between encoder and decoder, on each backbone that has both."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genseg_betty.backbones.feature_dropout import check_perturbation, find_encoder, perturbed_features
from genseg_betty.backbones.monai_nets import monai
from genseg_betty.backbones.smp import architectures, deeplab, smp, unet
from genseg_betty.backbones.swinunet import swinunet
from genseg_betty.backbones.unet3d import unet3d
from genseg_betty.backbones.unet_classic import unet_classic
from genseg_betty.errors import UserError

SWIN = {"base_channels": 8, "depths": [1, 1], "decoder_depths": [1], "window": 4, "heads": [1, 1], "drop_path": 0.0}
NETWORKS: dict[str, Any] = {
    "unet": lambda: unet(1, 1, base_channels=4, encoder="resnet18"),
    "deeplab": lambda: deeplab(1, 1, base_channels=2, encoder="resnet18"),
    "swinunet": lambda: swinunet(1, 1, **SWIN),
    "unet_classic": lambda: unet_classic(1, 1, base_channels=4),
}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]().eval()  # BatchNorm by running statistics: each image of a batch counts for itself


@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_half_is_the_plain_pass(name: str) -> None:
    network, image = build(name), torch.randn(2, 1, 40, 48)
    plain = network(image)
    with perturbed_features(network):
        logits = network(image)
    assert logits.shape == (4, 1, 40, 48)
    torch.testing.assert_close(logits[:2], plain, rtol=1e-4, atol=1e-5)
    assert all((logits[2:] - plain).abs().amax(dim=(1, 2, 3)) > 1e-3)
    assert torch.equal(network(image), plain)  # nothing of it stays


@pytest.mark.parametrize("name", NETWORKS)
def test_the_second_half_is_a_pass_of_features_without_channels(name: str) -> None:
    """The network once more, whose features are multiplied by the factors that were drawn: 0 or 2 for each channel."""
    network, image = build(name), torch.randn(2, 1, 64, 64)
    encoder = find_encoder(network)
    assert encoder is not None
    factors = []

    def look(module: nn.Module, inputs: Any, doubled: list[Tensor]) -> None:
        for feature in doubled:
            is_image = len(feature[:2].flatten()) == len(image.flatten()) and torch.equal(feature[:2], image)
            factors.append(torch.ones(2, 1, 1, 1) if is_image else find_factors(feature[:2], feature[2:]))

    with perturbed_features(network):
        handle = encoder.register_forward_hook(look)
        perturbed = network(image)[2:]
        handle.remove()

    def multiply(module: nn.Module, inputs: Any, features: list[Tensor]) -> list[Tensor]:
        return [feature * factor for feature, factor in zip(features, factors, strict=True)]

    encoder.register_forward_hook(multiply)
    torch.testing.assert_close(network(image), perturbed, rtol=1e-4, atol=1e-5)
    drawn = torch.cat([factor.flatten() for factor in factors if factor.shape[1] > 1])
    assert set(drawn.tolist()) == {0, 2}
    assert abs(float(drawn.mean()) - 1) < 0.35


def find_factors(feature: Tensor, dropped: Tensor) -> Tensor:
    """What each channel of each image was multiplied by, as a whole: [B, C, 1, 1]."""
    kept = dropped.flatten(2).any(dim=2)
    factor = 2.0 * kept[:, :, None, None]
    assert torch.equal(feature * factor, dropped)
    return factor


@pytest.mark.parametrize("arch", architectures())
def test_architectures_of_smp_work_or_are_refused_by_name(arch: str) -> None:
    encoder = "tu-test_vit" if arch == "DPT" else "tu-test_resnet"
    network = smp(1, 1, arch=arch, encoder=encoder, base_channels=4)
    if arch == "DPT":  # its encoder gives tokens beside its features
        with pytest.raises(UserError, match=r"backbone=smp .*swinunet and unet_classic work"):
            check_perturbation(network, 1, (64, 64), "smp")
        return
    check_perturbation(network, 1, (64, 64), "smp")
    image = torch.randn(2, 1, 64, 64)
    with perturbed_features(network.eval()), torch.no_grad():
        logits = network(image)
    torch.testing.assert_close(logits[:2], network(image), rtol=1e-4, atol=1e-4)
    assert (logits[2:] - logits[:2]).abs().max() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_what_works_passes_the_check_and_keeps_its_state(name: str) -> None:
    network = build(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    check_perturbation(network, 1, (64, 64), name)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not network.training


@pytest.mark.parametrize("name", ["unet3d", "monai"])
def test_networks_without_an_encoder_are_refused_by_name(name: str) -> None:
    network = unet3d(1, 1, base_channels=2) if name == "unet3d" else monai(1, 1, net="SegResNet")
    with pytest.raises(UserError, match=rf"backbone={name} .*unet, deeplab, smp, swinunet and unet_classic work"):
        check_perturbation(network, 1, (32, 32), name)
