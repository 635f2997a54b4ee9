"""Layers that several families of generators and discriminators share."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.errors import UserError
from genseg_betty.generators.cells import Convolution
from genseg_betty.generators.search_space import SearchSpace
from genseg_betty.generators.searchable import Rows, convolve

INITIAL_STD = 0.02
WIDEST = 8  # times the channels of the first layer
POOLED = 4  # pixels on the side of the map that is read as a whole


class InstanceNorm2d(nn.InstanceNorm2d):
    """Torch's instance norm returns channels first whatever comes in; this one leaves the layout of a map as it is.

    Without that, each convolution after it, and each derivative of one, would copy the map to change its layout back.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W] -> the same form and layout."""
        is_channels_last = input.is_contiguous(memory_format=torch.channels_last)
        is_channels_first = input.is_contiguous()
        normalised = super().forward(input)
        if is_channels_last and not is_channels_first:
            return normalised.contiguous(memory_format=torch.channels_last)
        return normalised


NORMS: dict[str, dict[int, type[nn.Module]]] = {
    "instance": {2: InstanceNorm2d, 3: nn.InstanceNorm3d},
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
}


def build_norm(name: str, channels: int, spatial_dims: int = 2) -> nn.Module:
    """`instance` (no learned scale, as in Pix2Pix) or `batch`."""
    if name not in NORMS:
        raise UserError(f"generator.norm is {name!r}; choose instance or batch")
    return NORMS[name][spatial_dims](channels)


def initialise(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02) and set biases to 0, as Pix2Pix does.

    All operations of a cell are drawn alike: at rest (α = 1/3) the output variance of the cell is 116/144 = 0.81 of the
    variance after a plain 4x4 convolution. That calls for no rescaling.
    """
    if isinstance(module, Convolution):
        nn.init.normal_(module.weight, 0.0, INITIAL_STD)
    elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
        nn.init.normal_(module.weight, 1.0, INITIAL_STD)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


class UNetStage(nn.Module):
    """One step of the U-Net: activation, cell or plain convolution, norm, dropout."""

    def __init__(self, activation: nn.Module, convolution: nn.Module, norm: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.activation = activation
        self.convolution = convolution
        self.norm = norm
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, rows: Rows) -> Tensor:
        normalised = self.norm(convolve(self.convolution, self.activation(x), rows))
        return self.dropout(normalised)


def build_stage(
    space: SearchSpace,
    half: str,
    channels: tuple[int, int],
    activation: nn.Module,
    norm: str | None,
    dropout: float = 0.0,
) -> UNetStage:
    """A stage of the `encoder` or the `decoder`; its convolution has a bias where no norm follows.

    Args:
        half: `encoder` or `decoder`.
        channels: of what comes in and of what goes out.
        norm: `instance`, `batch`, or None for none.
    """
    inputs, outputs = channels
    convolution = space.build_convolution(half, inputs, outputs, bias=norm is None)
    if norm is None:
        return UNetStage(activation, convolution, nn.Identity(), dropout)
    normalisation = build_norm(norm, outputs, space.spatial_dims)
    return UNetStage(activation, convolution, normalisation, dropout)


def build_encoder(
    space: SearchSpace,
    channels: Sequence[int],
    activation: Callable[[], nn.Module],
    norm: str,
    is_last_normalised: bool,
) -> nn.ModuleList:
    """Stages that halve a map again and again. Only a convolution stands in the first: it reads the mask itself.

    Args:
        channels: of the mask, then of each map.
        activation: makes the activation at the beginning of each other stage.
        is_last_normalised: whether the smallest map is.
    """
    stages = nn.ModuleList()
    last = len(channels) - 2
    for i, of_stage in enumerate(pairwise(channels)):
        before = activation() if i else nn.Identity()
        is_normalised = i > 0 and (i < last or is_last_normalised)
        after = norm if is_normalised else None
        stages.append(build_stage(space, "encoder", of_stage, before, after))
    return stages


def run_encoder(stages: Iterable[nn.Module], x: Tensor, rows: Rows) -> tuple[Tensor, list[Tensor]]:
    """The smallest map, and what each stage was given, outermost first."""
    skips = []
    for stage in stages:
        skips.append(x)
        x = stage(pad_even(x), rows)
    return x, skips


def run_decoder(stages: Iterable[nn.Module], x: Tensor, skips: list[Tensor], rows: Rows) -> Tensor:
    """The map of full size. Empties `skips`.

    What a stage makes is cropped to the size of the skip of its level; all but the outermost skip are joined to it.
    """
    for stage in stages:
        skip = skips.pop()
        x = crop(stage(x, rows), skip)
        if skips:
            x = torch.cat([skip, x], dim=1)
    return x


def list_doubled_widths(base_channels: int, layers: int) -> list[int]:
    """Channels of the layers of a discriminator: each layer has twice as many, up to 8 times `base_channels`."""
    return [base_channels * min(2**i, WIDEST) for i in range(layers)]


def build_pooled_body(in_channels: int, base_channels: int, layers: int) -> tuple[nn.Sequential, int]:
    """`layers` stride-2 convolutions, and a mean over what falls on each of 4x4 places.

    The first has `base_channels`, each next one twice as many up to 8 times. GroupNorm over whole maps: each image by
    itself.

    Returns:
        The layers, and how many values they make of an image.
    """
    widths = list_doubled_widths(base_channels, layers)
    body: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise([in_channels, *widths])):
        body += [
            nn.Conv2d(inputs, outputs, 4, 2, 1),
            nn.GroupNorm(1, outputs) if i else nn.Identity(),
            nn.LeakyReLU(0.2),
        ]
    body += [nn.AdaptiveAvgPool2d(POOLED), nn.Flatten()]
    values = widths[-1] * POOLED**2
    return nn.Sequential(*body), values


def pad_even(x: Tensor) -> Tensor:
    """Add a plane of zeros behind each axis of odd length."""
    odd = [side % 2 for side in x.shape[2:]]
    if not any(odd):
        return x
    return F.pad(x, list_pads(odd))


def crop(x: Tensor, like: Tensor) -> Tensor:
    """x without what lies beyond the size of `like`."""
    for axis, side in enumerate(like.shape[2:], start=2):
        x = x.narrow(axis, 0, side)
    return x


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last plane of each axis until its length is a multiple of `multiple`."""
    missing = [-side % multiple for side in x.shape[2:]]
    if not any(missing):
        return x
    return F.pad(x, list_pads(missing), mode="replicate")


def list_pads(missing: list[int]) -> list[int]:
    """The argument of `F.pad` that adds so many planes behind each axis: PyTorch counts axes from the last."""
    pads: list[int] = []
    for planes in reversed(missing):
        pads += [0, planes]
    return pads
