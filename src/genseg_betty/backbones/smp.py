"""UNet, DeepLab, and every other architecture of segmentation_models.pytorch (SMP), with every encoder it has.

UNet: Ronneberger et al., MICCAI 2015, on a ResNet-like encoder. DeepLabV3: Chen et al., arXiv:1706.05587;
DeepLabV3+: Chen et al., ECCV 2018. Nothing is downloaded unless `encoder_weights` names a set that is.

SMP is imported where a network is built: that takes seconds, which a mistyped command should not cost.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from genseg_betty.backbones.checkpointing import checkpoint_if_asked
from genseg_betty.backbones.dimensions import images_only
from genseg_betty.backbones.encoder_input import PretrainedNetwork
from genseg_betty.backbones.encoders import (
    TIMM,
    check_encoder,
    explain_failure,
    list_frozen_notes,
    list_nearest,
    list_size_options,
)
from genseg_betty.backbones.pretrained import EncoderChoice
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
    encoder: str | None = None,
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
        in_channels,
        num_outputs,
        arch="Unet",
        encoder=encoder,
        encoder_weights=encoder_weights,
        base_channels=base_channels,
        frozen_encoder=frozen_encoder,
        activation_checkpointing=activation_checkpointing,
    )


def deeplab(
    in_channels: int,
    num_outputs: int,
    spatial_dims: int = 2,
    base_channels: int = LIBRARY_WIDTH,
    encoder: str | None = None,
    encoder_weights: str | None = None,
    version: Literal["v3", "v3plus"] = "v3",
    frozen_encoder: bool = False,
    activation_checkpointing: bool = False,
) -> nn.Module:
    """DeepLab: [B, in_channels, H, W] -> logits [B, num_outputs, H, W], any H and W.

    `version` is "v3" (the paper's; 39.6 M parameters with resnet50) or "v3plus". The pyramid has 16 * base_channels
    channels, 256 by default. It pools each image to one value a channel, so its BatchNorm needs 2 or more images a
    batch in training. The other arguments and errors are those of `smp`.
    """
    images_only("deeplab", spatial_dims)
    choice = EncoderChoice.read(encoder, encoder_weights, "resnet50")
    if version not in DEEPLAB_VERSIONS:
        choices = ", ".join(DEEPLAB_VERSIONS)
        raise UserError(f"backbone.version={version}: expected one of {choices}.")
    return smp(
        in_channels,
        num_outputs,
        arch=DEEPLAB_VERSIONS[version],
        encoder=choice.name,
        encoder_weights=encoder_weights,
        base_channels=base_channels,
        frozen_encoder=frozen_encoder,
        activation_checkpointing=activation_checkpointing,
    )


def smp(
    in_channels: int,
    num_outputs: int,
    spatial_dims: int = 2,
    arch: str = "Unet",
    encoder: str | None = None,
    encoder_weights: str | None = None,
    base_channels: int = LIBRARY_WIDTH,
    frozen_encoder: bool = False,
    activation_checkpointing: bool = False,
    arguments: dict[str, Any] | None = None,
) -> nn.Module:
    """Any architecture of SMP: [B, in_channels, H, W] -> logits [B, num_outputs, H, W], any H and W.

    Args:
        arch: a class of SMP: Unet, FPN, Segformer, DPT, …; in any case.
        encoder: an SMP encoder name, or "tu-" and a timm model's name; None: that of the weights, or resnet34. DPT
            takes those of timm alone.
        encoder_weights: None (random weights), "lite0" or "lite2" of an installed package, or a pretrained set such
            as "imagenet", which is downloaded.
        base_channels: the decoder's widths; 16 stands for the library's own, 8 for half of them.
        frozen_encoder: its weights and BatchNorm statistics stay as they are.
        activation_checkpointing: see `checkpointing.py`.
        arguments: other arguments of SMP's class, such as {decoder_attention_type: scse}.

    Raises:
        UserError: an unknown name, a combination that SMP refuses, a download that failed, volumes (spatial_dims=3).
    """
    images_only("smp", spatial_dims)
    choice = EncoderChoice.read(encoder, encoder_weights, "resnet34")
    architecture = _find_architecture(arch, choice)
    network, padding = architecture.build_scaled(in_channels, num_outputs, base_channels, arguments or {})
    frozen = ("encoder",) if frozen_encoder else ()
    notes = list_frozen_notes(frozen_encoder, encoder_weights)
    notes += checkpoint_if_asked(network, activation_checkpointing)
    pretrained = PretrainedNetwork(network, *padding, frozen, notes)
    choice.finish_network(pretrained, in_channels)
    return pretrained


def architectures() -> list[str]:
    """The classes of SMP that `smp` builds."""
    import segmentation_models_pytorch as library

    return [kind.__name__ for kind in library.MODEL_ARCHITECTURES_MAPPING.values()]


def _find_architecture(arch: str, choice: EncoderChoice) -> "_Architecture":
    import segmentation_models_pytorch as library

    kind = library.MODEL_ARCHITECTURES_MAPPING.get(arch.lower())
    if kind is None:
        names = architectures()
        raise UserError(
            f"backbone.arch={arch}: no such architecture. Nearest: {list_nearest(arch, names, 1)}. "
            f"SMP has {', '.join(names)}."
        )
    check_encoder(choice.name, choice.downloaded)
    signature = inspect.signature(kind.__init__).parameters
    return _Architecture(kind.__name__, signature, choice.name, choice.downloaded)


@dataclass(frozen=True)
class _Architecture:
    """A class of SMP, its constructor's parameters, and the encoder that it is built around."""

    name: str
    signature: Mapping[str, inspect.Parameter]
    encoder: str
    encoder_weights: str | None

    @property
    def fitting_encoder(self) -> str:
        """An encoder that works with it."""
        return FITTING.get(self.name, "resnet34")

    def build_scaled(
        self, in_channels: int, num_outputs: int, base_channels: int, arguments: Mapping[str, Any]
    ) -> tuple[nn.Module, tuple[int, int]]:
        """The network, and what `PadToMultiple` must make of the sides of its images."""
        options = self._scale_widths(base_channels)
        self._check_arguments(arguments)
        options.update(arguments)
        options |= {"in_channels": in_channels, "classes": num_outputs}
        try:
            network = self._build(options, list_size_options(self.encoder))
            return network, self._find_padding(network, in_channels, num_outputs)
        except UserError as error:
            if base_channels == LIBRARY_WIDTH:
                raise
            hint = f"Or change backbone.base_channels={base_channels}, which scales {self.name}'s widths"
            raise UserError(f"{error}\n{hint}; its own are 16.") from error

    def _scale_widths(self, base_channels: int) -> dict[str, Any]:
        """The widths in the signature, scaled."""

        def scale(width: int) -> int:
            return max(1, width * base_channels // LIBRARY_WIDTH)

        scaled: dict[str, Any] = {}
        for name, parameter in self.signature.items():
            if not name.endswith("_channels") or name in OURS:
                continue
            if isinstance(parameter.default, int):
                scaled[name] = scale(parameter.default)
            else:
                scaled[name] = [scale(width) for width in parameter.default]
        return scaled

    def _check_arguments(self, arguments: Mapping[str, Any]) -> None:
        """Raises UserError for what the architecture does not take; timm's models may take more."""
        known = [name for name in self.signature if name not in OURS]
        usage = f"{self.name} takes {', '.join(known)}."
        takes_any = self.encoder.startswith(TIMM)
        for name in arguments:
            if name in OURS:
                problem = "is set by the program"
            elif name not in known and not takes_any:
                problem = f"no such argument. Nearest: {list_nearest(name, known, 1)}"
            else:
                continue
            raise UserError(f"backbone.arguments.{name}: {problem}. {usage}")

    def _build(self, options: dict[str, Any], sizes: list[dict[str, Any]]) -> nn.Module:
        """SMP's network, with the first of `sizes` (see `list_size_options`) that its encoder takes."""
        import segmentation_models_pytorch as library

        kind = getattr(library, self.name)
        first, *others = sizes
        try:
            return kind(encoder_name=self.encoder, encoder_weights=self.encoder_weights, **(first | options))
        # Which exceptions a download ends in is up to the libraries below SMP, and changes with their versions.
        except Exception as error:
            if others and "unexpected keyword argument" in str(error):
                return self._build(options, others)
            found = explain_failure(self.encoder, self.encoder_weights, error, self.fitting_encoder)
            raise UserError(found) from error

    def _find_padding(self, network: nn.Module, in_channels: int, num_outputs: int) -> tuple[int, int]:
        """What every side must be a multiple of, and its least length."""
        try:
            stride = int(network.encoder.output_stride)  # type: ignore[union-attr, arg-type]
            candidates = (stride, 2 * stride, 4 * stride)
            return find_padding(network, in_channels, num_outputs, 2, candidates)
        except UserError as error:
            raise UserError(
                f"backbone.arch={self.name} does not work with backbone.encoder={self.encoder}: {error}\n"
                f"Choose another encoder, e.g. {self.fitting_encoder}."
            ) from error
