"""What every searchable generator G has in common: where its cells are, and how α reaches them (GenSeg, Methods).

A generator is built of layers of which some are `SearchableCell`s. It declares them by being made of them: the cells
of its encoder are those that halve a map, those of its decoder double one, in the order in which they are registered.
"""

import copy
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from genseg_betty.generators.cells import SearchableCell

Alpha = Mapping[str, Tensor]  # {"down": [n, K], "up": [n, K]}
Rows = Mapping[nn.Module, Tensor]  # α of each cell, [K]
HALVES = ("down", "up")


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
