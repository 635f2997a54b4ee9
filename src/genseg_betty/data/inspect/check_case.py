"""What the files of one case hold, and what is wrong with them."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from genseg_betty.data.formats import Header, ImageError, read_header, read_image
from genseg_betty.data.inspect.copies import hash_pixels
from genseg_betty.data.inspect.signatures import read_image_signature
from genseg_betty.data.places import Places
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding
from genseg_betty.data.source.labels import HALF
from genseg_betty.data.source.masks import fit_on_image

TINY = 0.0005  # share of the image (33 pixels at 256 x 256) below which a class is easily lost in resizing


@dataclass
class Seen:
    """What reading one case brought to light."""

    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    pixels: int = 0
    image: Header | None = None  # None where it cannot be read
    counts: np.ndarray | None = None  # pixels of each class; None where there is a fault
    digest: bytes = b""
    signature: np.ndarray | None = None


def read_case(dataset: Dataset, places: Places, case: Case) -> Seen:
    """All that can be known of a case."""
    seen = read_headers(dataset, places, case)
    return read_pixels(dataset, (case, seen), for_copies=True)


def read_headers(dataset: Dataset, places: Places, case: Case) -> Seen:
    """Sizes, spacings and places alone: fast, and blind to what a file's pixels hold."""
    seen = Seen()
    seen.image = _read_header(dataset, places, case.image, seen)
    if seen.image:
        places.add_image(case.id, seen.image)
    for path in case.masks:
        _read_header(dataset, places, path, seen, seen.image)
    return seen


def _read_header(
    dataset: Dataset, places: Places, path: Path, seen: Seen, image: Header | None = None
) -> Header | None:
    """The header of a file, whose faults are noted; that of a mask must fit on its image's."""
    try:
        header = read_header(path)
        seen.pixels += math.prod(header.shape)
        if header.doubt:
            file = dataset.path_below(path)
            places.doubts.append(f"{file}: {header.doubt}")
        if image is not None:
            turn = fit_on_image(header, image, dataset.scaled_masks)
            if turn is not None:
                places.add_turned_mask(header, image)
    except ImageError as error:
        _note_fault(dataset, path, error, seen)
        return None
    return header


def read_pixels(dataset: Dataset, pair: tuple[Case, Seen], for_copies: bool = False) -> Seen:
    """Add what the pixels of a case show to what its headers have shown, `for_copies` what tells copies too.

    Files at fault are left alone, but a mask that does not fit its image may hold unknown labels as well.
    """
    case, seen = pair
    misfits: set[str] = set()
    unreadable: set[str] = set()
    for finding in seen.errors:
        is_misfit = finding.code.endswith("_mismatch")
        files = misfits if is_misfit else unreadable
        files.add(finding.file)

    # A file may have several faults: one misfit among them and it is read all the same.
    unreadable -= misfits
    header = None
    if dataset.path_below(case.image) not in unreadable:
        header = _read_image(dataset, case.image, seen, for_copies)
    masks = []
    for path in case.masks:
        file = dataset.path_below(path)
        if file in unreadable:
            continue
        on_image = None if file in misfits else header
        indices = _read_mask(dataset, path, on_image, seen)
        if indices is not None:
            masks.append(indices)
    if not seen.errors:
        _judge_mask(dataset, case, np.maximum.reduce(masks), seen)
    return seen


def _read_image(dataset: Dataset, path: Path, seen: Seen, for_copies: bool) -> Header | None:
    """Read an image, and what tells its copies if that is asked; its header, with the size that was read."""
    header = None
    try:
        image = read_image(path)
        if seen.image:
            header = replace(seen.image, shape=image.shape[:-1])
        if for_copies:
            seen.digest = hash_pixels(image)
            seen.signature = read_image_signature(path, image)
    except ImageError as error:
        _note_fault(dataset, path, error, seen)
    return header


def _read_mask(dataset: Dataset, path: Path, image: Header | None, seen: Seen) -> np.ndarray | None:
    """The class indices of a mask file on its image; None where it cannot be read, which is noted."""
    try:
        indices, blurred = dataset.read_mask(path, image)
    except ImageError as error:
        _note_fault(dataset, path, error, seen)
        return None
    if blurred:
        threshold = dataset.labels.threshold or HALF
        message = (
            "has in-between pixels, as of a resized or JPEG mask; "
            f"values above {threshold} are taken as foreground (dataset.threshold=… sets another)"
        )
        warning = finding_of(dataset, "lossy_mask", path, message)
        seen.warnings.append(warning)
    return indices


def _note_fault(dataset: Dataset, path: Path, error: ImageError, seen: Seen) -> None:
    finding = finding_of(dataset, error.code, path, str(error))
    seen.errors.append(finding)


def _judge_mask(dataset: Dataset, case: Case, mask: np.ndarray, seen: Seen) -> None:
    """Warn of a truth without foreground, or with a class that resizing is likely to lose."""
    counts = np.bincount(mask.ravel(), minlength=len(dataset.classes))
    seen.counts = counts
    path = case.masks[0]
    if not counts[1:].any():
        message = "has no foreground; fine if nothing is there to segment"
        warning = finding_of(dataset, "empty_mask", path, message)
        seen.warnings.append(warning)
    for name, count in zip(dataset.classes[1:], counts[1:], strict=True):
        if 0 < count < TINY * mask.size:
            message = f"{name} covers {count} of {mask.size} pixels; resized, it may vanish"
            warning = finding_of(dataset, "tiny_foreground", path, message)
            seen.warnings.append(warning)


def finding_of(dataset: Dataset, code: str, path: Path, message: str) -> Finding:
    """A finding about a file, which is named by its path below the root."""
    return Finding(code, dataset.path_below(path), message)
