"""The contact sheet of `genseg data show`: cases of a dataset in one PNG, each with the outlines of its mask."""

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from genseg_betty.data.inspect.sheet_layout import compose_sheet
from genseg_betty.data.inspect.tiles import Tile, class_colours, draw_tile
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.folds import shuffled
from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, remove_leftovers


def draw_contact_sheet(
    dataset: Dataset, out: Path, count: int = 24, seed: int = 0, title: str | None = None
) -> list[str]:
    """Write a PNG of `count` labelled cases (all, if there are fewer), the least foreground first; returns their ids.

    The cases are spread over groups and foreground and differ with `seed`; no other case is read. A case that cannot
    be read becomes a tile that says why. `title` is that of the dataset, its name where None. Raises UserError where
    there is nothing to show, and where `out` is a file of the dataset.
    """
    if count < 1:
        raise UserError(f"found a count of {count}; expected 1 or more cases to show")
    if not dataset.cases:
        command = f"genseg data check {dataset.name}"
        raise UserError(f"{dataset.name}: has no labelled case to show; `{command}` says why")
    _require_no_input(dataset, out)

    # The tiles are drawn, and ordered by what they show.
    colours = class_colours(len(dataset.classes))
    tiles = []
    for case in _spread_cases(dataset.cases, count, seed):
        tile = draw_tile(dataset, case, colours)
        tiles.append(tile)
    tiles.sort(key=lambda tile: tile.share)

    # The sheet is composed of them and written as a whole or not at all.
    summary = _summarise_cases(dataset, tiles)
    foreground = dataset.classes[1:]
    legend = list(zip(foreground, colours, strict=True))
    sheet = compose_sheet(title or dataset.name, summary, legend, tiles)
    _save_sheet(sheet, out)
    return [tile.id for tile in tiles]


def _save_sheet(sheet: Image.Image, out: Path) -> None:
    png = io.BytesIO()
    sheet.save(png, "PNG")
    folder = out.parent
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers([folder])
    atomic_write(out, png.getvalue())


def _require_no_input(dataset: Dataset, out: Path) -> None:
    """Raise UserError where `out` is a file of the dataset."""
    if not out.exists():
        return
    for case in dataset.cases:
        for file in (case.image, *case.masks):
            if file.exists() and out.samefile(file):
                raise UserError(
                    f"{out} is a file of {dataset.name} and would be overwritten: name another file with --out"
                )


def _spread_cases(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """Of `count` strata from small masks to large ones a case each, of the group least used so far.

    The size of a mask's file stands for its foreground: compressed, the two go together, and nothing has to be read.
    """
    ids = [case.id for case in cases]
    ranks = {}
    for rank, id in enumerate(shuffled(ids, seed)):
        ranks[id] = rank

    def rank_by_size(case: Case) -> tuple[int, int]:
        return _sum_mask_bytes(case), ranks[case.id]

    def rank_by_use(case: Case) -> tuple[int, int]:
        return used[case.group], ranks[case.id]

    used: Counter[str] = Counter()
    chosen = []
    ordered = sorted(cases, key=rank_by_size)
    for stratum in _cut_strata(ordered, count):
        case = min(stratum, key=rank_by_use)
        used[case.group] += 1
        chosen.append(case)
    return chosen


def _cut_strata(cases: Sequence[Case], count: int) -> list[list[Case]]:
    """The cases in `count` parts of nearly equal size, in their order; a part for each, if there are fewer."""
    places = np.arange(len(cases))
    count = min(count, len(cases))
    strata = []
    for part in np.array_split(places, count):
        stratum = [cases[place] for place in part]
        strata.append(stratum)
    return strata


def _sum_mask_bytes(case: Case) -> int:
    """The size of a case's mask files; one that is not there has none."""
    total = 0
    for path in case.masks:
        if path.exists():
            total += path.stat().st_size
    return total


def _summarise_cases(dataset: Dataset, tiles: Sequence[Tile]) -> list[str]:
    """Two lines: what the dataset holds, and what of it is shown."""
    cases = len(dataset.cases)
    groups = len({case.group for case in dataset.cases})
    in_groups = "each a group of its own"
    if groups < cases:
        in_groups = f"in {groups} groups"
    shown = f"{len(tiles)} shown, least foreground first"
    unreadable = sum(tile.share < 0 for tile in tiles)
    if unreadable:
        shown += f"; {unreadable} cannot be read"
    return [
        f"{cases} labelled cases, {in_groups}; {len(dataset.unlabelled)} unlabelled images",
        shown,
    ]
