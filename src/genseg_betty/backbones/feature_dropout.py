"""Channel dropout between encoder and decoder: UniMatch's perturbation of features (Yang et al., CVPR 2023).

The encoder runs once. Its features are given to the decoder twice in one batch: as they are, and with half of their
channels set to 0 and the others doubled. So one pass of B images gives the logits of 2 B.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, cat, nn
from torch.nn import functional

from genseg_betty.backbones.probe import dry_run, first_line
from genseg_betty.errors import UserError

DROPPED = 0.5  # of the channels, as in the authors' code
TAKEN = "unet, deeplab, smp, swinunet and unet_classic"
PARTS_OF_SMP = ("encoder", "decoder", "segmentation_head")


class EncoderOutput(nn.Identity):
    """What passes from an encoder to its decoder, as it is: a place at which `perturbed_features` can reach it."""


@contextmanager
def perturbed_features(segmenter: nn.Module) -> Iterator[None]:
    """Within the block a pass of images [B, C, *] gives logits [2 B, O, *]: the plain ones, then the perturbed ones.

    Raises:
        UserError: it is not known where the network's encoder ends, see `find_encoder`.
    """
    encoder = find_encoder(segmenter)
    if encoder is None:
        raise UserError(f"this network has no encoder that is known to end anywhere; {TAKEN} have one")
    handle = encoder.register_forward_hook(_append_perturbed)
    try:
        yield
    finally:
        handle.remove()


def find_encoder(segmenter: nn.Module) -> nn.Module | None:
    """The part whose output is the list of features that a decoder gets; None where none is known.

    It is an `EncoderOutput`, or the encoder of a network that is made of the three parts that SMP's are made of.
    """
    for part in segmenter.modules():
        if isinstance(part, EncoderOutput):
            return part
        if all(isinstance(getattr(part, name, None), nn.Module) for name in PARTS_OF_SMP):
            return part.get_submodule("encoder")
    return None


def check_perturbation(segmenter: nn.Module, channels: int, sides: Sequence[int], backbone: str) -> None:
    """That `perturbed_features` works on this network; nothing is computed.

    Args:
        channels: of the images.
        backbone: its name in the config.

    Raises:
        UserError: naming the backbones that it works on.
    """
    advice = f"method=unimatch drops channels between encoder and decoder. Choose another backbone: {TAKEN} work."
    if find_encoder(segmenter) is None:
        raise UserError(f"backbone={backbone} has no known end of its encoder, and {advice}")
    try:
        with perturbed_features(segmenter):
            logits = dry_run(segmenter, [2, channels, *sides], training=True)
    except Exception as error:  # whatever a foreign network raises
        raise UserError(f"backbone={backbone} ends in {first_line(error)}; {advice}") from error
    if len(logits) != 4:
        raise UserError(f"backbone={backbone} makes {len(logits)} images of 4 behind its encoder; {advice}")


def _append_perturbed(encoder: nn.Module, inputs: tuple[Any, ...], features: Sequence[Tensor]) -> list[Tensor]:
    """The features of each level, and behind them in the batch those without half of their channels.

    SMP's encoders give the image itself as their first feature: it is no feature, and stays whole.
    """
    doubled = []
    for feature in features:
        is_image = feature is inputs[0]
        perturbed = feature if is_image else functional.dropout2d(feature, DROPPED)
        doubled.append(cat([feature, perturbed]))
    return doubled
