"""Every fault of a dataset in one report, and the same checks before training."""

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from genseg_betty.data.cases import Case, Dataset, scan_dataset
from genseg_betty.data.files import Finding
from genseg_betty.data.formats import ImageError, bit_depth, mismatch, read_header, read_image, read_mask
from genseg_betty.data.splits import Splits, TooFew, make_splits

TINY = 0.0005  # share of the image (33 pixels at 256 x 256) below which a class is easily lost in resizing
READ_ALL = 300_000_000  # pixels; datasets up to here, a few seconds' worth, are read in full before training


@dataclass
class CheckReport:
    """What `genseg data check` says: the number of sound pairs, the errors and the warnings."""

    dataset: str
    root: Path | None
    pairs: int
    errors: list[Finding]
    warnings: list[Finding]

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
    digest: bytes = b""


def check_dataset(config: Mapping[str, Any] | DictConfig) -> CheckReport:
    """Read every file of a dataset and tell all faults. Raises UserError only where there is no folder."""
    dataset, findings = scan_dataset(config)
    seen = [_Seen()] * len(dataset.cases) if dataset.root is None else _each(dataset, dataset.cases, _read)
    errors = [*findings, *(finding for one in seen for finding in one.errors), *_mixed_depths(dataset)]
    warnings = [finding for one in seen for finding in one.warnings] + _duplicates(dataset, seen)
    split_or_note(dataset, config, 0, errors)
    return CheckReport(dataset.name, dataset.root, sum(not one.errors for one in seen), errors, warnings)


def split_or_note(
    dataset: Dataset, config: Mapping[str, Any] | DictConfig, seed: int, findings: list[Finding]
) -> Splits:
    """The splits that the dataset's keys ask for; if they do not fit, empty ones and a finding `too_few`."""
    try:
        return make_splits(dataset, config.get("n_labelled"), config.get("n_test"), seed)
    except TooFew as error:
        if all(finding.code != "too_few" for finding in findings):
            findings.append(Finding("too_few", ".", str(error)))
        return Splits([], [], [])


def faults_before_training(dataset: Dataset, used: Iterable[str]) -> list[Finding]:
    """The errors of a dataset about to be trained or tested on; `used` are the ids of the cases that will be.

    All headers are read; all pixels too where the dataset is small, else those of the cases that are used.
    """
    if dataset.root is None:  # phantoms are drawn, not read
        return []
    headers = _each(dataset, dataset.cases, _read_headers)
    ids = {case.id for case in dataset.cases}
    if sum(one.pixels for one in headers) > READ_ALL:
        ids &= set(used)
    read = iter(_each(dataset, [case for case in dataset.cases if case.id in ids], _read))
    results = [next(read) if case.id in ids else one for case, one in zip(dataset.cases, headers, strict=True)]
    return [finding for one in results for finding in one.errors] + _mixed_depths(dataset)


def _each(dataset: Dataset, cases: Iterable[Case], check: Callable[[Dataset, Case], _Seen]) -> list[_Seen]:
    """Run a check on cases, several at once: Pillow decodes outside Python's lock."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda case: check(dataset, case), cases))


def _read_headers(dataset: Dataset, case: Case) -> _Seen:
    """Sizes alone: fast, and blind to what a file's pixels hold."""
    seen = _Seen()
    image_size = None
    for path in (case.image, *case.masks):
        try:
            size = read_header(path).shape
            seen.pixels += math.prod(size)
            image_size = size if path == case.image else image_size
            _require_equal(size, image_size)
        except ImageError as error:
            seen.errors.append(_finding(dataset, error.code, path, str(error)))
    return seen


def _read(dataset: Dataset, case: Case) -> _Seen:
    seen = _Seen()
    image_size = None
    try:
        image = read_image(case.image)
        image_size = image.shape[:2]
        seen.digest = hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest()
    except ImageError as error:
        seen.errors.append(_finding(dataset, error.code, case.image, str(error)))
    masks = []
    for path in case.masks:
        try:
            values = read_mask(path)
            _require_equal(values.shape, image_size)
            indices, blurred = dataset.labels.decode(values)
        except ImageError as error:
            seen.errors.append(_finding(dataset, error.code, path, str(error)))
            continue
        masks.append(indices)
        if blurred:
            message = "has in-between pixels, as of a resized or JPEG mask; values above 127 are taken as 255"
            seen.warnings.append(_finding(dataset, "lossy_mask", path, message))
    if not seen.errors:
        _judge(dataset, case, np.maximum.reduce(masks), seen)
    return seen


def _judge(dataset: Dataset, case: Case, mask: np.ndarray, seen: _Seen) -> None:
    """Warn of a truth without foreground, or with a class that resizing is likely to lose."""
    counts = np.bincount(mask.ravel(), minlength=len(dataset.classes))
    if not counts[1:].any():
        message = "has no foreground; fine if nothing is there to segment"
        seen.warnings.append(_finding(dataset, "empty_mask", case.masks[0], message))
    for name, count in zip(dataset.classes[1:], counts[1:], strict=True):
        if 0 < count < TINY * mask.size:
            message = f"{name} covers {count} of {mask.size} pixels; resized, it may vanish"
            seen.warnings.append(_finding(dataset, "tiny_foreground", case.masks[0], message))


def _mixed_depths(dataset: Dataset) -> list[Finding]:
    """One scale serves all images of a dataset, so 8- and 16-bit files cannot be told apart once they are read."""
    if dataset.root is None:
        return []
    bits: dict[Path, int] = {}
    for case in dataset.cases:
        with suppress(ImageError):  # told by the other checks
            if depth := bit_depth(case.image):
                bits[case.image] = depth
    depths = Counter(bits.values())
    usual = max(depths, key=lambda depth: depths[depth], default=0)
    return [
        _finding(
            dataset,
            "unreadable",
            path,
            f"holds {found} bits a value, {depths[usual]} of {len(dataset.cases)} images hold {usual}; expected one "
            "depth, for their intensities do not compare: save it as the others",
        )
        for path, found in bits.items()
        if found != usual
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


def _require_equal(size: tuple[int, ...], image_size: tuple[int, ...] | None) -> None:
    if image_size is not None and tuple(size) != tuple(image_size):
        raise ImageError("size_mismatch", mismatch(size, image_size))


def _finding(dataset: Dataset, code: str, path: Path, message: str) -> Finding:
    assert dataset.root is not None
    return Finding(code, path.relative_to(dataset.root).as_posix(), message)
