"""Pix2Pix with a searchable U-Net: mask -> image (Isola et al., CVPR 2017; GenSeg, Methods and Fig. 1b).

Every down and up convolution of the U-Net is a searchable cell (`cells.SearchableCell`) in the searched
halves, and the original 4x4, stride 2, padding 1 elsewhere. At 256 pixels and 64 channels it has 8 levels
and 394 M parameters; 272 M with the decoder alone searched, as in the reference, and 54 M with one
operation a cell.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from genseg_betty.generators.layers import UNetStage, build_norm, crop, initialise, pad_even
from genseg_betty.generators.search_space import MAX_DEPTH, PAPER_SPACE, SearchSpace, count_halvings
from genseg_betty.generators.searchable import Alpha, SearchableGenerator

DROPOUT_LEVELS = 3


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
        space: what is searched, see `SearchSpace`; depth None takes
            log2 of the smaller side, at most 8.
        dropout: its probability, in those of the three innermost up levels whose output has `max_channels`.
        norm: `instance` or `batch`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_size: int | Sequence[int],
        space: SearchSpace = PAPER_SPACE,
        dropout: float = 0.5,
        norm: Literal["instance", "batch"] = "instance",
    ) -> None:
        super().__init__()
        deepest = min(count_halvings(image_size), MAX_DEPTH)
        depth = space.choose_depth(image_size, deepest, deepest)
        widths = space.list_widths(depth)
        self.down = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise([in_channels, *widths])):
            normed = 0 < i < depth - 1
            self.down.append(
                UNetStage(
                    nn.LeakyReLU(0.2) if i else nn.Identity(),
                    space.build_convolution("encoder", inputs, outputs, not normed),
                    build_norm(norm, outputs, space.spatial_dims) if normed else nn.Identity(),
                )
            )
        self.up = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise([*reversed(widths), out_channels])):
            normed = i < depth - 1
            skipped = inputs if i else 0
            self.up.append(
                UNetStage(
                    nn.ReLU(),
                    space.build_convolution("decoder", inputs + skipped, outputs, not normed),
                    build_norm(norm, outputs, space.spatial_dims) if normed else nn.Identity(),
                    dropout if normed and i < DROPOUT_LEVELS and outputs == space.max_channels else 0.0,
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
