"""SPADE with searchable up- and downsampling: mask -> image (Park et al., CVPR 2019, arXiv:1903.07291).

Residual blocks whose normalised maps are scaled and shifted, pixel by pixel, by what two convolutions read from the
mask at that resolution; so no normalisation washes the mask out. What differs from the published network:

- The up cells stand where it repeats pixels (nearest neighbour). They also change the width, which its blocks do by a
  third convolution on their shortcut; a block here keeps its width and has a plain shortcut.
- The down cells are new: it begins with a convolution of the mask shrunk to the smallest map, here stride-2 cells
  encode the mask to that map. With `searched: decoder` they are 4x4 convolutions.
- One block at each resolution, where it has two at the second smallest.
- Instance norm in place of synchronised batch norm, which has no use at a few images a step.
- Spectral norm of the blocks' convolutions is a function of their weights (`discriminators.SpectralNorm`), so that a
  step replays. Cells have none: α scales their kernels.

At 256 pixels and 64 channels it has 5 levels and 185 M parameters, 47 M with one operation a cell.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.generators.cells import CONVOLUTIONS
from genseg_betty.generators.discriminators import normalise_spectrally
from genseg_betty.generators.layers import UNetStage, build_norm, crop, initialise, pad_to_multiple
from genseg_betty.generators.search_space import PAPER_SPACE, SearchSpace, count_halvings
from genseg_betty.generators.searchable import Alpha, SearchableGenerator, convolve

MAX_DEPTH = 5  # the published number of times a map doubles
MAX_HIDDEN = 128  # and the published width of the maps read from the mask
SLOPE = 0.2


class Modulation(nn.Module):
    """Spatially adaptive normalisation: norm(x) · (1 + γ(mask)) + β(mask) (Park et al., Eq. 1-3).

    Args:
        channels: of x. condition_channels: of the encoded mask. hidden: width of the map read from the mask.
    """

    def __init__(self, channels: int, condition_channels: int, hidden: int, spatial_dims: int = 2) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[spatial_dims][False]
        self.norm = build_norm("instance", channels, spatial_dims)
        self.read = convolution(condition_channels, hidden, 3, padding=1)
        self.scale_and_shift = convolution(hidden, 2 * channels, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x [B, C, h, w] and the encoded mask [B, M, H, W], of which every (H/h)-th pixel is read, -> [B, C, h, w]."""
        shrunk = F.interpolate(condition, size=x.shape[2:])
        scale, shift = self.scale_and_shift(F.relu(self.read(shrunk))).chunk(2, dim=1)
        return self.norm(x) * (1 + scale) + shift


class Block(nn.Module):
    """Residual block of one width: twice a modulation, a leaky ReLU and a 3x3 convolution."""

    def __init__(self, channels: int, condition_channels: int, hidden: int, spatial_dims: int = 2) -> None:
        super().__init__()
        arguments = channels, condition_channels, hidden, spatial_dims
        self.modulations = nn.ModuleList(Modulation(*arguments) for _ in range(2))
        convolution = CONVOLUTIONS[spatial_dims][False]
        self.convolutions = nn.ModuleList(convolution(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        y = x
        for modulate, convolution in zip(self.modulations, self.convolutions, strict=True):
            y = convolution(F.leaky_relu(modulate(y, condition), SLOPE))
        return x + y


class SPADE(SearchableGenerator):
    """Generator G of modulated residual blocks with searchable cells between them.

    The mask is continued beyond its border (last row, last column) up to a multiple of 2^depth, and the image cropped.

    Args:
        in_channels: channels of the encoded mask, see `encoding.encode_mask`.
        out_channels: channels of the image.
        image_size: (H, W), (D, H, W) or one number for all, at least 32.
        space: what is searched, see `SearchSpace`; depth None takes log2 of a quarter of the smaller side, at most 5.
        hidden_channels: width of the maps read from the mask; None takes twice `base_channels`, at most 128.
        spectral: divide the weights of the blocks' convolutions by their largest singular value.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_size: int | Sequence[int],
        space: SearchSpace = PAPER_SPACE,
        hidden_channels: int | None = None,
        spectral: bool = True,
    ) -> None:
        super().__init__()
        most = count_halvings(image_size)
        self.depth = space.choose_depth(image_size, most - 1, min(most - 2, MAX_DEPTH))
        hidden = hidden_channels or min(2 * space.base_channels, MAX_HIDDEN)
        widths = space.list_widths(self.depth + 1)
        self.down = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise([in_channels, *widths[1:]])):
            normed = 0 < i < self.depth - 1
            self.down.append(
                UNetStage(
                    nn.LeakyReLU(SLOPE) if i else nn.Identity(),
                    space.build_convolution("encoder", inputs, outputs, not normed),
                    build_norm("instance", outputs, space.spatial_dims) if normed else nn.Identity(),
                )
            )
        rising = widths[::-1]
        self.blocks = nn.ModuleList(Block(width, in_channels, hidden, space.spatial_dims) for width in rising)
        self.up = nn.ModuleList(
            space.build_convolution("decoder", inputs, outputs, False) for inputs, outputs in pairwise(rising)
        )
        self.to_image = CONVOLUTIONS[space.spatial_dims][False](widths[0], out_channels, 3, padding=1)
        self.apply(initialise)
        if spectral:
            for block in self.blocks:
                for convolution in block.convolutions:  # type: ignore[union-attr]
                    normalise_spectrally(convolution)

    def forward(self, condition: Tensor, alpha: Alpha | None = None) -> Tensor:
        """Render masks.

        Args:
            condition: encoded masks [B, M, H, W] in -1..1, or [B, M, D, H, W]. alpha: weights of the searchable
            cells {"down": [n, K], "up": [n, K]}; None where no cell is left.

        Returns:
            Images [B, C, H, W] in -1..1, or [B, C, D, H, W].
        """
        rows = self.rows(alpha)
        padded = pad_to_multiple(condition, 2**self.depth)
        x = padded
        for level in self.down:
            x = level(x, rows)
        first, *others = self.blocks
        x = first(x, padded)
        for cell, block in zip(self.up, others, strict=True):
            x = block(convolve(cell, x, rows), padded)
        return torch.tanh(crop(self.to_image(F.leaky_relu(x, SLOPE)), condition))
