"""An experiment of many datasets, some of which are not there: the rest is trained and tested on, these are told."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from genseg_betty.config import compose
from genseg_betty.data.inspect.counting import find_missing_datasets
from genseg_betty.errors import UserError

NAMING = ("dataset", "ood", "experiment")
"""What decides which data a cell needs."""


@dataclass(frozen=True)
class PresentCells:
    """The cells whose data are there, tested on what is there, and a sentence for each dataset that is not."""

    cells: list[list[str]]
    notes: list[str]


def leave_out_missing(cells: Sequence[list[str]], config_dir: Path | None) -> PresentCells:
    """Leave out the cells whose dataset is not there, and the missing datasets that others are tested on as well."""
    kept = []
    left_out: Counter[str] = Counter()
    untested: dict[str, None] = {}
    known: dict[tuple[str, ...], DataNeeds] = {}
    for cell in cells:
        lines = tuple(line for line in cell if _find_group(line) in NAMING)
        if lines not in known:
            known[lines] = _find_needs(lines, config_dir)
        needs = known[lines]
        if needs.fault:
            left_out[needs.fault] += 1
            continue
        untested |= dict.fromkeys(needs.missing.values())
        if needs.missing:
            present = ",".join(name for name in needs.others if name not in needs.missing)
            cell = [*cell, f"ood=[{present}]"]
        kept.append(cell)
    notes = [f"left out, {count} of {len(cells)} cells: {reason}" for reason, count in left_out.items()]
    notes += [f"not tested on: {reason}" for reason in untested]
    return PresentCells(kept, notes)


@dataclass(frozen=True)
class DataNeeds:
    """The datasets that a cell needs.

    Args:
        fault: why the one that it is trained on is not there, "" where it is.
        others: names of those that it is tested on as well.
        missing: those of them that are not there, and why.
    """

    fault: str
    others: list[str]
    missing: dict[str, str]


def _find_group(line: str) -> str:
    """The first word of an override's key: "dataset" of dataset.root=/data."""
    key, _, _ = line.lstrip("+").partition("=")
    return key.partition(".")[0]


def _find_needs(lines: Sequence[str], config_dir: Path | None) -> DataNeeds:
    try:
        config: DictConfig = compose(lines, config_dir)
    except UserError:  # told with all other faults of the cells
        return DataNeeds("", [], {})
    others = [entry if isinstance(entry, str) else str(entry["name"]) for entry in config.ood]
    missing = {name: reason.partition("\n")[0] for name, reason in find_missing_datasets(config)}
    fault = missing.pop(None, "")
    return DataNeeds(fault, others, {str(name): reason for name, reason in missing.items()})
