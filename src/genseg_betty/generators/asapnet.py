"""ASAPNet with a searchable low-resolution network: mask -> image (Shaham et al., CVPR 2021, arXiv:2012.02992).

A convolutional network on a small map predicts, for every tile of the image, the weights of a perceptron that turns
each pixel of the tile (its mask and its position in the tile) into an intensity. What differs from the published
network:

- The down cells stand for its stride-2 convolutions and for the bilinear shrinking before them. They go two levels
  below the grid of tiles, and as many up cells lead back to it, each added to the map of its size on the way down: it
  has no upsampling of its own to search.
- No convolution at full resolution: the first cell reads the mask.
- Widths double with each level; it keeps 64 channels and then jumps to 1024. Instance norm has no scale of its own.
- The perceptrons start as one and the same (He et al., 2015), as biases of the layer that predicts them.

A perceptron sees no neighbour, so what varies within a tile is drawn by the mask and by position alone. At 256 pixels
and 64 channels it has 6 levels down, 2 up, tiles of 16x16 pixels and 182 M parameters; 60 M with one operation a cell.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.errors import UserError
from genseg_betty.generators.layers import UNetStage, build_norm, crop, initialise, pad_to_multiple
from genseg_betty.generators.search_space import PAPER_SPACE, SearchSpace, count_halvings
from genseg_betty.generators.searchable import Alpha, SearchableGenerator

MAX_DEPTH = 8
UPS = 2
SLOPE = 0.01  # of the perceptrons' leaky ReLU


class Residual(nn.Module):
    """x plus two 3x3 convolutions of it, normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            build_norm("instance", channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            build_norm("instance", channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class TiledPerceptrons(nn.Module):
    """One perceptron a tile, evaluated at each of its pixels; it holds no weights of its own.

    Args:
        channels: input, hidden ... and output channels, the position encoding not counted.
        tile: pixels on the side of a tile, a power of two.
    """

    def __init__(self, channels: Sequence[int], tile: int) -> None:
        super().__init__()
        self.tile = tile
        first, *others = channels
        self.layers = list(pairwise([first + 4 * int(math.log2(tile)), *others]))
        self.sizes = [inputs * outputs + outputs for inputs, outputs in self.layers]

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """x [B, M, H, W] and weights [B, sum(sizes), H / tile, W / tile] -> [B, C, H, W] in -1..1."""
        count, channels, height, width = x.shape
        side, rows, columns = self.tile, height // self.tile, width // self.tile
        tiles = x.reshape(count, channels, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
        position = encode_position(side, x).expand(count, rows, columns, -1, -1, -1)
        y = torch.cat([tiles, position], dim=-1).flatten(3, 4)
        of_layers = weights.permute(0, 2, 3, 1).split(self.sizes, dim=-1)
        for i, ((inputs, outputs), of_layer) in enumerate(zip(self.layers, of_layers, strict=True)):
            kernel, bias = of_layer.split([inputs * outputs, outputs], dim=-1)
            y = F.leaky_relu(y, SLOPE) if i else y
            y = y @ kernel.unflatten(-1, (inputs, outputs)) + bias.unsqueeze(-2)
        y = y.unflatten(3, (side, side)).permute(0, 5, 1, 3, 2, 4)
        return torch.tanh(y.reshape(count, -1, height, width))

    @torch.no_grad()
    def draw(self) -> Tensor:
        """Weights [sum(sizes)] of one perceptron that keeps the variance of its input (He et al., 2015)."""
        pieces = [
            piece
            for inputs, outputs in self.layers
            for piece in (torch.randn(inputs * outputs) * math.sqrt(2 / inputs), torch.zeros(outputs))
        ]
        return torch.cat(pieces)


def encode_position(tile: int, like: Tensor) -> Tensor:
    """Sines and cosines of row and column with the periods tile, tile / 2, ..., 2: [tile, tile, 4 log2(tile)]."""
    at = torch.arange(tile, device=like.device, dtype=like.dtype)
    periods = tile / 2.0 ** torch.arange(int(math.log2(tile)), device=like.device, dtype=like.dtype)
    angles = 2 * math.pi * at[:, None] / periods
    waves = torch.cat([angles.cos(), angles.sin()], dim=1)
    return torch.cat([waves[:, None].expand(-1, tile, -1), waves[None].expand(tile, -1, -1)], dim=-1)


class ASAPNet(SearchableGenerator):
    """Generator G of perceptrons, the weights of which a network with searchable cells predicts. Images only.

    The mask is continued beyond its border (last row, last column) up to a multiple of 2^depth, and the image cropped.

    Args:
        in_channels: channels of the encoded mask, see `encoding.encode_mask`.
        out_channels: channels of the image.
        image_size: (H, W) or one number for both, at least 32.
        space: what is searched, see `SearchSpace`; depth None takes
            log2 of a quarter of the smaller side, at most 8.
        tile: pixels that share a perceptron's weights along each axis, a power of two up to 2^depth; None takes a
            quarter of 2^depth, for a grid of 16x16 as published.
        blocks: residual blocks on the smallest map.
        mlp_channels: width of the perceptrons; None takes `base_channels`.
        mlp_layers: their layers.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_size: int | Sequence[int],
        space: SearchSpace = PAPER_SPACE,
        tile: int | None = None,
        blocks: int = 7,
        mlp_channels: int | None = None,
        mlp_layers: int = 5,
    ) -> None:
        super().__init__()
        space.check_images("asapnet")
        if mlp_layers < 1:
            raise UserError(f"generator.mlp_layers is {mlp_layers}; at least 1 is needed")
        most = count_halvings(image_size)
        self.depth = space.choose_depth(image_size, most - 1, min(most - 2, MAX_DEPTH))
        tile = choose_tile(tile, self.depth)
        widths = space.list_widths(self.depth)
        self.down = nn.ModuleList(
            UNetStage(
                nn.ReLU() if i else nn.Identity(),
                space.build_convolution("encoder", inputs, outputs, not i),
                build_norm("instance", outputs) if i else nn.Identity(),
            )
            for i, (inputs, outputs) in enumerate(pairwise([in_channels, *widths]))
        )
        self.blocks = nn.Sequential(*(Residual(widths[-1]) for _ in range(blocks)))
        ups = self.depth - int(math.log2(tile))
        rising = widths[::-1][: ups + 1]
        self.up = nn.ModuleList(
            UNetStage(
                nn.ReLU(),
                space.build_convolution("decoder", inputs, outputs, False),
                build_norm("instance", outputs),
            )
            for inputs, outputs in pairwise(rising)
        )
        hidden = [mlp_channels or space.base_channels] * (mlp_layers - 1)
        self.perceptrons = TiledPerceptrons([in_channels, *hidden, out_channels], tile)
        self.predict = nn.Conv2d(rising[-1], sum(self.perceptrons.sizes), 1)
        self.apply(initialise)
        self.predict.bias = nn.Parameter(self.perceptrons.draw())

    def forward(self, condition: Tensor, alpha: Alpha | None = None) -> Tensor:
        """Render masks.

        Args:
            condition: encoded masks [B, M, H, W] in -1..1. alpha: weights of the searchable cells
            {"down": [n, K], "up": [n, K]}; None where no cell is left.

        Returns:
            Images [B, C, H, W] in -1..1.
        """
        rows = self.rows(alpha)
        padded = pad_to_multiple(condition, 2**self.depth)
        x, skips = padded, []
        for level in self.down:
            x = level(x, rows)
            skips.append(x)
        x = self.blocks(skips.pop())
        for level in self.up:
            x = level(x, rows) + skips.pop()
        return crop(self.perceptrons(padded, self.predict(F.relu(x))), condition)


def choose_tile(tile: int | None, depth: int) -> int:
    """Side of a tile: `tile` where it is a power of two up to 2^depth; None leaves two levels below the grid."""
    if tile is None:
        return 2 ** max(depth - UPS, 1)
    allowed = [2**i for i in range(1, depth + 1)]
    if tile not in allowed:
        raise UserError(f"generator.tile is {tile}; at depth {depth} choose one of {allowed}, or null")
    return tile
