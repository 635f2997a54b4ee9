"""What every searchable generator G has in common: where its cells are, and how α reaches them (GenSeg, Methods).

A generator is built of layers of which some are `SearchableCell`s. It declares them by being made of them: the cells
of its encoder are those that halve a map, those of its decoder double one, in the order in which they are registered.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Literal, Self, get_args

import torch
from torch import Tensor, nn

from genseg_betty.errors import UserError
from genseg_betty.generators.cells import OF_CELLS, OPERATIONS, Operation, SearchableCell

Alpha = Mapping[str, Tensor]  # {"down": [n, K], "up": [n, K]}
Rows = Mapping[nn.Module, Tensor]  # α of each cell, [K]
Searched = Literal["both", "decoder", "encoder"]
HALVES = ("down", "up")
LEAST_SIDE = 32  # pixels


def build_convolution(
    half: str, searched: str, inputs: int, outputs: int, bias: bool, fused: str,
    operations: tuple[Operation, ...] = OPERATIONS, spatial_dims: int = 2,
) -> nn.Module:  # fmt: skip
    """A searchable cell where `searched` (both, encoder or decoder) names this half and there are several
    operations, else the first operation alone. Raises UserError where `searched` is none of these."""
    if searched not in get_args(Searched):
        raise UserError(f"generator.searched is {searched!r}; choose both, decoder or encoder")
    transposed = half == "decoder"
    if searched in ("both", half) and len(operations) > 1:
        return SearchableCell(inputs, outputs, transposed, operations, bias, fused, spatial_dims)
    return OF_CELLS[spatial_dims][transposed](inputs, outputs, *operations[0], bias=bias)


def images_only(name: str, spatial_dims: int) -> None:
    """Raises UserError where a generator of images is asked for volumes."""
    if spatial_dims != 2:
        raise UserError(f"generator {name} draws images, not volumes; take generator=pix2pix3d for volumes")


def sides_of(image_size: int | Sequence[int]) -> list[int]:
    """Height and width, or depth, height and width; one number stands for a square."""
    return [image_size] * 2 if isinstance(image_size, int) else list(image_size)


def halvings(image_size: int | Sequence[int]) -> int:
    """How often the smaller side can be halved, log2 of it rounded down. Raises UserError below 32 pixels."""
    side = min(sides_of(image_size))
    if side < LEAST_SIDE:
        raise UserError(f"image_size is {image_size}; the generator needs at least {LEAST_SIDE} pixels on each side")
    return int(math.log2(side))


def choose_depth(image_size: int | Sequence[int], depth: int | None, deepest: int, usual: int) -> int:
    """Levels of a generator: `depth` where it lies within 2..deepest, or the `usual` ones. Raises UserError."""
    if depth is not None and not 2 <= depth <= deepest:
        raise UserError(f"generator.depth is {depth}; an image of {image_size} pixels allows 2 to {deepest}, or null")
    return depth or usual


def convolve(layer: nn.Module, x: Tensor, rows: Rows) -> Tensor:
    """A layer that may be a searchable cell: then with its weights."""
    return layer(x, rows[layer]) if isinstance(layer, SearchableCell) else layer(x)


class SearchableGenerator(nn.Module):
    """A generator whose forward takes `alpha` last: the weights {"down": [n, K], "up": [n, K]} of its cells."""

    @property
    def cells(self) -> dict[str, int]:
        """Number of searchable cells: {"down": n, "up": n}."""
        return {half: len(self._cells(half)) for half in HALVES}

    def rows(self, alpha: Alpha | None) -> Rows:
        """The weights of each cell. Raises ValueError where they are not as many as the cells."""
        rows: dict[nn.Module, Tensor] = {}
        for half in HALVES:
            cells = list(self._cells(half).values())
            given = () if alpha is None or not cells else alpha[half].unbind()
            if len(given) != len(cells):
                found = "none" if alpha is None else f"those of {len(given)}"
                raise ValueError(f"the generator has {len(cells)} searchable {half} cells, weights given: {found}")
            rows |= dict(zip(cells, given, strict=True))
        return rows

    @torch.no_grad()
    def keep_strongest(self, alpha: Alpha) -> Self:
        """A copy with the strongest operation of every cell alone, its α folded in; it needs no α."""
        kept = copy.deepcopy(self)
        rows = kept.rows(alpha)
        for half in HALVES:
            for name, cell in kept._cells(half).items():
                owner, _, place = name.rpartition(".")
                setattr(kept.get_submodule(owner), place, cell.keep_strongest(rows[cell]))
        return kept

    def _cells(self, half: str) -> dict[str, SearchableCell]:
        return {
            name: module
            for name, module in self.named_modules()
            if isinstance(module, SearchableCell) and module.transposed == (half == "up")
        }
