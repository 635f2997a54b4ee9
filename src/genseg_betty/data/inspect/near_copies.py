"""Near copies in a dataset: looked for once, written down, kept in one part, and told where a given split parts them.

The search reads every labelled image, so what it found is kept in the cache with the state of the files, and holds
while that does. Drawn phantoms are never copies.
"""

import itertools
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from genseg_betty.data.cache.ledger import code_version, settled_now, stat_files
from genseg_betty.data.cache.store import Cache, key_of
from genseg_betty.data.formats import ImageError, read_header, read_image
from genseg_betty.data.inspect.copies import groups_of_copies, pixel_digest
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding
from genseg_betty.faults import list_examples

Pair = tuple[Case, Case]
MANY = 100  # images from which the search is announced: it may take longer than a moment
REST = "train or validation"
ALLOW = "or accept it knowingly by dataset.copies=allow"


def near_copies(dataset: Dataset, signatures: Mapping[str, np.ndarray] | None = None) -> list[Pair]:
    """Pairs of cases whose images are almost certainly the same picture, of those that a split could part wrongly.

    Cases of one group are never compared, nor are those of one part of the user's own split file. `signatures` by
    case id are those known already. What cannot be read is left to the check.
    """
    if dataset.root is None:
        return []
    if dataset.near_copies is None:
        dataset.near_copies = _searched(dataset, signatures)
    return dataset.near_copies


def parted_copies(dataset: Dataset) -> list[Pair]:
    """Pairs of copies, byte for byte or near, that the given split (not one that we draw) puts into several parts."""
    parts = _given_parts(dataset)
    if not parts or dataset.root is None:
        return []
    same = (pair for group in groups_of_copies(dataset.cases) for pair in itertools.combinations(group, 2))
    pairs = {(a.id, b.id): (a, b) for a, b in (*same, *near_copies(dataset))}
    placed = [pair for ids, pair in sorted(pairs.items()) if parts.keys() >= set(ids)]
    return [(a, b) for a, b in placed if parts[a.id] != parts[b.id]]


def parting_fault(dataset: Dataset) -> tuple[list[Finding], list[str]]:
    """The fault that a given split parts copies: a finding, or a note where it was published or is allowed."""
    pairs = parted_copies(dataset)
    if not pairs:
        return [], []
    parts = _given_parts(dataset)
    placed = {case.id: f"{dataset.path_below(case.image)} ({parts[case.id]})" for pair in pairs for case in pair}
    told = [f"{placed[first.id]} beside {placed[second.id]}" for first, second in pairs]
    count = "1 pair of images looks" if len(pairs) == 1 else f"{len(pairs)} pairs of images look"
    found = f"{count} like the same picture and the split parts them: {list_examples(told)}"
    if dataset.copies == "allow":
        return [], [f"{found}; dataset.copies=allow accepts it, and scores flatter"]
    if dataset.published_split:
        left_out = "scores flatter" if dataset.own_split else "those outside the test part are left out of training"
        return [], [f"{found}. The split is the publisher's, so it stands; {left_out}"]
    mend = f"expected every picture in one part: move one of each pair to the other's part or remove it, {ALLOW}"
    file = dataset.path_below(pairs[0][1].image)
    return [Finding("near_duplicate", file, f"{found}; {mend}")], []


def near_duplicate_findings(dataset: Dataset) -> list[Finding]:
    """Warnings `near_duplicate`, one a pair that is not in one part by a given split.

    Pairs of equal pixels are left to `duplicate`. Raises ImageError where an image can no longer be read.
    """
    parts = _given_parts(dataset)
    pixels = cache(lambda path: pixel_digest(read_image(path)))  # each read once: it may be in many pairs
    found = []
    for first, second in near_copies(dataset):
        places = parts.get(first.id), parts.get(second.id)
        together = places[0] == places[1] and places[0] not in (None, REST)
        if together or pixels(first.image) == pixels(second.image):
            continue
        if places[0] != places[1]:
            then = f" (that one: {places[0]}; this one: {places[1]}); expected a picture in one part alone"
        elif dataset.copies == "allow":
            then = "; the two may come into different parts, as dataset.copies=allow says"
        else:
            then = "; both are kept in one part, so remove one if it is no image of its own"
        message = f"looks like the same picture as {dataset.path_below(first.image)}{then}"
        found.append(Finding("near_duplicate", dataset.path_below(second.image), message))
    return found


def _given_parts(dataset: Dataset) -> dict[str, str]:
    """The part of each case by a split that somebody has given; empty where we draw it."""
    if dataset.own_split:
        return {id: part for part, ids in dataset.own_split.items() for id in ids}
    if dataset.published_test and not dataset.folds:
        return {case.id: "test" if case.id in dataset.published_test else REST for case in dataset.cases}
    return {}


def _searched(dataset: Dataset, signatures: Mapping[str, np.ndarray] | None) -> list[Pair]:
    """The pairs as they were written down, or found anew."""
    cases = dataset.cases
    parts = _given_parts(dataset) if dataset.own_split else {}
    labels = [parts.get(case.id, f"in no part: {case.id}") if parts else case.group for case in cases]
    states = [_state(case.image) for case in cases]
    files = [[str(case.image), state, label] for case, state, label in zip(cases, states, labels, strict=True)]
    written = Cache.from_environment()
    key = key_of("near copies", code_version(), files)
    entry = None if None in states else written.get(key)
    if entry is None:
        sound = [index for index, state in enumerate(states) if state is not None]
        known = signatures if signatures is not None else _signatures([cases[index] for index in sound])
        pairs = _compared(cases, labels, known)
        if settled_now(state for state in states if state is not None):
            with warnings.catch_warnings(action="ignore"):  # a cache that cannot be written is told by the reader
                written.put(key, pairs)
    else:
        pairs = entry.note
    return [(cases[i], cases[j]) for i, j in pairs]


def _compared(cases: Sequence[Case], labels: Sequence[str], known: Mapping[str, np.ndarray]) -> list[tuple[int, int]]:
    places = [index for index, case in enumerate(cases) if case.id in known]
    if len(places) < 2:
        return []
    from genseg_betty.data.inspect.similar import near_duplicates  # by PyTorch: not before it is needed

    images = np.stack([known[cases[index].id] for index in places])
    volumes = not _all_pictures([cases[index] for index in places])
    pairs = near_duplicates(images, [[labels[index] for index in places]], volumes=volumes)
    return [(places[i], places[j]) for i, j in pairs]


def _all_pictures(cases: Sequence[Case]) -> bool:
    """Whether no case is a volume, nor one whose header the check has to tell of."""
    with suppress(OSError, ImageError):
        return all(len(read_header(case.image).shape) == 2 for case in cases)
    return False


def _signatures(cases: Sequence[Case]) -> dict[str, np.ndarray]:
    """By case id, of the images that can be read; several are decoded at once."""
    console = Console(stderr=True, highlight=False)
    told = len(cases) >= MANY
    if told:
        console.print(f"looking for copies among {len(cases)} images; what is found is kept", markup=False)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        results: Iterator[np.ndarray | None] = pool.map(_signature, cases)
        hidden = not (told and console.is_terminal)
        results = iter(track(results, "copies", len(cases), console=console, transient=True, disable=hidden))
        return {case.id: one for case, one in zip(cases, results, strict=True) if one is not None}


def _signature(case: Case) -> np.ndarray | None:
    from genseg_betty.data.inspect.signatures import file_signature

    try:
        return file_signature(case.image)
    except (OSError, ImageError):
        return None


def _state(path: Path) -> list[list[object]] | None:
    try:
        return stat_files(path)
    except (OSError, ImageError):
        return None
