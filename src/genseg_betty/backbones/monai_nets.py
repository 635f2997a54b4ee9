"""Any segmentation network of MONAI (arXiv:2211.02701), by name, for images or volumes; and any class alike."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.utils import get_class
from torch import Tensor, nn

from genseg_betty.backbones.checkpointing import NOTE as CHECKPOINTING_NOTE
from genseg_betty.backbones.checkpointing import checkpoint_blocks
from genseg_betty.backbones.dimensions import images_or_volumes
from genseg_betty.backbones.encoders import nearest
from genseg_betty.backbones.padding import PadToMultiple, ResizeTo
from genseg_betty.backbones.probe import STRIDES, dry_run, fault_of, find_padding, first_line
from genseg_betty.backbones.unique_modules import register_once
from genseg_betty.errors import UserError

# What MONAI's networks call what the program supplies.
INPUTS = ("in_channels", "n_input_channels")
OUTPUTS = ("out_channels", "num_classes", "out_classes", "num_outputs")
DIMENSIONS = ("spatial_dims", "dims")
SIZES = ("img_size", "input_image_size", "image_size")
ROUND = 32  # these networks are built for the next multiple of it


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
    kind = _find(net)
    signature = inspect.signature(kind).parameters
    size = _one_size(net, signature, image_size, spatial_dims)
    supplied: dict[str, Any] = {}
    for names, value in (
        (INPUTS, in_channels), (OUTPUTS, num_outputs), (DIMENSIONS, spatial_dims), (SIZES, size)
    ):  # fmt: skip
        supplied |= dict.fromkeys([name for name in names if name in signature][:1], value)
    network = _build(net, kind, signature, supplied, arguments or {})
    try:
        network = _single_output(network, [2, in_channels, *(size or [max(STRIDES)] * spatial_dims)])
        if size is None:
            multiple, least = find_padding(network, in_channels, num_outputs, spatial_dims)
        elif fault := fault_of(network, in_channels, num_outputs, size):
            raise UserError(fault)
    except UserError as error:
        raise UserError(
            f"backbone.net={net} does not segment {'images' if spatial_dims == 2 else 'volumes'}: {error}\n"
            f"Change backbone.arguments or choose another network. {_usage(net, signature, supplied)}"
        ) from error
    if activation_checkpointing:
        checkpoint_blocks(network)
    notes = (CHECKPOINTING_NOTE,) if activation_checkpointing else ()
    return PadToMultiple(network, multiple, least, notes=notes) if size is None else ResizeTo(network, size, notes)


def networks() -> list[str]:
    """MONAI's networks that map channels to channels: most segment, the others are refused when they are built."""
    from monai.networks import nets

    kinds = {
        kind.__name__: kind for kind in vars(nets).values() if inspect.isclass(kind) and issubclass(kind, nn.Module)
    }
    return sorted(name for name, kind in kinds.items() if hasattr(nets, name) and _maps_channels(kind))


class FirstOutput(nn.Module):
    """The logits of a network that returns them in a list of one, or with something that is no image."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        output = self.network(image)
        return output[0] if isinstance(output, list | tuple) else output


def _find(net: str) -> type[nn.Module]:
    from monai.networks import nets

    if "." in net:
        return _imported(net)
    names = networks()
    if net not in names:
        raise UserError(
            f"backbone.net={net}: MONAI has no such network from channels to channels. Nearest: {nearest(net, names)}."
        )
    return getattr(nets, net)


def _imported(net: str) -> type[nn.Module]:
    try:
        kind = get_class(net)
    except Exception as error:  # importing a user's file can raise whatever that file raises
        raise UserError(
            f"backbone.net={net}: cannot be imported ({first_line(error)}); expected a name in monai.networks.nets, or "
            "package.module.Class that Python finds."
        ) from error
    if not _maps_channels(kind):
        raise UserError(f"backbone.net={net}: expected a class that takes the arguments in_channels and out_channels.")
    return kind


def _maps_channels(kind: type) -> bool:
    return all(not set(names).isdisjoint(inspect.signature(kind).parameters) for names in (INPUTS, OUTPUTS))


def _one_size(
    net: str, signature: Mapping[str, Any], image_size: int | Sequence[int] | None, spatial_dims: int
) -> list[int] | None:
    """The size that a network of one size is built for; None for all others."""
    if set(SIZES).isdisjoint(signature):
        return None
    sides = [image_size] * spatial_dims if isinstance(image_size, int) else list(image_size or [])
    if len(sides) != spatial_dims:
        raise UserError(
            f"backbone.image_size={image_size}: {net} works on images of one size; expected {spatial_dims} sides."
        )
    return [side + -side % ROUND for side in sides]


def _build(
    net: str,
    kind: type[nn.Module],
    signature: Mapping[str, inspect.Parameter],
    supplied: dict[str, Any],
    arguments: dict[str, Any],
) -> nn.Module:
    problems = []
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.values())
    for name, value in arguments.items():
        if name in supplied:
            problems.append(f"backbone.arguments.{name} is set by the program")
        elif name not in signature and not takes_any:
            problems.append(f"backbone.arguments.{name}: no such argument. Nearest: {nearest(name, signature, 1)}")
        elif name == "use_checkpoint" and value:
            problems.append("backbone.arguments.use_checkpoint: set backbone.activation_checkpointing=true instead")
    problems += [
        f"backbone.arguments.{name}: missing"
        for name, parameter in signature.items()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and name not in {**supplied, **arguments}
    ]
    if not problems:
        try:
            return register_once(kind(**supplied, **arguments))
        except Exception as error:  # whatever a constructor makes of values that do not fit
            problems.append(f"backbone.net={net} could not be built: {type(error).__name__}: {first_line(error)}")
    raise UserError("\n".join([*problems, _usage(net, signature, supplied)]))


def _usage(net: str, signature: Mapping[str, inspect.Parameter], supplied: Mapping[str, Any]) -> str:
    free = [
        name if parameter.default is parameter.empty else f"{name}={parameter.default!r}"
        for name, parameter in signature.items()
        if name not in supplied
    ]
    return f"{net} takes {', '.join(free)}."


def _single_output(network: nn.Module, shape: Sequence[int]) -> nn.Module:
    """`network`, made to return its logits alone. Raises UserError where it returns several (deep supervision)."""
    for training in (True, False):
        try:
            output = dry_run(network, shape, training)
        except Exception:  # another size may do: `find_padding` sees, and says what was wrong
            return network
        if isinstance(output, list | tuple):
            images = [part for part in output if isinstance(part, Tensor) and part.ndim == len(shape)]
            if len(images) > 1:
                raise UserError(f"it returns {len(images)} outputs; switch deep supervision off")
            network = FirstOutput(network)
            break
    return network
