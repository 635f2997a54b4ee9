"""Pix2Pix with a searchable U-Net: mask -> image (Isola et al., CVPR 2017; GenSeg, Methods and Fig. 1b).

Every down and up convolution of the U-Net is a searchable cell (`cells.SearchableCell`) in the searched
halves, and the original 4x4, stride 2, padding 1 elsewhere. At 256 pixels and 64 channels it has 8 levels
and 394 M parameters; 272 M with the decoder alone searched, as in the reference, and 54 M with one
operation a cell.
"""

from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from genseg_betty.generators.layers import build_encoder, build_stage, initialise, run_decoder, run_encoder
from genseg_betty.generators.search_space import MAX_DEPTH, SearchSpace
from genseg_betty.generators.searchable import Alpha, SearchableGenerator, spread_shapes
from genseg_betty.generators.shapes import Shapes

DROPOUT_LEVELS = 3
SLOPE = 0.2


class Pix2Pix(SearchableGenerator):
    """U-Net generator G with searchable cells.

    Level i of `depth` brings the size to ceil(size / 2^i): an odd map first gets a row or column of zeros,
    which is what a convolution pads with anyway, and the decoder crops it away again.

    The first and the innermost down cell and the last up cell have no norm. The outer two carry intensities. The
    innermost map is a single pixel where the image is a power of two, and instance norm of one pixel is always 0.

    Args:
        shapes: see `Shapes`.
        space: see `SearchSpace`; its depth None takes log2 of the smaller side, at most 8.
        dropout: its probability, in those of the three innermost up levels whose output has `max_channels`.
        norm: `instance` or `batch`.
    """

    @spread_shapes
    def __init__(
        self, shapes: Shapes, space: SearchSpace, dropout: float = 0.5, norm: Literal["instance", "batch"] = "instance"
    ) -> None:
        super().__init__()
        deepest = min(shapes.count_halvings(), MAX_DEPTH)
        depth = space.choose_depth(shapes, deepest, deepest)
        widths = space.list_widths(depth)
        # A stage up reads what the stage below made and, but for the innermost, the map of its size on the way down.
        channels = [shapes.in_channels, *widths]
        activation = partial(nn.LeakyReLU, SLOPE)
        self.down = build_encoder(space, channels, activation, norm, is_last_normalised=False)
        self.up = nn.ModuleList()
        rising = [*reversed(widths), shapes.out_channels]
        for i, (inputs, outputs) in enumerate(pairwise(rising)):
            skipped = inputs if i else 0
            is_last = i == depth - 1
            drops = not is_last and i < DROPOUT_LEVELS and outputs == space.max_channels
            stage = build_stage(
                space,
                "decoder",
                (inputs + skipped, outputs),
                activation=nn.ReLU(),
                norm=None if is_last else norm,
                dropout=dropout if drops else 0.0,
            )
            self.up.append(stage)
        self.apply(initialise)

    def forward(self, condition: Tensor, alpha: Alpha | None = None) -> Tensor:
        """Encoded masks [B, M, *] in -1..1 -> images [B, C, *] in -1..1; * is H, W or D, H, W."""
        rows = self.rows(alpha)
        x, skips = run_encoder(self.down, condition, rows)
        return torch.tanh(run_decoder(self.up, x, skips, rows))
