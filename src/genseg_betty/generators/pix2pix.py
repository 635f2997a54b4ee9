"""Pix2Pix with a searchable U-Net: mask -> image (Isola et al., CVPR 2017; GenSeg, Methods and Fig. 1b).

Every down and up convolution of the U-Net is a searchable cell (`cells.SearchableCell`) in the searched
halves, and the original 4x4, stride 2, padding 1 elsewhere. At 256 pixels and 64 channels it has 8 levels
and 394 M parameters; 272 M with the decoder alone searched, as in the reference, and 54 M with one
operation a cell.
"""

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.errors import UserError
from genseg_betty.generators.cells import OPERATIONS, SearchableCell

MAX_DEPTH = 8
DROPOUT_LEVELS = 3
INITIAL_STD = 0.02
Alpha = dict[str, Tensor]


def build_norm(name: str, channels: int) -> nn.Module:
    """`instance` (no learned scale, as in Pix2Pix) or `batch`."""
    if name not in ("instance", "batch"):
        raise UserError(f"generator.norm is {name!r}; choose instance or batch")
    return nn.InstanceNorm2d(channels) if name == "instance" else nn.BatchNorm2d(channels)


def initialise(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02) and set biases to 0, as Pix2Pix does.

    All operations of a cell are drawn alike: at rest (α = 1/3) the output variance of the cell is 116/144 =
    0.81 of the plain 4x4 convolution's, which calls for no rescaling.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, INITIAL_STD)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, INITIAL_STD)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def build_convolution(half: str, searched: str, inputs: int, outputs: int, bias: bool, fused: str) -> nn.Module:
    """A searchable cell where `searched` (both, encoder or decoder) names this half, else a plain 4x4."""
    transposed = half == "decoder"
    if searched in ("both", half):
        return SearchableCell(inputs, outputs, transposed, bias=bias, fused=fused)
    plain = nn.ConvTranspose2d if transposed else nn.Conv2d
    return plain(inputs, outputs, *OPERATIONS[0], bias=bias)


