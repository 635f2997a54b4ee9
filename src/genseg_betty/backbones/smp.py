"""UNet, DeepLab, and every other architecture of segmentation_models.pytorch (SMP), with every encoder it has.

UNet: Ronneberger et al., MICCAI 2015, on a ResNet-like encoder. DeepLabV3: Chen et al., arXiv:1706.05587;
DeepLabV3+: Chen et al., ECCV 2018. Nothing is downloaded unless `encoder_weights` is set.

SMP is imported where a network is built: that takes seconds, which a mistyped command should not cost.
"""

import inspect
from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from genseg_betty.backbones.checkpointing import NOTE as CHECKPOINTING_NOTE
from genseg_betty.backbones.checkpointing import checkpoint_blocks
from genseg_betty.backbones.dimensions import images_only
from genseg_betty.backbones.encoders import FROZEN_NOTE, TIMM, check_encoder, explain, nearest, size_options
from genseg_betty.backbones.padding import PadToMultiple
from genseg_betty.backbones.probe import find_padding
from genseg_betty.errors import UserError

DEEPLAB_VERSIONS = {"v3": "DeepLabV3", "v3plus": "DeepLabV3Plus"}
FITTING = {"DPT": "tu-vit_tiny_patch16_224", "Segformer": "mit_b0"}  # elsewhere resnet34
LIBRARY_WIDTH = 16  # base_channels at which every architecture has the library's own widths
OURS = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params", "kwargs", "self")


def unet(
    in_channels: int,
    num_outputs: int,
    spatial_dims: int = 2,
    base_channels: int = LIBRARY_WIDTH,
    encoder: str = "resnet34",
    encoder_weights: str | None = None,
    frozen_encoder: bool = False,
    activation_checkpointing: bool = False,
) -> nn.Module:
    """UNet: [B, in_channels, H, W] -> logits [B, num_outputs, H, W], any H and W.

    `base_channels` of the decoder at full resolution; 16, 8, 4 and 2 times as many below. The other arguments and
    errors are those of `smp`.
    """
    images_only("unet", spatial_dims)
    return smp(
        in_channels, num_outputs, spatial_dims, "Unet", encoder, encoder_weights, base_channels, frozen_encoder,
        activation_checkpointing,
    )  # fmt: skip


def deeplab(
    in_channels: int,
    num_outputs: int,
    spatial_dims: int = 2,
    base_channels: int = LIBRARY_WIDTH,
    encoder: str = "resnet50",
    encoder_weights: str | None = None,
    version: Literal["v3", "v3plus"] = "v3",
    frozen_encoder: bool = False,
    activation_checkpointing: bool = False,
) -> nn.Module:
    """DeepLab: [B, in_channels, H, W] -> logits [B, num_outputs, H, W], any H and W.

    `version` is "v3" (the paper's; 39.6 M parameters with resnet50) or "v3plus". The pyramid has
    16 * base_channels channels, 256 by default. It pools each image to one value a channel, so its BatchNorm
    needs 2 or more images a batch in training. The other arguments and errors are those of `smp`.
    """
    images_only("deeplab", spatial_dims)
    if version not in DEEPLAB_VERSIONS:
        raise UserError(f"backbone.version={version}: expected one of {', '.join(DEEPLAB_VERSIONS)}.")
    return smp(
        in_channels, num_outputs, spatial_dims, DEEPLAB_VERSIONS[version], encoder, encoder_weights, base_channels,
        frozen_encoder, activation_checkpointing,
    )  # fmt: skip


