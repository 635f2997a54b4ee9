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
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.errors import UserError
from genseg_betty.generators.layers import build_encoder, build_norm, build_stage, crop, initialise, pad_to_multiple
from genseg_betty.generators.search_space import SearchSpace
from genseg_betty.generators.searchable import Alpha, SearchableGenerator, spread_shapes
from genseg_betty.generators.shapes import Shapes

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
        with_position = first + 4 * count_periods(tile)
        self.layers = list(pairwise([with_position, *others]))
        self.sizes: list[int] = []
        for inputs, outputs in self.layers:
            kernel = inputs * outputs
            bias = outputs
            self.sizes.append(kernel + bias)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """x [B, M, H, W] and weights [B, sum(sizes), H / tile, W / tile] -> [B, C, H, W] in -1..1."""
        count, _, height, width = x.shape
        y = self._split_into_pixels(x)
        for i, (kernel, bias) in enumerate(self._split_weights(weights)):
            if i:
                y = F.leaky_relu(y, SLOPE)
            y = y @ kernel + bias
        # From [B, rows, columns, pixels, C] back to an image.
        y = y.unflatten(3, (self.tile, self.tile))
        y = y.permute(0, 5, 1, 3, 2, 4)
        y = y.reshape(count, -1, height, width)
        return torch.tanh(y)

    def _split_into_pixels(self, x: Tensor) -> Tensor:
        """[B, rows, columns, pixels, M + position]: the pixels of each tile, each with its position in the tile."""
        count, channels, height, width = x.shape
        side = self.tile
        rows = height // side
        columns = width // side
        tiles = x.reshape(count, channels, rows, side, columns, side)
        tiles = tiles.permute(0, 2, 4, 3, 5, 1)
        position = encode_position(side, x)
        position = position.expand(count, rows, columns, -1, -1, -1)
        pixels = torch.cat([tiles, position], dim=-1)
        return pixels.flatten(3, 4)

    def _split_weights(self, weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The kernel [B, rows, columns, inputs, outputs] and the bias [B, rows, columns, 1, outputs] of each layer."""
        of_tiles = weights.permute(0, 2, 3, 1)
        of_layers = of_tiles.split(self.sizes, dim=-1)
        for (inputs, outputs), of_layer in zip(self.layers, of_layers, strict=True):
            kernel, bias = of_layer.split([inputs * outputs, outputs], dim=-1)
            kernel = kernel.unflatten(-1, (inputs, outputs))
            bias = bias.unsqueeze(-2)
            yield kernel, bias

    @torch.no_grad()
    def draw(self) -> Tensor:
        """Weights [sum(sizes)] of one perceptron that keeps the variance of its input (He et al., 2015)."""
        pieces = []
        for inputs, outputs in self.layers:
            deviation = math.sqrt(2 / inputs)
            kernel = torch.randn(inputs * outputs) * deviation
            bias = torch.zeros(outputs)
            pieces += [kernel, bias]
        return torch.cat(pieces)


def count_periods(tile: int) -> int:
    """Number of the periods tile, tile / 2, ..., 2."""
    return int(math.log2(tile))


def encode_position(tile: int, like: Tensor) -> Tensor:
    """Sines and cosines of row and column with the periods tile, tile / 2, ..., 2: [tile, tile, 4 log2(tile)]."""
    at = torch.arange(tile, device=like.device, dtype=like.dtype)
    exponents = torch.arange(count_periods(tile), device=like.device, dtype=like.dtype)
    periods = tile / 2.0**exponents
    angles = 2 * math.pi * at.unsqueeze(1) / periods
    waves = torch.cat([angles.cos(), angles.sin()], dim=1)
    of_rows = waves.unsqueeze(1).expand(-1, tile, -1)
    of_columns = waves.unsqueeze(0).expand(tile, -1, -1)
    return torch.cat([of_rows, of_columns], dim=-1)


class ASAPNet(SearchableGenerator):
    """Generator G of perceptrons, the weights of which a network with searchable cells predicts. Images only.

    The mask is continued beyond its border (last row, last column) up to a multiple of 2^depth, and the image cropped.

    Args:
        shapes: see `Shapes`.
        space: see `SearchSpace`; its depth None takes log2 of a quarter of the smaller side, at most 8.
        tile: pixels that share a perceptron's weights along each axis, a power of two up to 2^depth; None takes a
            quarter of 2^depth, for a grid of 16x16 as published.
        blocks: residual blocks on the smallest map.
        mlp_channels: width of the perceptrons; None takes `base_channels`.
        mlp_layers: their layers.
    """

    @spread_shapes
    def __init__(
        self,
        shapes: Shapes,
        space: SearchSpace,
        tile: int | None = None,
        blocks: int = 7,
        mlp_channels: int | None = None,
        mlp_layers: int = 5,
    ) -> None:
        super().__init__()
        space.check_images("asapnet")
        if mlp_layers < 1:
            raise UserError(f"generator.mlp_layers is {mlp_layers}; at least 1 is needed")
        halvings = shapes.count_halvings()
        usual = min(halvings - 2, MAX_DEPTH)
        self.depth = space.choose_depth(shapes, deepest=halvings - 1, usual=usual)
        tile = choose_tile(tile, self.depth)
        widths = space.list_widths(self.depth)
        # From the mask to the smallest map, residual blocks there, and up to the grid of tiles.
        channels = [shapes.in_channels, *widths]
        self.down = build_encoder(space, channels, nn.ReLU, norm="instance", is_last_normalised=True)
        self.blocks = nn.Sequential(*(Residual(widths[-1]) for _ in range(blocks)))
        ups = self.depth - count_periods(tile)
        rising = widths[::-1][: ups + 1]
        self.up = nn.ModuleList()
        for of_stage in pairwise(rising):
            stage = build_stage(space, "decoder", of_stage, nn.ReLU(), "instance")
            self.up.append(stage)
        # A 1x1 convolution predicts the perceptrons of all tiles; its bias is the one that they start from.
        hidden = [mlp_channels or space.base_channels] * (mlp_layers - 1)
        channels = [shapes.in_channels, *hidden, shapes.out_channels]
        self.perceptrons = TiledPerceptrons(channels, tile)
        weights = sum(self.perceptrons.sizes)
        self.predict = nn.Conv2d(rising[-1], weights, 1)
        self.apply(initialise)
        self.predict.bias = nn.Parameter(self.perceptrons.draw())

    def forward(self, condition: Tensor, alpha: Alpha | None = None) -> Tensor:
        """Encoded masks [B, M, H, W] in -1..1 -> images [B, C, H, W] in -1..1."""
        rows = self.rows(alpha)
        padded = pad_to_multiple(condition, 2**self.depth)
        x = padded
        skips = []
        for level in self.down:
            x = level(x, rows)
            skips.append(x)
        x = self.blocks(skips.pop())
        for level in self.up:
            x = level(x, rows) + skips.pop()
        weights = self.predict(F.relu(x))
        return crop(self.perceptrons(padded, weights), condition)


def choose_tile(tile: int | None, depth: int) -> int:
    """Side of a tile: `tile` where it is a power of two up to 2^depth; None leaves two levels below the grid."""
    if tile is None:
        return 2 ** max(depth - UPS, 1)
    allowed = [2**i for i in range(1, depth + 1)]
    if tile not in allowed:
        choice = f"at depth {depth} choose one of {allowed}, or null"
        raise UserError(f"generator.tile is {tile}; {choice}")
    return tile
