"""Few-shot splits: grouped, seeded, nested in n_labelled, with a test part that never moves."""

import hashlib
import itertools
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from genseg_betty.data.formats import content_digest
from genseg_betty.data.inspect.copies import group_copies
from genseg_betty.data.inspect.near_copies import find_near_copies
from genseg_betty.data.inspect.parted_copies import report_parted_copies
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.folds import TooFew, held_out_count, shuffled
from genseg_betty.errors import UserError
from genseg_betty.faults import list_examples

DEFAULT_LABELLED = 40  # of a dataset for which the paper gives no figure


@dataclass
class Splits:
    """Case ids, sorted within each part; `notes` say in a sentence each what the user should know of them."""

    train: list[str]
    validation: list[str]
    test: list[str]
    notes: list[str] = field(default_factory=list)
    pool: int = 0  # labelled cases that training and validation are drawn from


def validation_count(n: int) -> int:
    """How many of n labelled images are validation: a fifth, rounded, at least one (9 -> 2, 40 -> 8)."""
    return max(1, round(n / 5))


def make_splits(dataset: Dataset, n_labelled: int | None, n_test: int | None, seed: int) -> Splits:
    """Split the cases of a dataset.

    The test part is `dataset.test_ids()`, cut to the first `n_test` of a fixed order. The labelled images are
    drawn from the other groups in the order of `seed`, and each keeps its role however many are drawn. Copies of one
    picture, mirrored or altered ones too, count as one group, unless too few groups were left.
    `n_labelled` None means 40, or all if there are fewer. With `n_test` 0 nothing is tested on, and all may be
    labelled but a published test part or a fold. A split of the user's own is taken as it is; a smaller `n_labelled`
    draws from its parts in proportion. Raises TooFew (a UserError).
    """
    if dataset.own_split:
        splits = _own(dataset, n_labelled, n_test, seed)
    else:
        splits = _with_copies_together(dataset, n_labelled, n_test, seed)
    splits.notes += report_parted_copies(dataset)[1]
    return splits


def _with_copies_together(dataset: Dataset, n_labelled: int | None, n_test: int | None, seed: int) -> Splits:
    """The parts that are drawn, copies of one picture in one of them; torn apart only where no parts could be drawn."""
    joined = _joined(dataset)
    if joined is dataset:
        return _drawn(dataset, n_labelled, n_test, seed)
    try:
        splits = _drawn(joined, n_labelled, n_test, seed)
    except TooFew as error:
        if _has_groups_enough(joined, n_test):  # fewer labelled images, or fewer folds, would do
            raise TooFew(f"{error}; copies of one picture count as one group") from None
        splits = _drawn(dataset, n_labelled, n_test, seed)
        splits.notes.append(
            "copies of one image stand in several parts, too many to keep them together; scores flatter"
        )
    else:
        splits.notes += _joined_note(dataset)
    return splits


def _has_groups_enough(dataset: Dataset, n_test: int | None) -> bool:
    """Whether all parts can be drawn with as many labelled images as the groups leave, and without folds."""
    with suppress(TooFew):
        _drawn(replace(dataset, folds=None), None, n_test, seed=0)
        return True
    return False


def _joined(dataset: Dataset) -> Dataset:
    """The dataset with copies of one picture in one group, unless they may be parted."""
    if not dataset.root or dataset.copies == "allow":
        return dataset
    cases = group_copies(dataset.cases, find_near_copies(dataset))
    return dataset if cases == dataset.cases else replace(dataset, cases=cases)


def _joined_note(dataset: Dataset) -> list[str]:
    """The note that near copies were kept together."""
    pairs = [f"{first.id} beside {second.id}" for first, second in find_near_copies(dataset)]
    return [f"images that look like the same picture are kept in one part ({list_examples(pairs)})"] if pairs else []


