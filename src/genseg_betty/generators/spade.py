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

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.generators.cells import CONVOLUTIONS
from genseg_betty.generators.discriminators import normalise_spectrally
from genseg_betty.generators.layers import build_encoder, build_norm, crop, initialise, pad_to_multiple
from genseg_betty.generators.search_space import SearchSpace
from genseg_betty.generators.searchable import Alpha, SearchableGenerator, convolve, spread_shapes
from genseg_betty.generators.shapes import Shapes

MAX_DEPTH = 5  # the published number of times a map doubles
MAX_HIDDEN = 128  # and the published width of the maps read from the mask
SLOPE = 0.2


class Modulation(nn.Module):
    """Spatially adaptive normalisation: norm(x) · (1 + γ(mask)) + β(mask) (Park et al., Eq. 1-3).

    Args:
        channels: of x.
        condition_channels: of the encoded mask.
        hidden: width of the map read from the mask.
    """

    def __init__(self, channels: int, condition_channels: int, hidden: int, spatial_dims: int = 2) -> None:
        super().__init__()
        convolution, _ = CONVOLUTIONS[spatial_dims]
        self.norm = build_norm("instance", channels, spatial_dims)
        self.read = convolution(condition_channels, hidden, 3, padding=1)
        self.scale_and_shift = convolution(hidden, 2 * channels, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x [B, C, h, w] and the encoded mask [B, M, H, W], of which every (H/h)-th pixel is read, -> [B, C, h, w]."""
        shrunk = F.interpolate(condition, size=x.shape[2:])
        scale_and_shift = self.scale_and_shift(F.relu(self.read(shrunk)))
        scale, shift = scale_and_shift.chunk(2, dim=1)
        return self.norm(x) * (1 + scale) + shift


class Block(nn.Module):
    """Residual block of one width: twice a modulation, a leaky ReLU and a 3x3 convolution."""

    def __init__(self, channels: int, condition_channels: int, hidden: int, spatial_dims: int = 2) -> None:
        super().__init__()
        convolution, _ = CONVOLUTIONS[spatial_dims]
        self.modulations = nn.ModuleList()
        for _ in range(2):
            self.modulations.append(Modulation(channels, condition_channels, hidden, spatial_dims))
        self.convolutions = nn.ModuleList()
        for _ in range(2):
            self.convolutions.append(convolution(channels, channels, 3, padding=1))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        y = x
        for modulate, convolution in zip(self.modulations, self.convolutions, strict=True):
            y = modulate(y, condition)
            y = convolution(F.leaky_relu(y, SLOPE))
        return x + y

    def normalise_convolutions(self) -> None:
        """Divide the weights of the convolutions by their largest singular value from now on."""
        for convolution in self.convolutions:
            normalise_spectrally(convolution)


class SPADE(SearchableGenerator):
    """Generator G of modulated residual blocks with searchable cells between them.

    The mask is continued beyond its border (last row, last column) up to a multiple of 2^depth, and the image cropped.

    Args:
        shapes: see `Shapes`.
        space: see `SearchSpace`; its depth None takes log2 of a quarter of the smaller side, at most 5.
        hidden_channels: width of the maps read from the mask; None takes twice `base_channels`, at most 128.
        spectral: divide the weights of the blocks' convolutions by their largest singular value.
    """

    @spread_shapes
    def __init__(
        self, shapes: Shapes, space: SearchSpace, hidden_channels: int | None = None, spectral: bool = True
    ) -> None:
        super().__init__()
        halvings = shapes.count_halvings()
        usual = min(halvings - 2, MAX_DEPTH)
        self.depth = space.choose_depth(shapes, deepest=halvings - 1, usual=usual)
        hidden = hidden_channels or min(2 * space.base_channels, MAX_HIDDEN)
        widths = space.list_widths(self.depth + 1)
        rising = widths[::-1]
        # The mask is encoded down to the smallest map; blocks and up cells lead from there to the image.
        channels = [shapes.in_channels, *widths[1:]]
        activation = partial(nn.LeakyReLU, SLOPE)
        self.down = build_encoder(space, channels, activation, norm="instance", is_last_normalised=False)
        blocks = []
        for width in rising:
            block = Block(width, shapes.in_channels, hidden, space.spatial_dims)
            blocks.append(block)
        self.blocks = nn.ModuleList(blocks)
        self.up = nn.ModuleList()
        for inputs, outputs in pairwise(rising):
            cell = space.build_convolution("decoder", inputs, outputs, bias=False)
            self.up.append(cell)
        convolution, _ = CONVOLUTIONS[space.spatial_dims]
        self.to_image = convolution(widths[0], shapes.out_channels, 3, padding=1)
        self.apply(initialise)
        if spectral:
            for block in blocks:
                block.normalise_convolutions()

    def forward(self, condition: Tensor, alpha: Alpha | None = None) -> Tensor:
        """Encoded masks [B, M, *] in -1..1 -> images [B, C, *] in -1..1; * is H, W or D, H, W."""
        rows = self.rows(alpha)
        padded = pad_to_multiple(condition, 2**self.depth)
        x = padded
        for level in self.down:
            x = level(x, rows)
        first, *others = self.blocks
        x = first(x, padded)
        for cell, block in zip(self.up, others, strict=True):
            x = block(convolve(cell, x, rows), padded)
        image = self.to_image(F.leaky_relu(x, SLOPE))
        return torch.tanh(crop(image, condition))
