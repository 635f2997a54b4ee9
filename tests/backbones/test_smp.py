"""Every architecture of SMP; names, combinations and sizes; pretrained and frozen encoders."""

import contextlib
import copy

import pytest
import segmentation_models_pytorch as library
import timm
import torch
from torch import nn

from backbones.unrolled import by_composition, by_double_backward, image_and_target, relative_error
from genseg_betty.backbones.encoders import list_nearest
from genseg_betty.backbones.probe import check_backbone
from genseg_betty.backbones.smp import architectures, deeplab, smp, unet
from genseg_betty.build import build_segmenter
from genseg_betty.config import compose
from genseg_betty.errors import UserError

ENCODERS = {"DPT": "tu-test_vit"}


def small(arch: str = "Unet", **more) -> nn.Module:
    return smp(1, 1, arch=arch, encoder=ENCODERS.get(arch, "tu-test_resnet"), base_channels=4, **more)


def test_all_twelve_are_known():
    assert {"Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet"} < set(architectures())
    assert {"PAN", "DeepLabV3", "DeepLabV3Plus", "UPerNet", "Segformer", "DPT"} < set(architectures())


@pytest.mark.parametrize("arch", architectures())
def test_every_architecture_takes_any_size_and_second_derivatives(arch):
    network = small(arch).double()
    for module in network.modules():
        if isinstance(module, nn.Dropout):  # draws in the order of memory, which torch.func may lay out otherwise
            module.p = 0.0
    image, target = image_and_target(1, 1, (33, 40))
    logits = network(image)
    assert logits.shape == target.shape
    assert logits.isfinite().all()
    found, expected = by_double_backward(network, image, target), by_composition(network, image, target)
    assert expected.norm() > 0
    assert relative_error(found, expected) < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("encoder", library.encoders.get_encoder_names())
def test_every_encoder(encoder):
    network = smp(1, 1, encoder=encoder, base_channels=4)
    light = sum(parameter.numel() for parameter in network.parameters()) < 30e6
    check_backbone(network, 1, 1, (64, 64), second_derivatives=light)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["vgg11", "mobilenet_v2", "efficientnet-b0", "mit_b0", "tu-convnext_atto"])
@pytest.mark.parametrize("arch", architectures())
def test_every_architecture_works_with_an_encoder_or_refuses_it(arch, encoder):
    with contextlib.suppress(UserError):
        network = smp(3, 2, arch=arch, encoder=encoder, base_channels=4)
        assert network(torch.rand(2, 3, 33, 50)).shape == (2, 2, 33, 50)


@pytest.mark.parametrize("arch", ["Unet", "FPN", "PAN", "PSPNet", "UPerNet"])
def test_library_widths_at_16_base_channels(arch):
    ours = smp(3, 1, arch=arch, encoder="tu-test_resnet").state_dict()
    theirs = getattr(library, arch)("tu-test_resnet", encoder_weights=None).state_dict()
    assert {k.removeprefix("network."): v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_deeplab_is_the_papers():
    network = deeplab(3, 1)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1) == 39.6
    assert network.multiple == 8
    v3plus = deeplab(3, 1, version="v3plus", encoder="tu-test_resnet")
    assert isinstance(v3plus.network, library.DeepLabV3Plus)


