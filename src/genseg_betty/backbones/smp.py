"""UNet and DeepLab from segmentation_models.pytorch (SMP).

UNet: Ronneberger et al., MICCAI 2015, on a ResNet-like encoder. DeepLabV3: Chen et al., arXiv:1706.05587;
DeepLabV3+: Chen et al., ECCV 2018. Nothing is downloaded unless `encoder_weights` is set.

SMP is imported where a network is built: that takes seconds, which a mistyped command should not cost.
"""

import difflib
from types import ModuleType
from typing import Literal

from torch import nn

from genseg_betty.backbones.padding import PadToMultiple
from genseg_betty.errors import UserError

UNET_STRIDE = 32
DEEPLAB_VERSIONS = {"v3": ("DeepLabV3", 8), "v3plus": ("DeepLabV3Plus", 16)}  # SMP's class, output stride


def unet(
    in_channels: int,
    num_outputs: int,
    base_channels: int = 16,
    encoder: str = "resnet34",
    encoder_weights: str | None = None,
) -> nn.Module:
    """UNet: [B, in_channels, H, W] -> logits [B, num_outputs, H, W], any H and W.

    Args:
        base_channels: channels of the decoder at full resolution; 16, 8, 4 and 2 times as many below.
        encoder: an SMP encoder name, or "tu-" and a timm model's name.
        encoder_weights: None (random weights), or a pretrained set such as "imagenet", which is downloaded.

    Raises:
        UserError: unknown encoder or weights, or a download that failed.
    """
    decoder_channels = tuple(base_channels * factor for factor in (16, 8, 4, 2, 1))
    network = _build("Unet", in_channels, num_outputs, encoder, encoder_weights, decoder_channels=decoder_channels)
    return PadToMultiple(network, UNET_STRIDE)


def deeplab(
    in_channels: int,
    num_outputs: int,
    base_channels: int = 16,
    encoder: str = "resnet50",
    encoder_weights: str | None = None,
    version: Literal["v3", "v3plus"] = "v3",
) -> nn.Module:
    """DeepLab: [B, in_channels, H, W] -> logits [B, num_outputs, H, W], any H and W.

    `version` is "v3" (the paper's; 39.6 M parameters with resnet50) or "v3plus". The pyramid has
    16 * base_channels channels, 256 by default. It pools each image to one value a channel, so its BatchNorm
    needs 2 or more images a batch in training. The other arguments and errors are those of `unet`.
    """
    if version not in DEEPLAB_VERSIONS:
        raise UserError(f"backbone.version={version}: expected one of {', '.join(DEEPLAB_VERSIONS)}.")
    architecture, stride = DEEPLAB_VERSIONS[version]
    network = _build(
        architecture, in_channels, num_outputs, encoder, encoder_weights, decoder_channels=16 * base_channels
    )
    return PadToMultiple(network, stride)


def _build(
    architecture: str,
    in_channels: int,
    num_outputs: int,
    encoder: str,
    encoder_weights: str | None,
    decoder_channels: int | tuple[int, ...],
) -> nn.Module:
    import segmentation_models_pytorch as smp

    _check_encoder(encoder, encoder_weights, smp.encoders)
    try:
        return getattr(smp, architecture)(
            encoder_name=encoder,
            encoder_weights=encoder_weights,
            decoder_channels=decoder_channels,
            in_channels=in_channels,
            classes=num_outputs,
        )
    # Which exceptions a download ends in is up to the libraries below SMP, and changes with their versions.
    except Exception as error:
        raise UserError(_explain(encoder, encoder_weights, error)) from error


def _check_encoder(encoder: str, weights: str | None, library: ModuleType) -> None:
    """Raises UserError for names SMP does not know; timm's ("tu-…") are left to timm."""
    if encoder.startswith("tu-"):
        return
    names = library.get_encoder_names()
    if encoder not in names:
        nearest = difflib.get_close_matches(encoder, names, n=3, cutoff=0.0)
        raise UserError(
            f"backbone.encoder={encoder}: no such encoder. Nearest: {', '.join(nearest)}. "
            "timm's encoders are reached as tu-<timm name>."
        )
    known = list(library.encoders[encoder]["pretrained_settings"])
    if weights is not None and weights not in known:
        raise UserError(
            f"backbone.encoder_weights={weights}: {encoder} comes with {', '.join(known) or 'none'}; "
            "set backbone.encoder_weights to one of these, or to null for random weights."
        )


def _explain(encoder: str, weights: str | None, error: Exception) -> str:
    found = f"backbone.encoder={encoder} could not be built: {type(error).__name__}: {error}"
    if weights is None:
        return f"{found}\nChoose an encoder that fits this backbone and these images, e.g. resnet34."
    return (
        f"{found}\nIts pretrained weights ({weights}) may be out of reach. Set backbone.encoder_weights=null "
        "for random weights, go online once, or place the files in the Hugging Face cache (HF_HUB_CACHE, "
        "by default ~/.cache/huggingface/hub)."
    )