def _drawn(dataset: Dataset, n_labelled: int | None, n_test: int | None, seed: int) -> Splits:
    test = dataset.test_ids()
    if n_test == 0 and _is_drawn(dataset):
        test = []
    in_test = set(test)
    groups = {case.group for case in dataset.cases if case.id in in_test} | dataset.published_groups()
    pool = [case for case in dataset.cases if case.group not in groups]
    n = min(DEFAULT_LABELLED, len(pool)) if n_labelled is None else n_labelled
    if not 2 <= n <= len(pool) or len({case.group for case in pool}) < 2 or not (test or n_test == 0):
        raise TooFew(_too_few(dataset, n_labelled, pool, len(test)))
    train, validation = _roles(pool, n, seed)
    notes = _inexact(dataset, len(test), len(train), len(validation))
    return Splits(sorted(train), sorted(validation), capped(test, n_test), notes, len(pool))


def _is_drawn(dataset: Dataset) -> bool:
    """Whether nobody has named the test part: it is 30 % of the cases because some are needed."""
    return not (dataset.published_test or dataset.folds)


def capped(ids: Iterable[str], n_test: int | None) -> list[str]:
    """The first `n_test` of the ids in a fixed order: a larger cap adds to a smaller one. None: all."""
    return sorted(_order(ids, n_test)[:n_test])


def _order(ids: Iterable[str], n_test: int | None) -> list[str]:
    """The fixed order in which `n_test` cuts a test part. Raises UserError where that is below 0."""
    if n_test is not None and n_test < 0:
        raise UserError(f"dataset.n_test is {n_test}; expected 0 or more, or null for the whole test part")
    return shuffled(ids, "test")


def unseen_cases(
    dataset: Dataset,
    trained: Dataset,
    splits: Splits,
    n_test: int | None = None,
    contents: Collection[str] = (),
) -> list[Case]:
    """The labelled cases of `dataset` on which a run on `trained` has neither trained nor validated.

    Cases are told apart by id where both are the same dataset: by name, wherever its folder lies, or by root.
    A `folder` has no name of its own, so there the root alone decides. Whole groups (patients, videos) are left out,
    and whatever their names, images whose `fingerprints` are among `contents`. At most `n_test` are returned.
    """
    learned = {*splits.train, *splits.validation}
    roots = [root.resolve() for root in (dataset.root, trained.root) if root is not None]
    same_root = len(roots) == 2 and roots[0] == roots[1]
    same_name = dataset.name == trained.name and dataset.name != "folder"
    used = learned if same_root or same_name else set()
    groups = {case.group for case in dataset.cases if case.id in used}  # copies are known by their contents
    alike = _like(dataset, used)
    cases = {case.id: case for case in dataset.cases if case.id not in used | alike and case.group not in groups}
    known = set(contents)

    def is_copy(case: Case) -> bool:
        # Of drawn images only those of the same number can be the same: the others need not be drawn for it.
        doubtful = bool(known) and (dataset.root is not None or case.id in learned)
        return doubtful and _content(dataset, case).hex() in known

    unseen = (id for id in _order(cases, n_test) if not is_copy(cases[id]))
    return [cases[id] for id in sorted(itertools.islice(unseen, n_test))]


def _like(dataset: Dataset, used: Collection[str]) -> set[str]:
    """The cases that look like the same picture as one of those used, unless that is allowed."""
    pairs = find_near_copies(dataset) if used and dataset.copies != "allow" else []
    ids = ({first.id, second.id} for first, second in pairs)
    return {id for pair in ids if not pair.isdisjoint(used) for id in pair}


def fingerprints(dataset: Dataset, cases: Iterable[Case]) -> dict[str, str]:
    """SHA-256 by case id: of the image's files, or of the pixels where the image is made, not read.

    Training stores those of its train and validation cases in splits.json as "sha256".
    """
    return {case.id: _content(dataset, case).hex() for case in cases}


def _content(dataset: Dataset, case: Case) -> bytes:
    if dataset.root is None:
        return hashlib.sha256(dataset.load(case).image.tobytes()).digest()
    try:
        return content_digest(case.image)
    except OSError as error:
        raise UserError(f"{case.image} cannot be read: {error.strerror}") from error


