"""Which cases of a dataset a run has not learned from, by their names and by their contents."""

import hashlib
from collections.abc import Collection, Iterable

from genseg_betty.data.formats import content_digest
from genseg_betty.data.inspect.near_copies import find_near_copies
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.split.parts import Splits, order_tested
from genseg_betty.errors import UserError


def unseen_cases(
    dataset: Dataset,
    trained: Dataset,
    splits: Splits,
    n_test: int | None = None,
    contents: Collection[str] = (),
) -> list[Case]:
    """The labelled cases of `dataset` on which a run on `trained` has neither trained nor validated, masks or no masks.

    Cases are told apart by id where both are the same dataset: by name, wherever its folder lies, or by root.
    A `folder` has no name of its own, so there the root alone decides. Whole groups (patients, videos) are left out,
    and whatever their names, images whose `fingerprints` are among `contents`. At most `n_test` are returned.
    """
    learned = {*splits.train, *splits.validation, *splits.unlabelled}
    used = learned if _is_same_dataset(dataset, trained) else set()
    cases = _list_unused(dataset, used)
    known = set(contents)
    unseen: list[str] = []
    for id in order_tested(cases, n_test):
        if n_test is not None and len(unseen) == n_test:
            break
        # Of drawn images only those of the same number can be the same: the others need not be drawn for it.
        doubtful = known and (dataset.root is not None or id in learned)
        if doubtful and _hash_image(dataset, cases[id]).hex() in known:
            continue
        unseen.append(id)
    return [cases[id] for id in sorted(unseen)]


def fingerprints(dataset: Dataset, cases: Iterable[Case]) -> dict[str, str]:
    """SHA-256 by case id: of the image's files, or of the pixels where the image is made, not read.

    Training stores those of its train and validation cases in splits.json as "sha256".
    """
    return {case.id: _hash_image(dataset, case).hex() for case in cases}


def _is_same_dataset(dataset: Dataset, trained: Dataset) -> bool:
    if dataset.name == trained.name and dataset.name != "folder":
        return True
    if dataset.root is None or trained.root is None:
        return False
    return dataset.root.resolve() == trained.root.resolve()


def _list_unused(dataset: Dataset, used: Collection[str]) -> dict[str, Case]:
    """The cases by id, without those used, their groups, and near copies of them."""
    groups = {case.group for case in dataset.cases if case.id in used}
    left_out = {*used, *_list_near_copies(dataset, used)}
    cases = {}
    for case in dataset.cases:
        if case.id not in left_out and case.group not in groups:
            cases[case.id] = case
    return cases


def _list_near_copies(dataset: Dataset, used: Collection[str]) -> set[str]:
    """The cases that look like the same picture as one of those used, unless that is allowed."""
    alike: set[str] = set()
    if not used or dataset.copies == "allow":
        return alike
    for first, second in find_near_copies(dataset):
        if first.id in used or second.id in used:
            alike |= {first.id, second.id}
    return alike


def _hash_image(dataset: Dataset, case: Case) -> bytes:
    if dataset.root is None:
        image = dataset.load(case).image
        return hashlib.sha256(image.tobytes()).digest()
    try:
        return content_digest(case.image)
    except OSError as error:
        raise UserError(f"{case.image} cannot be read: {error.strerror}") from error