def smp(
    in_channels: int,
    num_outputs: int,
    spatial_dims: int = 2,
    arch: str = "Unet",
    encoder: str = "resnet34",
    encoder_weights: str | None = None,
    base_channels: int = LIBRARY_WIDTH,
    frozen_encoder: bool = False,
    activation_checkpointing: bool = False,
    arguments: dict[str, Any] | None = None,
) -> nn.Module:
    """Any architecture of SMP: [B, in_channels, H, W] -> logits [B, num_outputs, H, W], any H and W.

    Args:
        arch: a class of SMP: Unet, FPN, Segformer, DPT, …; in any case.
        encoder: an SMP encoder name, or "tu-" and a timm model's name. DPT takes those of timm alone.
        encoder_weights: None (random weights), or a pretrained set such as "imagenet", which is downloaded.
        base_channels: the decoder's widths; 16 stands for the library's own, 8 for half of them.
        frozen_encoder: its weights and BatchNorm statistics stay as they are.
        activation_checkpointing: see `checkpointing.py`.
        arguments: other arguments of SMP's class, such as {decoder_attention_type: scse}.

    Raises:
        UserError: an unknown name, a combination that SMP refuses, a download that failed, volumes (spatial_dims=3).
    """
    images_only("smp", spatial_dims)
    name, signature = _architecture(arch)
    check_encoder(encoder, encoder_weights)
    options = _widths(signature, base_channels) | _checked(name, signature, encoder, arguments or {})
    options |= {"in_channels": in_channels, "classes": num_outputs}
    try:
        network = _build(name, encoder, encoder_weights, options, size_options(encoder))
        multiple, least = _padding(name, network, encoder, in_channels, num_outputs)
    except UserError as error:
        if base_channels == LIBRARY_WIDTH:
            raise
        raise UserError(
            f"{error}\nOr change backbone.base_channels={base_channels}, which scales {name}'s widths; its own are 16."
        ) from error
    notes = []
    if frozen_encoder and encoder_weights is None:
        notes.append(FROZEN_NOTE)
    if activation_checkpointing:
        notes.append(CHECKPOINTING_NOTE)
        checkpoint_blocks(network)
    return PadToMultiple(network, multiple, least, ("encoder",) if frozen_encoder else (), tuple(notes))


def architectures() -> list[str]:
    """The classes of SMP that `smp` builds."""
    import segmentation_models_pytorch as library

    return [kind.__name__ for kind in library.MODEL_ARCHITECTURES_MAPPING.values()]


def _architecture(arch: str) -> tuple[str, Mapping[str, inspect.Parameter]]:
    """Name and constructor's parameters of an architecture."""
    import segmentation_models_pytorch as library

    kind = library.MODEL_ARCHITECTURES_MAPPING.get(arch.lower())
    if kind is None:
        names = architectures()
        raise UserError(
            f"backbone.arch={arch}: no such architecture. Nearest: {nearest(arch, names, 1)}. "
            f"SMP has {', '.join(names)}."
        )
    return kind.__name__, inspect.signature(kind.__init__).parameters


def _widths(signature: Mapping[str, inspect.Parameter], base_channels: int) -> dict[str, Any]:
    """The widths in the signature, scaled."""

    def scaled(width: int) -> int:
        return max(1, width * base_channels // LIBRARY_WIDTH)

    return {
        name: scaled(parameter.default) if isinstance(parameter.default, int) else [*map(scaled, parameter.default)]
        for name, parameter in signature.items()
        if name.endswith("_channels") and name not in OURS
    }


def _checked(
    architecture: str, signature: Mapping[str, inspect.Parameter], encoder: str, arguments: dict[str, Any]
) -> dict[str, Any]:
    """`arguments`, if the architecture takes them; what it does not take, timm's models may."""
    known = [name for name in signature if name not in OURS]
    for name in arguments:
        if name in OURS or (name not in known and not encoder.startswith(TIMM)):
            hint = "is set by the program" if name in OURS else f"no such argument. Nearest: {nearest(name, known, 1)}"
            raise UserError(f"backbone.arguments.{name}: {hint}. {architecture} takes {', '.join(known)}.")
    return arguments


def _build(
    architecture: str,
    encoder: str,
    encoder_weights: str | None,
    options: dict[str, Any],
    sizes: list[dict[str, Any]],
) -> nn.Module:
    """SMP's network, with the first of `sizes` (see `size_options`) that its encoder takes."""
    import segmentation_models_pytorch as library

    kind = getattr(library, architecture)
    try:
        return kind(encoder_name=encoder, encoder_weights=encoder_weights, **(sizes[0] | options))
    # Which exceptions a download ends in is up to the libraries below SMP, and changes with their versions.
    except Exception as error:
        if len(sizes) > 1 and "unexpected keyword argument" in str(error):
            return _build(architecture, encoder, encoder_weights, options, sizes[1:])
        raise UserError(explain(encoder, encoder_weights, error, FITTING.get(architecture, "resnet34"))) from error


def _padding(
    architecture: str, network: nn.Module, encoder: str, in_channels: int, num_outputs: int
) -> tuple[int, int]:
    """What every side must be a multiple of, and its least length."""
    try:
        stride = int(network.encoder.output_stride)  # type: ignore[union-attr, arg-type]
        return find_padding(network, in_channels, num_outputs, 2, (stride, 2 * stride, 4 * stride))
    except UserError as error:
        raise UserError(
            f"backbone.arch={architecture} does not work with backbone.encoder={encoder}: {error}\n"
            f"Choose another encoder, e.g. {FITTING.get(architecture, 'resnet34')}."
        ) from error
