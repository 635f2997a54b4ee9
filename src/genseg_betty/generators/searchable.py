"""What every searchable generator G has in common: its arguments, its cells, and how α reaches them (GenSeg, Methods).

A generator is built of layers, and some of them are `SearchableCell`s. It need not list its cells: those of its encoder
halve a map, those of its decoder double one, and they run in the order in which they are registered.
"""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from inspect import Signature, signature
from typing import Any, Self

import torch
from torch import Tensor, nn

from genseg_betty.generators.cells import SearchableCell
from genseg_betty.generators.search_space import PAPER_SPACE, SearchSpace
from genseg_betty.generators.shapes import Shapes

Alpha = Mapping[str, Tensor]  # {"down": [n, K], "up": [n, K]}
Rows = Mapping[nn.Module, Tensor]  # α of each cell, [K]
Constructor = Callable[..., None]
HALVES = ("down", "up")


def spread_shapes(constructor: Constructor) -> Constructor:
    """Let a constructor of (shapes, space, …) take the fields of `Shapes` one by one.

    `__init__(self, shapes, space, norm)` becomes
    `__init__(self, in_channels, out_channels, image_size, space=PAPER_SPACE, norm)`.
    """

    def construct(
        self: nn.Module,
        in_channels: int,
        out_channels: int,
        image_size: int | Sequence[int],
        space: SearchSpace = PAPER_SPACE,
        *args: Any,
        **own: Any,
    ) -> None:
        shapes = Shapes(in_channels, out_channels, image_size)
        constructor(self, shapes, space, *args, **own)

    # The new constructor tells those who inspect it what it takes: the arguments above, then the family's own.
    all_shared = list(signature(construct).parameters.values())
    all_own = list(signature(constructor).parameters.values())
    parameters = all_shared[:-2] + all_own[3:]
    functools.update_wrapper(construct, constructor)
    vars(construct)["__signature__"] = Signature(parameters)
    construct.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters[1:]}
    return construct


def convolve(layer: nn.Module, x: Tensor, rows: Rows) -> Tensor:
    """Call a layer on x [B, C, *]; a searchable cell also takes its weights."""
    if isinstance(layer, SearchableCell):
        return layer(x, rows[layer])
    return layer(x)


class SearchableGenerator(nn.Module):
    """A generator whose forward takes `alpha` last: the weights {"down": [n, K], "up": [n, K]} of its cells.

    `alpha` is None where no cell is left.
    """

    @property
    def cells(self) -> dict[str, int]:
        """Number of searchable cells: {"down": n, "up": n}."""
        return {half: len(self._find_cells(half)) for half in HALVES}

    def rows(self, alpha: Alpha | None) -> Rows:
        """The weights of each cell. Raises ValueError where there are not as many as cells."""
        rows: dict[nn.Module, Tensor] = {}
        for half in HALVES:
            cells = list(self._find_cells(half).values())
            given: Sequence[Tensor] = ()
            if cells and alpha is not None:
                given = alpha[half].unbind()
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
            for name, cell in kept._find_cells(half).items():
                owner, _, place = name.rpartition(".")
                strongest = cell.keep_strongest(rows[cell])
                setattr(kept.get_submodule(owner), place, strongest)
        return kept

    def _find_cells(self, half: str) -> dict[str, SearchableCell]:
        cells = {}
        for name, module in self.named_modules():
            if isinstance(module, SearchableCell) and module.transposed == (half == "up"):
                cells[name] = module
        return cells
