"""Pix2Pix with a searchable U-Net: mask -> image (Isola et al., CVPR 2017; GenSeg, Methods and Fig. 1b).

Every down and up convolution of the U-Net is a searchable cell (`cells.SearchableCell`) in the searched
halves, and the original 4x4, stride 2, padding 1 elsewhere. At 256 pixels and 64 channels it has 8 levels
and 394 M parameters; 272 M with the decoder alone searched, as in the reference, and 54 M with one
operation a cell.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.errors import UserError
from genseg_betty.generators.cells import Convolution, operations_of
from genseg_betty.generators.searchable import (
    Alpha,
    Rows,
    SearchableGenerator,
    Searched,
    build_convolution,
    choose_depth,
    convolve,
    halvings,
)

MAX_DEPTH = 8
DROPOUT_LEVELS = 3
INITIAL_STD = 0.02


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


class Level(nn.Module):
    """One step of the U-Net: activation, cell or plain convolution, norm, dropout."""

    def __init__(self, activation: nn.Module, convolution: nn.Module, norm: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.activation = activation
        self.convolution = convolution
        self.norm = norm
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, rows: Rows) -> Tensor:
        return self.dropout(self.norm(convolve(self.convolution, self.activation(x), rows)))


class Pix2Pix(SearchableGenerator):
    """U-Net generator G with searchable cells.

    Level i of `depth` brings the size to ceil(size / 2^i): an odd map first gets a row or column of zeros,
    which is what a convolution pads with anyway, and the decoder crops it away again. The first and the
    innermost down cell and the last up cell have no norm: the outer two speak in intensities, and the
    innermost map is a single pixel where the image is a power of two, for which instance norm returns 0
    whatever comes in.

    Args:
        in_channels: channels of the encoded mask, see `encoding.encode_mask`.
        out_channels: channels of the image.
        image_size: (H, W), (D, H, W) or one number for all, at least 32.
        base_channels: width of the first level; doubled by each next one up to `max_channels`.
        depth: levels; None takes log2 of the smaller side, at most 8.
        searched: `both`, `decoder` or `encoder`.
        dropout: its probability, in those of the three innermost up levels whose output has `max_channels`.
        norm: `instance` or `batch`.
        fused: see `cells.SearchableCell`.
        kernels: sizes of the operations that a cell chooses among; a single one leaves nothing to search.
        spatial_dims: 2 for images, 3 for volumes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_size: int | Sequence[int],
        base_channels: int = 64,
        max_channels: int = 512,
        depth: int | None = None,
        searched: Searched = "both",
        dropout: float = 0.5,
        norm: Literal["instance", "batch"] = "instance",
        fused: str = "auto",
        kernels: Sequence[int] = (4, 6, 8),
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        deepest = min(halvings(image_size), MAX_DEPTH)
        depth = choose_depth(image_size, depth, deepest, deepest)
        space: dict[str, Any] = {"fused": fused, "operations": operations_of(kernels), "spatial_dims": spatial_dims}
        widths = [min(base_channels * 2**i, max_channels) for i in range(depth)]
        self.down = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise([in_channels, *widths])):
            normed = 0 < i < depth - 1
            self.down.append(
                Level(
                    nn.LeakyReLU(0.2) if i else nn.Identity(),
                    build_convolution("encoder", searched, inputs, outputs, not normed, **space),
                    build_norm(norm, outputs, spatial_dims) if normed else nn.Identity(),
                )
            )
        self.up = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise([*reversed(widths), out_channels])):
            normed = i < depth - 1
            skipped = inputs if i else 0
            self.up.append(
                Level(
                    nn.ReLU(),
                    build_convolution("decoder", searched, inputs + skipped, outputs, not normed, **space),
                    build_norm(norm, outputs, spatial_dims) if normed else nn.Identity(),
                    dropout if normed and i < DROPOUT_LEVELS and outputs == max_channels else 0.0,
                )
            )
        self.apply(initialise)

    def forward(self, condition: Tensor, alpha: Alpha | None = None) -> Tensor:
        """Render masks.

        Args:
            condition: encoded masks [B, M, H, W] in -1..1, or [B, M, D, H, W]. alpha: weights of the searchable
            cells {"down": [n, K], "up": [n, K]}; None where no cell is left.

        Returns:
            Images [B, C, H, W] in -1..1, or [B, C, D, H, W].
        """
        rows = self.rows(alpha)
        x, skips = condition, []
        for level in self.down:
            skips.append(x)
            x = level(pad_even(x), rows)
        for level in self.up:
            skip = skips.pop()
            x = crop(level(x, rows), skip)
            if skips:
                x = torch.cat([skip, x], dim=1)
        return torch.tanh(x)


def pad_even(x: Tensor) -> Tensor:
    """Add a plane of zeros behind each axis of odd length."""
    odd = [side % 2 for side in x.shape[2:]]
    return F.pad(x, [pad for last in reversed(odd) for pad in (0, last)]) if any(odd) else x


def crop(x: Tensor, like: Tensor) -> Tensor:
    """x without what lies beyond the size of `like`."""
    for axis, side in enumerate(like.shape[2:], start=2):
        x = x.narrow(axis, 0, side)
    return x
