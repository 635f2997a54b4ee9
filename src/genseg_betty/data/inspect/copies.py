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


def group_copies(cases: Sequence[Case], near: Iterable[Sequence[Case]] = ()) -> list[Case]:
    """The cases, groups that hold copies of one image made one: of these the first name stands for all.

    `near` are pairs that count as copies beside those that are equal byte for byte.
    """
    # Each group points to one that stands for it, or to itself: so groups that are joined twice end as one.
    parents = {case.group: case.group for case in cases}
    for same in (*find_copies(cases), *near):
        groups = {_find_root(parents, case.group) for case in same}
        first = min(groups)
        for group in groups:
            parents[group] = first
    grouped = []
    for case in cases:
        group = _find_root(parents, case.group)
        grouped.append(replace(case, group=group))
    return grouped


def find_copies(cases: Iterable[Case]) -> list[list[Case]]:
    """Cases whose images are equal byte for byte and show something, two or more each.

    Sizes are compared before contents, so that hardly a file is read.
    """
    alike = [list(cases)]
    for key in (_list_sizes, _hash_head, content_digest):
        parts = []
        for some in alike:
            parts += _part_by_key(some, key)
        alike = parts
    return [same for same in alike if not _is_blank(same[0].image)]


def _is_blank(path: Path) -> bool:
    """Whether an image has one value everywhere; of what cannot be read nothing is known."""
    with suppress(OSError, ImageError):
        image = read_image(path)
        return bool(image.min() == image.max())
    return False


def hash_pixels(image: np.ndarray) -> bytes:
    """A hash of an image's shape and values, whatever its file is like."""
    shape = str(image.shape).encode()
    content = shape + image.tobytes()
    return hashlib.sha256(content).digest()


def _part_by_key(cases: Iterable[Case], key: Callable[[Path], Hashable]) -> list[list[Case]]:
    """Cases whose images have an equal key, two or more each; what cannot be read is told by the check."""
    parts: dict[Hashable, list[Case]] = defaultdict(list)
    for case in cases:
        with suppress(OSError, ImageError):
            parts[key(case.image)].append(case)
    return [part for part in parts.values() if len(part) > 1]


def _list_sizes(path: Path) -> tuple[int, ...]:
    return tuple(file.stat().st_size for file in content_files(path))


def _hash_head(path: Path) -> bytes:
    """A hash of the beginning of each file of an image."""
    digest = hashlib.sha256()
    for file in content_files(path):
        with file.open("rb") as opened:
            head = opened.read(HEAD)
        digest.update(head)
    return digest.digest()


def _find_root(parents: dict[str, str], group: str) -> str:
    """The group that stands for this one."""
    while parents[group] != group:
        group = parents[group]
    return group
