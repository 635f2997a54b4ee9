"""Networks of MONAI by name: what they are given, sizes, and what is refused. Images unless said."""

import contextlib

import pytest
import torch

from backbones.unrolled import by_composition, by_double_backward, image_and_target, relative_error
from genseg_betty.backbones.monai_nets import monai, networks
from genseg_betty.errors import UserError

LEVELS = {"channels": [4, 8, 8], "strides": [2, 2]}
DYNAMIC = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 8]}
SWIN = {"feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4}
UNETR = {"feature_size": 4, "hidden_size": 24, "mlp_dim": 24, "num_heads": 2}
NETS = {
    "UNet": LEVELS,
    "AttentionUnet": LEVELS,
    "BasicUNet": {"features": [4, 4, 8, 8, 8, 4]},
    "DynUNet": DYNAMIC,
    "SegResNetDS": {"init_filters": 4, "blocks_down": [1, 1]},
    "SegResNetVAE": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1], "vae_nz": 4},
    "SwinUNETR": SWIN,
    "UNETR": UNETR,
}
NEED_EINOPS = ("SwinUNETR", "UNETR")


def build(net: str, *channels: int, **more) -> torch.nn.Module:
    if net in NEED_EINOPS:
        pytest.importorskip("einops")
    return monai(*channels, net=net, arguments=NETS[net], image_size=32, **more)


@pytest.mark.parametrize("net", NETS)
def test_networks_by_name(net):
    network = build(net, 3, 2).double()
    for sides in ((33, 50), (5, 5)):
        assert network(torch.rand(2, 3, *sides, dtype=torch.float64)).shape == (2, 2, *sides)
    image, target = image_and_target(3, 2, (32, 32))
    found = by_double_backward(network, image, target)
    assert all(type(parameter) is torch.nn.Parameter for parameter in network.parameters())
    if net != "SegResNetVAE":  # draws noise in training, in an order that torch.func may change
        assert relative_error(found, by_composition(network, image, target)) < 1e-8


@pytest.mark.parametrize("net", ["UNet", "SegResNetVAE"])
def test_volumes(net):
    assert build(net, 1, 3, spatial_dims=3)(torch.rand(2, 1, 9, 17, 20)).shape == (2, 3, 9, 17, 20)


@pytest.mark.slow
@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("net", networks())
def test_every_network_segments_or_is_refused(net, spatial_dims):
    with contextlib.suppress(UserError):
        network = monai(1, 2, spatial_dims, net, image_size=64)
        sides = (40,) * spatial_dims
        assert network(torch.rand(2, 1, *sides)).shape == (2, 2, *sides)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"net": "SegResnet"}, r"MONAI has no such network.*Nearest: SegResNet,"),
        ({"net": "Discriminator"}, "no such network from channels to channels"),
        ({"net": "UNet"}, r"(?s)channels: missing.*strides: missing.*UNet takes channels, strides, kernel_size=3"),
        ({"arguments": {"init_filter": 8}}, "no such argument. Nearest: init_filters"),
        ({"arguments": {"in_channels": 3}}, "in_channels is set by the program"),
        ({"arguments": {"init_filters": 5}}, "could not be built: ValueError"),
        (
            {"net": "DenseNet", "arguments": {"block_config": [1, 1]}},
            r"does not segment images: images .* give \[2, 1\], expected",
        ),
        ({"net": "DynUNet", "arguments": {**DYNAMIC, "deep_supervision": True}}, "does not segment images"),
        ({"net": "SegResNetDS", "arguments": {"dsdepth": 2}}, "it returns 2 outputs; switch deep supervision off"),
        ({"net": "SegResNetVAE", "image_size": [32, 32, 32]}, "works on images of one size; expected 2 sides"),
        ({"net": "SwinUNETR", "arguments": {"use_checkpoint": True}}, "activation_checkpointing=true instead"),
    ],
)
def test_what_cannot_be_is_explained(options, expected):
    with pytest.raises(UserError, match=expected):
        monai(1, 1, **options)