@pytest.mark.slow
def test_timm_encoders_of_one_size_take_any():
    network = smp(1, 1, encoder="tu-swin_tiny_patch4_window7_224", base_channels=4)
    assert network(torch.rand(2, 1, 40, 61)).shape == (2, 1, 40, 61)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"arch": "segformr"}, r"Nearest: Segformer\."),
        ({"arch": "deeplab"}, r"Nearest: DeepLabV3\."),
        ({"encoder": "resnet43"}, "resnet34"),
        ({"encoder": "mobilenetv2"}, "mobilenet_v2"),
        ({"encoder": "mitb0"}, "mit_b0"),
        ({"encoder": "tu-vit_tny"}, "tu-vit_tiny_patch16_224"),
        ({"encoder_weights": "imagnet"}, "imagenet"),
        ({"arch": "DPT", "encoder": "resnet18"}, "tu-vit_tiny_patch16_224"),
        ({"arch": "DPT", "encoder": "tu-mixer_s16_224"}, "does not work with backbone.encoder=tu-mixer_s16_224"),
        ({"arch": "FPN", "encoder": "tu-test_vit"}, "could not be built.*\n.*resnet34"),
        ({"arch": "Linknet", "encoder": "mit_b0"}, "not supported for Linknet"),
        ({"arch": "DeepLabV3", "encoder": "vgg11"}, "do not support dilated mode"),
        ({"arch": "FPN", "base_channels": 1}, "change backbone.base_channels=1"),
        ({"arguments": {"decoder_attention_typ": "scse"}}, "Nearest: decoder_attention_type"),
        ({"arguments": {"activation": "sigmoid"}}, "is set by the program"),
        ({"arguments": {"decoder_attention_type": "no"}}, "could not be built"),
        ({"arguments": {"decoder_attention_type": "scse"}}, "change backbone.base_channels=4"),
    ],
)
def test_what_cannot_be_is_explained(arguments, expected):
    with pytest.raises(UserError, match=expected):
        smp(1, 1, **{"encoder": "mobilenet_v2", "base_channels": 4, **arguments})


def test_deeplab_has_two_versions():
    with pytest.raises(UserError, match=r"backbone\.version=v4: expected one of v3, v3plus"):
        deeplab(1, 1, version="v4")


def test_nearest_looks_at_beginnings_too():
    assert list_nearest("tu-convnext_tny", [f"tu-{name}" for name in timm.list_models()]).startswith("tu-convnext_tiny")


def test_names_in_any_case_and_more_arguments():
    network = smp(1, 1, arch="unet", encoder="tu-test_resnet", arguments={"decoder_attention_type": "scse"})
    assert any("attention" in name for name, _ in network.named_parameters())


def test_arguments_of_a_config_are_taken():
    config = compose(["backbone=smp", "backbone.encoder=tu-test_resnet"])
    config.backbone.arguments = {"decoder_attention_type": "scse"}
    network = build_segmenter(config, 1, 1)
    assert any("attention" in name for name, _ in network.named_parameters())


def test_failed_download_says_what_to_do(monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(library.encoders, "hf_hub_download", offline)
    with pytest.raises(UserError, match=r"(?s)no route.*encoder_weights=lite0.*encoder_weights=null.*cache"):
        unet(3, 1, encoder="resnet18", encoder_weights="imagenet")
    unet(3, 1, encoder="resnet18")  # asks for nothing


def test_frozen_encoder_stays_as_it_is():
    network = copy.deepcopy(small("PAN", frozen_encoder=True)).train()
    encoder, decoder = network.network.encoder, network.network.decoder
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert all(parameter.requires_grad for parameter in decoder.parameters())
    assert not any(module.training for module in encoder.modules())
    assert all(module.training for module in decoder.modules())
    before = copy.deepcopy(encoder.state_dict())
    moved = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(moved)
    with pytest.warns(UserWarning, match="frozen encoder has random weights"):
        network(torch.rand(2, 1, 32, 32)).square().mean().backward()
    optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


@pytest.mark.filterwarnings("ignore:the frozen encoder has random weights")
@pytest.mark.parametrize("build", [unet, deeplab])
def test_frozen_encoder_passes_hypergradients_on(build):
    network = build(1, 1, encoder="tu-test_resnet", base_channels=4, frozen_encoder=True).double()
    image, target = image_and_target(1, 1, (32, 32))
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    found = by_double_backward(network, image, target)
    assert found.norm() > 0
    assert relative_error(found, by_composition(network, image, target)) < 1e-8
