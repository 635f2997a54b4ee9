"""Copies of one picture, told where a given split parts them, and as warnings of the check."""

import itertools
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from genseg_betty.data.formats import read_image
from genseg_betty.data.inspect.copies import find_copies, hash_pixels
from genseg_betty.data.inspect.near_copies import Pair, find_near_copies, list_own_parts
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding
from genseg_betty.faults import list_examples

TEST = "test"
REST = "train or validation"
MEND = (
    "expected every picture in one part: move one of each pair to the other's part or remove it, "
    "or accept it knowingly by dataset.copies=allow"
)


def find_parted_copies(dataset: Dataset) -> list[Pair]:
    """Pairs of copies, byte for byte or near, that the given split (not one that we draw) puts into several parts."""
    parts = _find_given_parts(dataset)
    if not parts or dataset.root is None:
        return []
    copies: list[Pair] = []
    for same in find_copies(dataset.cases):
        copies += itertools.combinations(same, 2)
    copies += find_near_copies(dataset)
    pairs = {}
    for first, second in copies:
        pairs[first.id, second.id] = (first, second)

    # Cases that stand in no part are parted from none.
    parted = []
    for id, other_id in sorted(pairs):
        are_placed = id in parts and other_id in parts
        if are_placed and parts[id] != parts[other_id]:
            parted.append(pairs[id, other_id])
    return parted


def report_parted_copies(dataset: Dataset) -> tuple[list[Finding], list[str]]:
    """The fault that a given split parts copies: a finding, or a note where it was published or is allowed."""
    pairs = find_parted_copies(dataset)
    if not pairs:
        return [], []
    found = _describe_parting(dataset, pairs)
    if dataset.copies == "allow":
        return [], [f"{found}; dataset.copies=allow accepts it, and scores flatter"]
    if dataset.published_split:
        outcome = "those outside the test part are left out of training"
        if dataset.own_split:
            outcome = "scores flatter"
        return [], [f"{found}. The split is the publisher's, so it stands; {outcome}"]
    _, second = pairs[0]
    file = dataset.path_below(second.image)
    finding = Finding("near_duplicate", file, f"{found}; {MEND}")
    return [finding], []


def _describe_parting(dataset: Dataset, pairs: Sequence[Pair]) -> str:
    """How many pairs are parted, and the first few with the part of each."""
    parts = _find_given_parts(dataset)

    def place_case(case: Case) -> str:
        return f"{dataset.path_below(case.image)} ({parts[case.id]})"

    told = []
    for first, second in pairs:
        told.append(f"{place_case(first)} beside {place_case(second)}")
    count = f"{len(pairs)} pairs of images look"
    if len(pairs) == 1:
        count = "1 pair of images looks"
    return f"{count} like the same picture and the split parts them: {list_examples(told)}"


def warn_of_near_duplicates(dataset: Dataset) -> list[Finding]:
    """Warnings `near_duplicate`, one a pair that is not in one part by a given split.

    Pairs of equal pixels are left to `duplicate`. Raises ImageError where an image can no longer be read.
    """
    parts = _find_given_parts(dataset)
    are_equal = _make_comparison()
    found = []
    for first, second in find_near_copies(dataset):
        part = parts.get(first.id)
        other_part = parts.get(second.id)
        together = part == other_part and part not in (None, REST)
        if together or are_equal(first, second):
            continue
        earlier = dataset.path_below(first.image)
        advice = _advise_on_pair(dataset, part, other_part)
        finding = Finding(
            code="near_duplicate",
            file=dataset.path_below(second.image),
            message=f"looks like the same picture as {earlier}{advice}",
        )
        found.append(finding)
    return found


def _make_comparison() -> Callable[[Case, Case], bool]:
    """Whether two images are equal in all pixels. Each is read once: it may be in many pairs."""

    @cache
    def hash_image(path: Path) -> bytes:
        return hash_pixels(read_image(path))

    def compare(first: Case, second: Case) -> bool:
        return hash_image(first.image) == hash_image(second.image)

    return compare


def _advise_on_pair(dataset: Dataset, part: str | None, other_part: str | None) -> str:
    """What becomes of a pair of copies, by the parts in which a given split puts them."""
    if part != other_part:
        return f" (that one: {part}; this one: {other_part}); expected a picture in one part alone"
    if dataset.copies == "allow":
        return "; the two may come into different parts, as dataset.copies=allow says"
    return "; both are kept in one part, so remove one if it is no image of its own"


def _find_given_parts(dataset: Dataset) -> dict[str, str]:
    """The part of each case by a split that somebody has given; empty where we draw it."""
    if dataset.own_split:
        return list_own_parts(dataset)
    if dataset.folds or not dataset.published_test:
        return {}
    parts = {}
    for case in dataset.cases:
        is_tested = case.id in dataset.published_test
        parts[case.id] = TEST if is_tested else REST
    return parts