def _roles(pool: list[Case], n: int, seed: int) -> tuple[list[str], list[str]]:
    """Draw n ids one by one: the k-th is validation where the validation count rises at k, k = 1 is train.

    A group keeps the role of its first image, so an image whose group has the other role waits for its turn.
    Where only such images are left, the next one follows its group, and the counts give way to the groups.
    """
    cases = {case.id: case for case in pool}
    waiting = shuffled(cases, seed)
    of_group: dict[str, str] = {}
    parts: dict[str, list[str]] = {"train": [], "validation": []}
    for k in range(1, n + 1):
        rises = k == 2 or (k > 2 and validation_count(k) > validation_count(k - 1))
        role = "validation" if rises else "train"
        fitting = (id for id in waiting if of_group.get(cases[id].group, role) == role)
        drawn = next(fitting, waiting[0])
        waiting.remove(drawn)
        role = of_group.setdefault(cases[drawn].group, role)
        parts[role].append(drawn)
    return parts["train"], parts["validation"]


def _own(dataset: Dataset, n_labelled: int | None, n_test: int | None, seed: int) -> Splits:
    """The parts of the user's file; of its labelled cases the first `n_labelled` of a seeded order, if fewer."""
    train, validation = (shuffled(dataset.own_split[part], seed) for part in ("train", "validation"))
    test = dataset.own_split["test"]
    notes = _straddling(dataset)
    total = len(train) + len(validation)
    if n_labelled is not None and 2 <= n_labelled < total:
        wanted = max(1, round(n_labelled * len(validation) / total))
        validating = min(wanted, n_labelled - 1)
        train, validation = train[: n_labelled - validating], validation[:validating]
        notes.append(
            f"dataset.n_labelled={n_labelled} takes as many of the {total} labelled cases of dataset.split.file; "
            "dataset.n_labelled=null takes all"
        )
    return Splits(sorted(train), sorted(validation), capped(test, n_test), notes, total)


def _straddling(dataset: Dataset) -> list[str]:
    """The note that groups stand in several parts of the user's file."""
    groups = {case.id: case.group for case in dataset.cases}
    parts = [{groups[id] for id in ids if id in groups} for ids in dataset.own_split.values()]
    shared = sorted({group for part in parts for group in part if sum(group in other for other in parts) > 1})
    if not shared:
        return []
    return [f"dataset.split.file has cases of one group in several parts ({list_examples(shared)}); scores may flatter"]


def _inexact(dataset: Dataset, test: int, train: int, validation: int) -> list[str]:
    """Notes of counts that whole groups have made another than asked for."""
    notes = []
    if test and _is_drawn(dataset) and test != (wanted := held_out_count(len(dataset.cases))):
        notes.append(f"the test part holds {test} cases where 30 % are {wanted}: groups are kept whole")
    if validation != (wanted := validation_count(train + validation)):
        notes.append(
            f"{train} train and {validation} validation cases, not {train + validation - wanted} and {wanted}: "
            "groups are kept whole"
        )
    return notes


def _too_few(dataset: Dataset, n_labelled: int | None, pool: Sequence[Case], test: int) -> str:
    wanted = "two or more" if n_labelled is None else f"dataset.n_labelled={n_labelled}, two or more"
    groups, left = (len({case.group for case in cases}) for cases in (dataset.cases, pool))
    if test and left >= 2:
        mend = f"set dataset.n_labelled between 2 and {len(pool)}"
        if _is_drawn(dataset):
            mend += "; or dataset.n_test=0, which leaves none to test on and all to be labelled"
    elif len(pool) >= 2:
        mend = "add labelled images of another group, or mend dataset.group: training and validation may not share one"
    else:
        mend = "add labelled images"
    return (
        f"has {len(dataset.cases)} labelled cases in {groups} groups: {test} are the fixed test part and "
        f"{len(pool)} are left for training and validation; expected {wanted}, and one to test on, so {mend}"
    )
