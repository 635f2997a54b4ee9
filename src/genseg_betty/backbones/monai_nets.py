"""Any segmentation network of MONAI (arXiv:2211.02701), by name, for images or volumes; and any class alike."""

import inspect
from collections.abc import Sequence
from typing import Any

from hydra.utils import get_class
from torch import nn

from genseg_betty.backbones.checkpointing import checkpoint_if_asked
from genseg_betty.backbones.dimensions import images_or_volumes
from genseg_betty.backbones.encoders import list_nearest
from genseg_betty.backbones.network_class import NetworkClass, Task, maps_channels
from genseg_betty.backbones.padding import PadToMultiple, ResizeTo
from genseg_betty.backbones.probe import first_line
from genseg_betty.errors import UserError


def monai(
    in_channels: int,
    num_outputs: int,
    spatial_dims: int = 2,
    net: str = "SegResNet",
    arguments: dict[str, Any] | None = None,
    image_size: int | Sequence[int] | None = None,
    activation_checkpointing: bool = False,
) -> nn.Module:
    """A network of MONAI: [B, in_channels, *spatial] -> logits [B, num_outputs, *spatial], any size.

    Args:
        net: a class of `monai.networks.nets`: SegResNet, UNet, DynUNet, SwinUNETR, AttentionUnet, VNet, UNETR, …; or
            package.module.Class, of another that takes channels under the same names.
        arguments: of its constructor, but for channels, dimensions and image size.
        image_size: for the few networks of one size (UNETR): images of another are resized to it.
        activation_checkpointing: see `checkpointing.py`.

    Raises:
        UserError: an unknown name, arguments that the network does not take, or a network that makes no logits of the
            size of its images.
    """
    images_or_volumes("monai", spatial_dims)
    task = Task(in_channels, num_outputs, spatial_dims)
    choice = NetworkClass.read(net, _find(net), task, image_size)
    network, padding = choice.build_fitting(arguments or {})
    notes = checkpoint_if_asked(network, activation_checkpointing)
    if choice.size is not None:
        return ResizeTo(network, choice.size, notes)
    multiple, least = padding
    return PadToMultiple(network, multiple, least, notes=notes)


def networks() -> list[str]:
    """MONAI's networks that map channels to channels: most segment, the others are refused when they are built."""
    from monai.networks import nets

    names = set()
    for kind in vars(nets).values():
        if not inspect.isclass(kind) or not issubclass(kind, nn.Module):
            continue
        if hasattr(nets, kind.__name__) and maps_channels(kind):
            names.add(kind.__name__)
    return sorted(names)


def _find(net: str) -> type[nn.Module]:
    from monai.networks import nets

    if "." in net:
        return _import_class(net)
    names = networks()
    if net not in names:
        near = list_nearest(net, names)
        raise UserError(f"backbone.net={net}: MONAI has no such network from channels to channels. Nearest: {near}.")
    return getattr(nets, net)


def _import_class(net: str) -> type[nn.Module]:
    try:
        kind = get_class(net)
    except Exception as error:  # importing a user's file can raise whatever that file raises
        raise UserError(
            f"backbone.net={net}: cannot be imported ({first_line(error)}); expected a name in monai.networks.nets, or "
            "package.module.Class that Python finds."
        ) from error
    if not maps_channels(kind):
        raise UserError(f"backbone.net={net}: expected a class that takes the arguments in_channels and out_channels.")
    return kind
