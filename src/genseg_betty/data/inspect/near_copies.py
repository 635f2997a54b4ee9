"""Near copies in a dataset: looked for once, and written down.

The search reads every labelled image, so what it found is kept in the cache with the state of the files, and holds
while that does. Drawn phantoms are never copies.
"""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from genseg_betty.data.cache.ledger import State, code_version, settled_now, stat_files
from genseg_betty.data.cache.store import Cache, key_of
from genseg_betty.data.formats import ImageError, read_header
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset

Pair = tuple[Case, Case]
MANY = 100  # images from which the search is announced: it may take longer than a moment
MAX_THREADS = 4


def find_near_copies(dataset: Dataset, signatures: Mapping[str, np.ndarray] | None = None) -> list[Pair]:
    """Pairs of cases whose images are almost certainly the same picture, of those that a split could part wrongly.

    Cases of one group are never compared, nor are those of one part of the user's own split file. `signatures` by
    case id are those known already. What cannot be read is left to the check.
    """
    if dataset.root is None:
        return []
    if dataset.near_copies is None:
        dataset.near_copies = _search_copies(dataset, signatures)
    return dataset.near_copies


def list_own_parts(dataset: Dataset) -> dict[str, str]:
    """The part of each case by the user's own split file, by case id; empty where there is none."""
    parts = {}
    for part, ids in dataset.own_split.items():
        for id in ids:
            parts[id] = part
    return parts


def _search_copies(dataset: Dataset, signatures: Mapping[str, np.ndarray] | None) -> list[Pair]:
    """The pairs as they were written down, or found anew."""
    cases = dataset.cases
    labels = _label_cases(dataset)
    states = [_find_state(case.image) for case in cases]
    files = []
    for case, state, label in zip(cases, states, labels, strict=True):
        files.append([str(case.image), state, label])
    cache = Cache.from_environment()
    key = key_of("near copies", code_version(), files)
    written = None
    if None not in states:
        written = cache.get(key)
    if written is not None:
        return _pair_cases(cases, written.note)

    # They are looked for anew, and written down unless a file has only just changed.
    known_states = [state for state in states if state is not None]
    if signatures is None:
        readable = [case for case, state in zip(cases, states, strict=True) if state is not None]
        signatures = _read_signatures(readable)
    pairs = _compare_cases(cases, labels, signatures)
    if settled_now(known_states):
        with warnings.catch_warnings(action="ignore"):  # a cache that cannot be written is told by the reader
            cache.put(key, pairs)
    return _pair_cases(cases, pairs)


def _label_cases(dataset: Dataset) -> list[str]:
    """A label for each case, so that cases of one label are never compared: its part if the user gave parts."""
    parts = list_own_parts(dataset)
    if not parts:
        return [case.group for case in dataset.cases]
    labels = []
    for case in dataset.cases:
        label = parts.get(case.id, f"in no part: {case.id}")
        labels.append(label)
    return labels


def _pair_cases(cases: Sequence[Case], pairs: Sequence[tuple[int, int]]) -> list[Pair]:
    return [(cases[i], cases[j]) for i, j in pairs]


def _compare_cases(
    cases: Sequence[Case], labels: Sequence[str], signatures: Mapping[str, np.ndarray]
) -> list[tuple[int, int]]:
    """Pairs of places in `cases`, of the cases that have a signature."""
    places = [place for place, case in enumerate(cases) if case.id in signatures]
    if len(places) < 2:
        return []
    from genseg_betty.data.inspect.similar import find_near_duplicates  # by PyTorch: not before it is needed

    compared = [cases[place] for place in places]
    images = np.stack([signatures[case.id] for case in compared])
    apart = [labels[place] for place in places]
    volumes = not _are_pictures(compared)
    pairs = find_near_duplicates(images, [apart], volumes=volumes)
    return [(places[i], places[j]) for i, j in pairs]


def _are_pictures(cases: Sequence[Case]) -> bool:
    """Whether no case is a volume, nor one whose header the check has to tell of."""
    with suppress(OSError, ImageError):
        return all(len(read_header(case.image).shape) == 2 for case in cases)
    return False


def _read_signatures(cases: Sequence[Case]) -> dict[str, np.ndarray]:
    """By case id, of the images that can be read; several are decoded at once."""
    console = Console(stderr=True, highlight=False)
    is_long = len(cases) >= MANY
    if is_long:
        announced = f"looking for copies among {len(cases)} images; what is found is kept"
        console.print(announced, markup=False)
    found = {}
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        results: Iterator[np.ndarray | None] = pool.map(_read_signature, cases)
        followed = track(
            results,
            "copies",
            len(cases),
            console=console,
            transient=True,
            disable=not (is_long and console.is_terminal),
        )
        for case, signature in zip(cases, followed, strict=True):
            if signature is not None:
                found[case.id] = signature
    return found


def _read_signature(case: Case) -> np.ndarray | None:
    """The signature of a case's image; None where that cannot be read."""
    from genseg_betty.data.inspect.signatures import read_image_signature

    try:
        return read_image_signature(case.image)
    except (OSError, ImageError):
        return None


def _find_state(path: Path) -> State | None:
    """The state of an image's files; None where they cannot be asked for it."""
    try:
        return stat_files(path)
    except (OSError, ImageError):
        return None
