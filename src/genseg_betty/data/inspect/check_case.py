"""What the files of one case hold, and what is wrong with them."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from genseg_betty.data.formats import Header, ImageError, read_header, read_image
from genseg_betty.data.inspect.copies import pixel_digest
from genseg_betty.data.inspect.signatures import file_signature
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
    return read_pixels(dataset, (case, read_headers(dataset, places, case)), for_copies=True)


def read_headers(dataset: Dataset, places: Places, case: Case) -> Seen:
    """Sizes, spacings and places alone: fast, and blind to what a file's pixels hold."""
    seen = Seen()
    seen.image = _header(dataset, places, case.image, seen)
    if seen.image:
        places.add_image(case.id, seen.image)
    for path in case.masks:
        _header(dataset, places, path, seen, seen.image)
    return seen


def _header(dataset: Dataset, places: Places, path: Path, seen: Seen, image: Header | None = None) -> Header | None:
    """The header of a file, whose faults are noted; that of a mask must fit on its image's."""
    try:
        header = read_header(path)
        seen.pixels += math.prod(header.shape)
        if header.doubt:
            places.doubts.append(f"{dataset.path_below(path)}: {header.doubt}")
        if image is not None and fit_on_image(header, image, dataset.scaled_masks) is not None:
            places.add_turned_mask(header, image)
    except ImageError as error:
        seen.errors.append(finding_of(dataset, error.code, path, str(error)))
        return None
    return header


def read_pixels(dataset: Dataset, pair: tuple[Case, Seen], for_copies: bool = False) -> Seen:
    """Add what the pixels of a case show to what its headers have shown, `for_copies` what tells copies too.

    Files at fault are left alone, but a mask that does not fit its image may hold unknown labels as well.
    """
    case, seen = pair
    misfits = {finding.file for finding in seen.errors if finding.code.endswith("_mismatch")}
    at_fault = {finding.file for finding in seen.errors} - misfits
    on_image, masks = None, []
    for path in (case.image, *case.masks):
        file = dataset.path_below(path)
        if file in at_fault:
            continue
        try:
            if path == case.image:
                image = read_image(path)
                on_image = replace(seen.image, shape=image.shape[:-1]) if seen.image else None
                if for_copies:
                    seen.digest = pixel_digest(image)
                    seen.signature = file_signature(path, image)
            else:
                masks.append(_decode(dataset, path, None if file in misfits else on_image, seen))
        except ImageError as error:
            seen.errors.append(finding_of(dataset, error.code, path, str(error)))
    if not seen.errors:
        _judge(dataset, case, np.maximum.reduce(masks), seen)
    return seen


def _decode(dataset: Dataset, path: Path, image: Header | None, seen: Seen) -> np.ndarray:
    indices, blurred = dataset.read_mask(path, image)
    if blurred:
        message = (
            "has in-between pixels, as of a resized or JPEG mask; values above "
            f"{dataset.labels.threshold or HALF} are taken as foreground (dataset.threshold=… sets another)"
        )
        seen.warnings.append(finding_of(dataset, "lossy_mask", path, message))
    return indices


def _judge(dataset: Dataset, case: Case, mask: np.ndarray, seen: Seen) -> None:
    """Warn of a truth without foreground, or with a class that resizing is likely to lose."""
    counts = np.bincount(mask.ravel(), minlength=len(dataset.classes))
    seen.counts = counts
    if not counts[1:].any():
        message = "has no foreground; fine if nothing is there to segment"
        seen.warnings.append(finding_of(dataset, "empty_mask", case.masks[0], message))
    for name, count in zip(dataset.classes[1:], counts[1:], strict=True):
        if 0 < count < TINY * mask.size:
            message = f"{name} covers {count} of {mask.size} pixels; resized, it may vanish"
            seen.warnings.append(finding_of(dataset, "tiny_foreground", case.masks[0], message))


def finding_of(dataset: Dataset, code: str, path: Path, message: str) -> Finding:
    return Finding(code, dataset.path_below(path), message)
