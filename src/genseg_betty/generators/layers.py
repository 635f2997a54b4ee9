"""Layers that several families of generators and discriminators share."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.errors import UserError
from genseg_betty.generators.cells import Convolution
from genseg_betty.generators.searchable import Rows, convolve

INITIAL_STD = 0.02
POOLED = 4  # pixels on the side of the map that is read as a whole


class InstanceNorm2d(nn.InstanceNorm2d):
    """Torch's, which returns channels first whatever comes in; this one leaves the layout of a map as it is.

    Else each convolution after it, and each of its derivatives, would have to bring the map back by a copy.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W] -> the same form and layout."""
        channels_last = input.is_contiguous(memory_format=torch.channels_last) and not input.is_contiguous()
        normalised = super().forward(input)
        return normalised.contiguous(memory_format=torch.channels_last) if channels_last else normalised


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

    All operations of a cell are drawn alike: at rest (α = 1/3) the output variance of the cell is 116/144 =
    0.81 of the plain 4x4 convolution's, which calls for no rescaling.
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
        return self.dropout(self.norm(convolve(self.convolution, self.activation(x), rows)))


def pooled_body(in_channels: int, base_channels: int, layers: int) -> tuple[nn.Sequential, int]:
    """`layers` stride-2 convolutions and a mean over what falls on each of 4x4 places; the number of values it returns.

    The first has `base_channels`, each next one twice as many up to 8 times. GroupNorm over whole maps: each image by
    itself.
    """
    widths = [base_channels * min(2**i, 8) for i in range(layers)]
    body: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise([in_channels, *widths])):
        norm = nn.GroupNorm(1, outputs) if i else nn.Identity()
        body += [nn.Conv2d(inputs, outputs, 4, 2, 1), norm, nn.LeakyReLU(0.2)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(POOLED), nn.Flatten()), widths[-1] * POOLED**2


def pad_even(x: Tensor) -> Tensor:
    """Add a plane of zeros behind each axis of odd length."""
    odd = [side % 2 for side in x.shape[2:]]
    return F.pad(x, list_pads(odd)) if any(odd) else x


def crop(x: Tensor, like: Tensor) -> Tensor:
    """x without what lies beyond the size of `like`."""
    for axis, side in enumerate(like.shape[2:], start=2):
        x = x.narrow(axis, 0, side)
    return x


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last plane of each axis until its length is a multiple of `multiple`."""
    missing = [-side % multiple for side in x.shape[2:]]
    return F.pad(x, list_pads(missing), mode="replicate") if any(missing) else x


def list_pads(missing: list[int]) -> list[int]:
    """The argument of `F.pad` that adds so many planes behind each axis: PyTorch counts axes from the last."""
    pads: list[int] = []
    for planes in reversed(missing):
        pads += [0, planes]
    return pads
