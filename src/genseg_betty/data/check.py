"""Every fault of a dataset in one report, and the same checks before training."""

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from omegaconf import DictConfig

from genseg_betty.data.case import Case
from genseg_betty.data.cases import scan_dataset
from genseg_betty.data.class_counts import absent_class_findings
from genseg_betty.data.dataset import Dataset
from genseg_betty.data.files import Finding
from genseg_betty.data.formats import Header, ImageError, bit_depth, read_header, read_image
from genseg_betty.data.labels import HALF
from genseg_betty.data.masks import fit_on_image
from genseg_betty.data.near_copies import near_copies, near_duplicate_findings, parting_fault
from genseg_betty.data.places import Places, note_of_turned
from genseg_betty.data.signatures import file_signature
from genseg_betty.data.splits import Splits, TooFew, make_splits

TINY = 0.0005  # share of the image (33 pixels at 256 x 256) below which a class is easily lost in resizing
READ_ALL = 300_000_000  # pixels; datasets up to here, a few seconds' worth, are read in full before training

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


@dataclass
class _Seen:
    """What reading one case brought to light."""

    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    pixels: int = 0
    image: Header | None = None  # None where it cannot be read
    counts: np.ndarray | None = None  # pixels of each class; None where there is a fault
    digest: bytes = b""
    signature: np.ndarray | None = None


def check_dataset(config: Mapping[str, Any] | DictConfig, tell: Tell | None = None) -> CheckReport:
    """Read every file of a dataset and tell all faults. Raises UserError only where there is no folder.

    `tell` is called with the cases that are read and their number, now and then.
    """
    dataset, findings = scan_dataset(config)
    drawn = dataset.root is None  # phantoms are not read
    places = Places()
    seen = [_Seen() for _ in dataset.cases] if drawn else _each(dataset.cases, partial(_read, dataset, places), tell)
    errors = [*findings, *(finding for one in seen for finding in one.errors), *_mixed(dataset, seen)]
    warnings = [finding for one in seen for finding in one.warnings] + _duplicates(dataset, seen)
    signatures = {case.id: one.signature for case, one in zip(dataset.cases, seen, strict=True)}
    near_copies(dataset, {id: own for id, own in signatures.items() if own is not None})
    counts = [one.counts for one in seen if one.counts is not None]
    warnings += absent_class_findings(dataset.classes, counts)
    split_or_note(dataset, config, 0, errors)
    warnings += near_duplicate_findings(dataset)
    sound = sum(not one.errors for one in seen)
    ids = [case.id for case in dataset.cases]
    notes = [*dataset.notes, *places.notes(), *_note_of_mixture(places, ids)]
    return CheckReport(dataset.name, dataset.root, sound, errors, warnings, notes)


def _note_of_mixture(places: Places, ids: Sequence[str]) -> list[str]:
    orientations = [places.orientations.get(id) for id in ids]
    return note_of_turned("the dataset", orientations, places.usual(ids), whose="most")


def split_or_note(
    dataset: Dataset, config: Mapping[str, Any] | DictConfig, seed: int, findings: list[Finding]
) -> Splits:
    """The splits that the dataset's keys ask for; if they do not fit, empty ones and a finding `too_few`.

    A given split that parts copies of one picture is a finding as well.
    """
    findings += parting_fault(dataset)[0]
    try:
        return make_splits(dataset, config.get("n_labelled"), config.get("n_test"), seed)
    except TooFew as error:
        explained = findings and not dataset.cases  # no image has its mask: why not is told, and no more are needed
        if not explained and all(finding.code != "too_few" for finding in findings):
            findings.append(Finding("too_few", ".", str(error)))
        return Splits([], [], [])


def faults_before_training(dataset: Dataset, used: Iterable[str], places: Places | None = None) -> list[Finding]:
    """The errors of a dataset about to be trained or tested on; `used` are the ids of the cases that will be.

    All headers are read; all pixels too where the dataset is small, else those of the cases that are used. What the
    headers say of places is added to `places`.
    """
    if dataset.root is None:  # phantoms are drawn, not read
        return []
    seen = _each(dataset.cases, partial(_read_headers, dataset, places or Places()))
    wanted = set(used)
    everything = sum(one.pixels for one in seen) <= READ_ALL
    pairs = zip(dataset.cases, seen, strict=True)
    _each([(case, one) for case, one in pairs if everything or case.id in wanted], partial(_read_pixels, dataset))
    return [finding for one in seen for finding in one.errors] + _mixed(dataset, seen)


def places_of(dataset: Dataset, cases: Sequence[Case]) -> Places:
    """What the headers of some cases say of places; files that are at fault say nothing."""
    places = Places()
    if dataset.root is not None:
        _each(cases, partial(_read_headers, dataset, places))
    return places


def _each(items: Sequence[In], check: Callable[[In], Out], tell: Tell | None = None) -> list[Out]:
    """`check` of every item, several at once: Pillow decodes outside Python's lock."""
    results = []
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for result in pool.map(check, items):
            results.append(result)
            if tell:
                tell(len(results), len(items))
    return results


def _read(dataset: Dataset, places: Places, case: Case) -> _Seen:
    """All that can be known of a case."""
    return _read_pixels(dataset, (case, _read_headers(dataset, places, case)), for_copies=True)


def _read_headers(dataset: Dataset, places: Places, case: Case) -> _Seen:
    """Sizes, spacings and places alone: fast, and blind to what a file's pixels hold."""
    seen = _Seen()
    seen.image = _header(dataset, places, case.image, seen)
    if seen.image:
        places.add_image(case.id, seen.image)
    for path in case.masks:
        _header(dataset, places, path, seen, seen.image)
    return seen