class Level(nn.Module):
    """One step of the U-Net: activation, cell or plain convolution, norm, dropout."""

    def __init__(self, activation: nn.Module, convolution: nn.Module, norm: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.activation = activation
        self.convolution = convolution
        self.norm = norm
        self.dropout = nn.Dropout(dropout)

    @property
    def searchable(self) -> bool:
        return isinstance(self.convolution, SearchableCell)

    def forward(self, x: Tensor, alpha: Tensor | None) -> Tensor:
        x = self.activation(x)
        x = self.convolution(x) if alpha is None else self.convolution(x, alpha)
        return self.dropout(self.norm(x))


class Pix2Pix(nn.Module):
    """U-Net generator G with searchable cells.

    Level i of `depth` brings the size to ceil(size / 2^i): an odd map first gets a row or column of zeros,
    which is what a convolution pads with anyway, and the decoder crops it away again. The first and the
    innermost down cell and the last up cell have no norm: the outer two speak in intensities, and the
    innermost map is a single pixel where the image is a power of two, for which instance norm returns 0
    whatever comes in.

    Args:
        in_channels: channels of the encoded mask, see `encoding.encode_mask`.
        out_channels: channels of the image.
        image_size: (H, W) or one number for both, at least 32.
        base_channels: width of the first level; doubled by each next one up to `max_channels`.
        depth: levels; None takes log2 of the smaller side, at most 8.
        searched: `both`, `decoder` or `encoder`.
        dropout: its probability, in those of the three innermost up levels whose output has `max_channels`.
        norm: `instance` or `batch`.
        fused: see `cells.SearchableCell`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_size: int | Sequence[int],
        base_channels: int = 64,
        max_channels: int = 512,
        depth: int | None = None,
        searched: Literal["both", "decoder", "encoder"] = "both",
        dropout: float = 0.5,
        norm: Literal["instance", "batch"] = "instance",
        fused: str = "auto",
    ) -> None:
        super().__init__()
        if searched not in ("both", "decoder", "encoder"):
            raise UserError(f"generator.searched is {searched!r}; choose both, decoder or encoder")
        depth = choose_depth(image_size, depth)
        widths = [min(base_channels * 2**i, max_channels) for i in range(depth)]
        self.down = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise([in_channels, *widths])):
            normed = 0 < i < depth - 1
            self.down.append(
                Level(
                    nn.LeakyReLU(0.2) if i else nn.Identity(),
                    build_convolution("encoder", searched, inputs, outputs, not normed, fused),
                    build_norm(norm, outputs) if normed else nn.Identity(),
                )
            )
        self.up = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise([*reversed(widths), out_channels])):
            normed = i < depth - 1
            skipped = inputs if i else 0
            self.up.append(
                Level(
                    nn.ReLU(),
                    build_convolution("decoder", searched, inputs + skipped, outputs, not normed, fused),
                    build_norm(norm, outputs) if normed else nn.Identity(),
                    dropout if normed and i < DROPOUT_LEVELS and outputs == max_channels else 0.0,
                )
            )
        self.apply(initialise)

    @property
    def cells(self) -> dict[str, int]:
        """Number of searchable cells: {"down": n, "up": n}."""
        return {half: sum(level.searchable for level in self._levels(half)) for half in ("down", "up")}

    def _levels(self, half: str) -> list[Level]:
        return cast(list[Level], list(self.down if half == "down" else self.up))

    def forward(self, condition: Tensor, alpha: Alpha | None = None) -> Tensor:
        """Render masks.

        Args:
            condition: encoded masks [B, M, H, W] in -1..1. alpha: weights of the searchable cells {"down":
            [n, K], "up": [n, K]}; None where no cell is left.

        Returns:
            Images [B, C, H, W] in -1..1.
        """
        x, skips = condition, []
        for level, weights in self._weighted_levels("down", alpha):
            skips.append(x)
            x = level(pad_even(x), weights)
        for level, weights in self._weighted_levels("up", alpha):
            skip = skips.pop()
            x = level(x, weights)[..., : skip.shape[-2], : skip.shape[-1]]
            if skips:
                x = torch.cat([skip, x], dim=1)
        return torch.tanh(x)

    def _weighted_levels(self, half: str, alpha: Alpha | None) -> list[tuple[Level, Tensor | None]]:
        levels, count = self._levels(half), self.cells[half]
        if not count:
            return [(level, None) for level in levels]
        if alpha is None or len(alpha[half]) != count:
            found = "none" if alpha is None else f"those of {len(alpha[half])}"
            raise ValueError(f"the generator has {count} searchable {half} cells, weights given: {found}")
        return list(zip(levels, alpha[half].unbind(), strict=True))

    def keep_strongest(self, alpha: Alpha) -> "Pix2Pix":
        """A copy with the strongest operation of every cell alone, its α folded in; it needs no α."""
        kept = copy.deepcopy(self)
        for half in ("down", "up"):
            for level, weights in kept._weighted_levels(half, alpha):
                if weights is not None:
                    level.convolution = cast(SearchableCell, level.convolution).keep_strongest(weights)
        return kept


def choose_depth(image_size: int | Sequence[int], depth: int | None) -> int:
    """Levels of the U-Net: log2 of the smaller side, rounded down, at most 8, or `depth` where that fits."""
    side = image_size if isinstance(image_size, int) else min(image_size)
    if side < 32:
        raise UserError(f"image_size is {image_size}; the generator needs at least 32 pixels on each side")
    deepest = min(int(math.log2(side)), MAX_DEPTH)
    if depth is not None and not 2 <= depth <= deepest:
        raise UserError(f"generator.depth is {depth}; an image of {image_size} pixels allows 2 to {deepest}, or null")
    return depth or deepest


def pad_even(x: Tensor) -> Tensor:
    """Add a row and a column of zeros where H or W is odd."""
    odd_rows, odd_columns = x.shape[-2] % 2, x.shape[-1] % 2
    return F.pad(x, (0, odd_columns, 0, odd_rows)) if odd_rows or odd_columns else x
