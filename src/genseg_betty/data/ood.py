"""Datasets that a run is tested on beside its own: opened, and held against the one that it is trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from genseg_betty.data.bundle import TestSets
from genseg_betty.data.cache.prepared import CachedReader
from genseg_betty.data.cache.store import Cache
from genseg_betty.data.cases import describe_findings, scan_dataset
from genseg_betty.data.comparable import require_alike
from genseg_betty.data.places import note_of_turned
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding
from genseg_betty.data.splits import Splits, unseen_cases
from genseg_betty.errors import UserError


@dataclass
class Training:
    """The dataset that is trained on, as the others are held against it."""

    reader: CachedReader
    splits: Splits
    contents: Mapping[str, str]  # `fingerprints` of train and validation
    config: Mapping[str, Any] | DictConfig  # the keys of its YAML

    @property
    def dataset(self) -> Dataset:
        """Its cases."""
        return self.reader.dataset


def add_ood_dataset(config: Mapping[str, Any], trained: Training, cache: Cache, test: TestSets) -> None:
    """Add a dataset, and the cases of it that a run has not learned from, to what is tested on.

    Args:
        config: the keys of its YAML, with what the user puts in their place.
        trained: what it is held against; its notes say what the user should know of the two.
        cache: what is known of its files.
        test: what is tested on by now.

    Raises:
        UserError: it has faults, is of another kind, or is tested on already.
    """
    name = config["name"]
    if name in test or name == trained.dataset.name:
        raise UserError(f"{name} is tested on already; name each dataset once")
    dataset, findings = scan_dataset(config)
    n_test = config.get("n_test") or trained.config.get("n_test") or None
    cases = unseen_cases(dataset, trained.dataset, trained.splits, n_test, trained.contents.values())
    test[dataset.name] = (dataset, cases)
    _require_usable(dataset, cases, trained, findings, cache)
    train_cases = trained.dataset.select_cases(trained.splits.train)
    in_units = trained.config.get("intensity") != "each"
    require_alike(dataset, cases, trained.dataset, train_cases, in_units)


def note_turned_cases(reader: CachedReader, ids: Sequence[str], wanted: str | None) -> list[str]:
    """`note_of_turned` of some cases, whose faults were looked for before."""
    orientations = [reader.places.orientations.get(id) for id in ids]
    return note_of_turned(reader.dataset.name, orientations, wanted)


def _require_usable(
    dataset: Dataset, cases: Sequence[Case], trained: Training, findings: list[Finding], cache: Cache
) -> None:
    """Refuse a dataset that cannot be scored; `findings` are the faults of its pairing."""
    _require_same_classes(dataset, trained.dataset)
    ids = [case.id for case in cases]
    reader = CachedReader(dataset, cache)
    findings += reader.find_faults(ids)
    if findings:
        raise UserError(describe_findings(dataset, findings))
    reader.save()
    notes = trained.dataset.notes
    notes += [f"{dataset.name}: {note}" for note in reader.places.notes()]
    notes += note_turned_cases(reader, ids, trained.reader.orientation)
    if not cases:
        raise UserError(f"{dataset.name}: every labelled case is trained or validated on; none is left to test on")


def _require_same_classes(dataset: Dataset, trained: Dataset) -> None:
    """Refuse a dataset of other classes; where both have two, they may have any names."""
    are_binary = len(dataset.classes) == len(trained.classes) == 2
    if not trained.cases or are_binary or dataset.classes == trained.classes:
        return
    found = ", ".join(dataset.classes)
    expected = ", ".join(trained.classes)
    raise UserError(
        f"{dataset.name} has the classes {found}, {trained.name} has "
        f"{expected}; expected the same in their order (of two, any), declare or merge them with "
        "the dataset's `labels` and `foreground`"
    )