def _header(
    dataset: Dataset, places: Places, path: Path, seen: _Seen, image: Header | None = None
) -> Header | None:
    """The header of a file, whose faults are noted; that of a mask must fit on its image's."""
    try:
        header = read_header(path)
        seen.pixels += math.prod(header.shape)
        if header.doubt:
            places.doubts.append(f"{_below(dataset, path)}: {header.doubt}")
        if image is not None and fit_on_image(header, image, dataset.scaled_masks) is not None:
            places.add_turned_mask(header, image)
    except ImageError as error:
        seen.errors.append(_finding(dataset, error.code, path, str(error)))
        return None
    return header


def _read_pixels(dataset: Dataset, pair: tuple[Case, _Seen], for_copies: bool = False) -> _Seen:
    """Add what the pixels of a case show to what its headers have shown, `for_copies` what tells copies too.

    Files at fault are left alone, but a mask that does not fit its image may hold unknown labels as well.
    """
    case, seen = pair
    misfits = {finding.file for finding in seen.errors if finding.code.endswith("_mismatch")}
    at_fault = {finding.file for finding in seen.errors} - misfits
    on_image, masks = None, []
    for path in (case.image, *case.masks):
        file = _below(dataset, path)
        if file in at_fault:
            continue
        try:
            if path == case.image:
                image = read_image(path)
                on_image = replace(seen.image, shape=image.shape[:-1]) if seen.image else None
                if for_copies:
                    seen.digest = hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest()
                    seen.signature = file_signature(path, image)
            else:
                masks.append(_decode(dataset, path, None if file in misfits else on_image, seen))
        except ImageError as error:
            seen.errors.append(_finding(dataset, error.code, path, str(error)))
    if not seen.errors:
        _judge(dataset, case, np.maximum.reduce(masks), seen)
    return seen


def _decode(dataset: Dataset, path: Path, image: Header | None, seen: _Seen) -> np.ndarray:
    indices, blurred = dataset.read_mask(path, image)
    if blurred:
        message = (
            "has in-between pixels, as of a resized or JPEG mask; values above "
            f"{dataset.labels.threshold or HALF} are taken as foreground (dataset.threshold=… sets another)"
        )
        seen.warnings.append(_finding(dataset, "lossy_mask", path, message))
    return indices


def _judge(dataset: Dataset, case: Case, mask: np.ndarray, seen: _Seen) -> None:
    """Warn of a truth without foreground, or with a class that resizing is likely to lose."""
    counts = np.bincount(mask.ravel(), minlength=len(dataset.classes))
    seen.counts = counts
    if not counts[1:].any():
        message = "has no foreground; fine if nothing is there to segment"
        seen.warnings.append(_finding(dataset, "empty_mask", case.masks[0], message))
    for name, count in zip(dataset.classes[1:], counts[1:], strict=True):
        if 0 < count < TINY * mask.size:
            message = f"{name} covers {count} of {mask.size} pixels; resized, it may vanish"
            seen.warnings.append(_finding(dataset, "tiny_foreground", case.masks[0], message))


def _mixed(dataset: Dataset, seen: Sequence[_Seen]) -> list[Finding]:
    """Images unlike most: one scale serves all of a dataset, and one network takes either images or volumes."""
    if dataset.root is None:
        return []
    pairs = zip(dataset.cases, seen, strict=True)
    axes = {case.image: len(one.image.shape) for case, one in pairs if one.image}
    bits: dict[Path, int] = {}
    for path in axes:
        with suppress(ImageError):  # told by the other checks
            if depth := bit_depth(path):
                bits[path] = depth
    kinds = {2: "an image", 3: "a volume"}
    return [
        *_unusual(
            dataset, axes, "size_mismatch",
            lambda found, usual, share: f"is {kinds[found]}, {share} are {kinds[usual]} each; expected one kind: "
            "choose it by dataset.images, or move the others away",
        ),
        *_unusual(
            dataset, bits, "unreadable",
            lambda found, usual, share: f"holds {found} bits a value, {share} hold {usual}; expected one depth, for "
            "their intensities do not compare: save it as the others",
        ),
    ]  # fmt: skip


def _unusual(
    dataset: Dataset, values: Mapping[Path, int], code: str, describe: Callable[[int, int, str], str]
) -> list[Finding]:
    """One finding for each file whose value is not the most frequent one."""
    counts = Counter(values.values())
    usual = max(counts, key=lambda value: counts[value], default=0)
    share = f"{counts[usual]} of {len(dataset.cases)} images"
    return [
        _finding(dataset, code, path, describe(found, usual, share)) for path, found in values.items() if found != usual
    ]


def _duplicates(dataset: Dataset, seen: Sequence[_Seen]) -> list[Finding]:
    first: dict[bytes, Case] = {}
    found = []
    for case, one in zip(dataset.cases, seen, strict=True):
        if one.digest and first.setdefault(one.digest, case) is not case:
            message = (
                f"is the same image as {first[one.digest].image.name}; one may end in training and one in "
                "test, so remove one"
            )
            found.append(_finding(dataset, "duplicate", case.image, message))
    return found


def _finding(dataset: Dataset, code: str, path: Path, message: str) -> Finding:
    return Finding(code, _below(dataset, path), message)


def _below(dataset: Dataset, path: Path) -> str:
    assert dataset.root is not None
    return path.relative_to(dataset.root).as_posix()
