"""Every fault of a dataset in one report, and the same checks before training."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig

from genseg_betty.data.cases import scan_dataset
from genseg_betty.data.inspect.check_case import Seen, read_case, read_headers, read_pixels
from genseg_betty.data.inspect.check_together import find_duplicates, find_mixtures
from genseg_betty.data.inspect.class_counts import warn_of_absent_classes
from genseg_betty.data.inspect.near_copies import find_near_copies
from genseg_betty.data.inspect.parted_copies import report_parted_copies, warn_of_near_duplicates
from genseg_betty.data.places import Places, note_of_turned
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding
from genseg_betty.data.splits import Splits, TooFew, make_splits

READ_ALL = 300_000_000  # pixels; datasets up to here, a few seconds' worth, are read in full before training
MAX_THREADS = 4

In = TypeVar("In")
Out = TypeVar("Out")
Tell = Callable[[int, int], object]  # called with the cases that are done and their number


@dataclass
class CheckReport:
    """What `genseg data check` says: the number of sound pairs, the errors and the warnings."""

    dataset: str
    root: Path | None
    pairs: int
    errors: list[Finding]
    warnings: list[Finding]
    notes: Sequence[str] = ()  # what a conversion passed over

    def to_dict(self) -> dict[str, Any]:
        """The object of `genseg data check --json`."""
        return {
            "dataset": self.dataset,
            "root": str(self.root) if self.root else None,
            "pairs": self.pairs,
            "errors": [asdict(finding) for finding in self.errors],
            "warnings": [asdict(finding) for finding in self.warnings],
        }


def check_dataset(config: Mapping[str, Any] | DictConfig, tell: Tell | None = None) -> CheckReport:
    """Read every file of a dataset and tell all faults. Raises UserError only where there is no folder.

    `tell` is called with the cases that are read and their number, now and then.
    """
    dataset, findings = scan_dataset(config)
    places = Places()
    seen = _read_cases(dataset, places, tell)
    errors = list(findings)
    warnings: list[Finding] = []
    for one in seen:
        errors += one.errors
        warnings += one.warnings
    errors += find_mixtures(dataset, seen)
    warnings += find_duplicates(dataset, seen)
    counts = [one.counts for one in seen if one.counts is not None]
    warnings += warn_of_absent_classes(dataset.classes, counts)

    # The search for copies takes the thumbnails that reading has made, and what needs its pairs comes after it.
    signatures = {}
    for case, one in zip(dataset.cases, seen, strict=True):
        if one.signature is not None:
            signatures[case.id] = one.signature
    find_near_copies(dataset, signatures)
    split_or_note(dataset, config, 0, errors)
    warnings += warn_of_near_duplicates(dataset)
    return CheckReport(
        dataset=dataset.name,
        root=dataset.root,
        pairs=sum(not one.errors for one in seen),
        errors=errors,
        warnings=warnings,
        notes=[*dataset.notes, *places.notes(), *_note_turned(dataset, places)],
    )


def _read_cases(dataset: Dataset, places: Places, tell: Tell | None) -> list[Seen]:
    if dataset.root is None:  # phantoms are drawn, not read
        return [Seen() for _ in dataset.cases]
    return _map_cases(partial(read_case, dataset, places), dataset.cases, tell)


def _note_turned(dataset: Dataset, places: Places) -> list[str]:
    """What to say of a dataset whose images are stored in several orientations."""
    ids = [case.id for case in dataset.cases]
    orientations = [places.orientations.get(id) for id in ids]
    usual = places.usual(ids)
    return note_of_turned("the dataset", orientations, usual, whose="most")


def split_or_note(
    dataset: Dataset, config: Mapping[str, Any] | DictConfig, seed: int, findings: list[Finding]
) -> Splits:
    """The splits that the dataset's keys ask for; if they do not fit, empty ones and a finding `too_few`.

    A given split that parts copies of one picture is a finding as well.
    """
    parting, _ = report_parted_copies(dataset)
    findings += parting
    n_labelled = config.get("n_labelled")
    n_test = config.get("n_test")
    try:
        return make_splits(dataset, n_labelled, n_test, seed)
    except TooFew as error:
        is_told = any(finding.code == "too_few" for finding in findings)
        explained = findings and not dataset.cases  # no image has its mask: why not is told, and no more are needed
        if not (is_told or explained):
            findings.append(Finding("too_few", ".", str(error)))
        return Splits([], [], [])


def faults_before_training(dataset: Dataset, used: Iterable[str], places: Places | None = None) -> list[Finding]:
    """The errors of a dataset about to be trained or tested on; `used` are the ids of the cases that will be.

    All headers are read; all pixels too where the dataset is small, else those of the cases that are used. What the
    headers say of places is added to `places`.
    """
    if dataset.root is None:  # phantoms are drawn, not read
        return []
    seen = _read_headers(dataset, dataset.cases, places or Places())
    pixels = sum(one.pixels for one in seen)
    wanted = set(used)
    pairs = []
    for case, one in zip(dataset.cases, seen, strict=True):
        if pixels <= READ_ALL or case.id in wanted:
            pairs.append((case, one))
    _map_cases(partial(read_pixels, dataset), pairs)
    findings = []
    for one in seen:
        findings += one.errors
    return findings + find_mixtures(dataset, seen)


def places_of(dataset: Dataset, cases: Sequence[Case]) -> Places:
    """What the headers of some cases say of places; files that are at fault say nothing."""
    places = Places()
    if dataset.root is not None:
        _read_headers(dataset, cases, places)
    return places


def _read_headers(dataset: Dataset, cases: Sequence[Case], places: Places) -> list[Seen]:
    return _map_cases(partial(read_headers, dataset, places), cases)


def _map_cases(check: Callable[[In], Out], items: Sequence[In], tell: Tell | None = None) -> list[Out]:
    """`check` of every item, several at once: Pillow decodes outside Python's lock."""
    results = []
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        for result in pool.map(check, items):
            results.append(result)
            if tell:
                tell(len(results), len(items))
    return results
