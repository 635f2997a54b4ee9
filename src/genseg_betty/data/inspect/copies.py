"""Images that lie in a dataset twice, byte for byte: a copy must stay with its original, or a test set leaks.

Pictures of one value everywhere, such as the black frames of a video, show nothing and are no copies of each other.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from genseg_betty.data.formats import ImageError, content_digest, content_files, read_image
from genseg_betty.data.source.case import Case

HEAD = 2**16  # bytes that tell most files of one size apart


def with_copies_grouped(cases: Sequence[Case], near: Iterable[Sequence[Case]] = ()) -> list[Case]:
    """The cases, groups that hold copies of one image made one: of these the first name stands for all.

    `near` are pairs that count as copies beside those that are equal byte for byte.
    """
    parents = {case.group: case.group for case in cases}
    for same in (*groups_of_copies(cases), *near):
        groups = sorted({_root(parents, case.group) for case in same})
        parents.update(dict.fromkeys(groups, groups[0]))
    return [replace(case, group=_root(parents, case.group)) for case in cases]


def groups_of_copies(cases: Iterable[Case]) -> list[list[Case]]:
    """Cases whose images are equal byte for byte and show something, two or more each.

    Sizes are compared before contents, so that hardly a file is read.
    """
    alike = [list(cases)]
    for key in (_sizes, _head, content_digest):
        alike = [part for some in alike for part in _parted(some, key)]
    return [same for same in alike if not _is_blank(same[0].image)]


def _is_blank(path: Path) -> bool:
    """Whether an image has one value everywhere; of what cannot be read nothing is known."""
    with suppress(OSError, ImageError):
        image = read_image(path)
        return bool(image.min() == image.max())
    return False


def pixel_digest(image: np.ndarray) -> bytes:
    """A hash of an image's shape and values, whatever its file is like."""
    return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest()


def _parted(cases: Iterable[Case], key: Callable[[Path], Hashable]) -> list[list[Case]]:
    """Cases whose images have an equal key, two or more each; what cannot be read is told by the check."""
    parts: dict[Hashable, list[Case]] = defaultdict(list)
    for case in cases:
        with suppress(OSError, ImageError):
            parts[key(case.image)].append(case)
    return [part for part in parts.values() if len(part) > 1]


def _sizes(path: Path) -> tuple[int, ...]:
    return tuple(file.stat().st_size for file in content_files(path))


def _head(path: Path) -> bytes:
    digest = hashlib.sha256()
    for file in content_files(path):
        with file.open("rb") as opened:
            digest.update(opened.read(HEAD))
    return digest.digest()


def _root(parents: dict[str, str], group: str) -> str:
    while parents[group] != group:
        group = parents[group]
    return group
