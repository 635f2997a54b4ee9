"""What stage III searches, and how wide and deep the network around it is (GenSeg, Methods).

Every family of generators takes one `SearchSpace`. Its fields are flat keys in conf/generator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from genseg_betty.errors import UserError
from genseg_betty.generators.cells import OF_CELLS, Operation, SearchableCell, operations_of
from genseg_betty.generators.shapes import Shapes

Searched = Literal["both", "decoder", "encoder"]
MAX_DEPTH = 8


@dataclass(frozen=True)
class SearchSpace:
    """The searchable cells of a generator and the size of its network.

    Args:
        base_channels: width of the first level; doubled by each next one up to `max_channels`.
        max_channels: the largest width.
        depth: levels; None leaves the choice to the family.
        searched: the half whose layers are searchable cells: `both`, `decoder` or `encoder`.
        fused: see `cells.SearchableCell`.
        kernels: sizes of the operations that a cell chooses among; a single one leaves nothing to search.
        spatial_dims: 2 for images, 3 for volumes.
    """

    base_channels: int = 64
    max_channels: int = 512
    depth: int | None = None
    searched: Searched = "both"
    fused: str = "auto"
    kernels: Sequence[int] = (4, 6, 8)
    spatial_dims: int = 2

    def list_widths(self, levels: int) -> list[int]:
        """Channels of this many levels, from the outermost to the innermost."""
        return [min(self.base_channels * 2**i, self.max_channels) for i in range(levels)]

    def choose_depth(self, shapes: Shapes, deepest: int, usual: int) -> int:
        """Levels: `depth` where it lies within 2..deepest; the `usual` ones where it is None. Raises UserError."""
        if self.depth is None:
            return usual
        if not 2 <= self.depth <= deepest:
            allowed = f"an image of {shapes.image_size} pixels allows 2 to {deepest}, or null"
            raise UserError(f"generator.depth is {self.depth}; {allowed}")
        return self.depth

    def check_images(self, name: str) -> None:
        """Raise UserError where the generator `name`, which draws images alone, is asked for volumes."""
        if self.spatial_dims != 2:
            raise UserError(f"generator {name} draws images, not volumes; take generator=pix2pix3d for volumes")

    def build_convolution(self, half: str, inputs: int, outputs: int, bias: bool) -> nn.Module:
        """A layer that halves a map (`half` is `encoder`) or doubles it (`decoder`).

        It is a searchable cell where this half is searched and there are several operations, else the first operation
        alone. Raises UserError where `searched` or `kernels` are no choice.
        """
        operations: tuple[Operation, ...] = operations_of(self.kernels)
        if self.searched not in get_args(Searched):
            raise UserError(f"generator.searched is {self.searched!r}; choose both, decoder or encoder")
        transposed = half == "decoder"
        if self.searched in ("both", half) and len(operations) > 1:
            return SearchableCell(
                inputs,
                outputs,
                transposed,
                operations=operations,
                bias=bias,
                fused=self.fused,
                spatial_dims=self.spatial_dims,
            )
        convolution = OF_CELLS[self.spatial_dims][transposed]
        return convolution(inputs, outputs, *operations[0], bias=bias)


PAPER_SPACE = SearchSpace()
"""The paper's cells, at the widths of Pix2Pix."""
