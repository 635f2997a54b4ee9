"""Few-shot parts drawn by a seed: nested in n_labelled, groups kept whole, with a test part that never moves."""

from collections.abc import Iterable, Sequence

from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.folds import TooFew, held_out_count, shuffled
from genseg_betty.data.split.parts import Splits, capped, validation_count

DEFAULT_LABELLED = 40  # of a dataset for which the paper gives no figure


def draw_parts(dataset: Dataset, n_labelled: int | None, n_test: int | None, seed: int) -> Splits:
    """Draw `n_labelled` images from the groups that are not tested on. Raises TooFew.

    The arguments are those of `make_splits`.
    """
    test, pool = part_cases(dataset, n_test)
    n = n_labelled
    if n is None:
        n = min(DEFAULT_LABELLED, len(pool))

    lacks_test_part = not test and n_test != 0
    if lacks_test_part or not 2 <= n <= len(pool) or _count_groups(pool) < 2:
        raise TooFew(_describe_too_few(dataset, n_labelled, pool, len(test)))
    train, validation = _draw_roles(pool, n, seed)
    return Splits(
        train=sorted(train),
        validation=sorted(validation),
        test=capped(test, n_test),
        notes=_note_inexact_counts(dataset, len(test), len(train), len(validation)),
        pool=len(pool),
    )


def part_cases(dataset: Dataset, n_test: int | None) -> tuple[list[str], list[Case]]:
    """The ids of the whole test part, and the cases of the groups that labelled images may be drawn from."""
    test = dataset.test_ids()
    if n_test == 0 and _draws_test_part(dataset):
        test = []
    return test, _list_pool(dataset, test)


def _draws_test_part(dataset: Dataset) -> bool:
    """Whether nobody has named the test part: it is 30 % of the cases because some are needed."""
    return not (dataset.published_test or dataset.folds)


def _list_pool(dataset: Dataset, test: Iterable[str]) -> list[Case]:
    """The cases whose groups are not tested on, by this test part or by the publisher."""
    tested = set(test)
    groups = dataset.published_groups()
    for case in dataset.cases:
        if case.id in tested:
            groups.add(case.group)
    return [case for case in dataset.cases if case.group not in groups]


def _count_groups(cases: Iterable[Case]) -> int:
    groups = {case.group for case in cases}
    return len(groups)


def _draw_roles(pool: list[Case], n: int, seed: int) -> tuple[list[str], list[str]]:
    """Draw n ids one by one: the k-th is validation where the validation count rises at k, k = 1 is train.

    A group keeps the role of its first image, so an image whose group has the other role waits for its turn.
    Where only such images are left, the next one follows its group, and the counts give way to the groups.
    """
    groups = {case.id: case.group for case in pool}
    waiting = shuffled(groups, seed)
    roles: dict[str, str] = {}  # by group
    parts: dict[str, list[str]] = {"train": [], "validation": []}
    for k in range(1, n + 1):
        role = _choose_role(k)
        fitting = (id for id in waiting if roles.get(groups[id], role) == role)
        drawn = next(fitting, waiting[0])
        waiting.remove(drawn)
        role = roles.setdefault(groups[drawn], role)
        parts[role].append(drawn)
    return parts["train"], parts["validation"]


def _choose_role(k: int) -> str:
    """The part that the k-th image belongs to."""
    if k == 1:
        return "train"
    rises = validation_count(k) > validation_count(k - 1)
    return "validation" if k == 2 or rises else "train"


def _note_inexact_counts(dataset: Dataset, test: int, train: int, validation: int) -> list[str]:
    """Notes of counts that whole groups have made another than asked for."""
    notes = []
    usual_test = held_out_count(len(dataset.cases))
    if test not in (0, usual_test) and _draws_test_part(dataset):
        notes.append(f"the test part holds {test} cases where 30 % are {usual_test}: groups are kept whole")
    labelled = train + validation
    usual = validation_count(labelled)
    if validation != usual:
        notes.append(
            f"{train} train and {validation} validation cases, not {labelled - usual} and {usual}: "
            "groups are kept whole"
        )
    return notes


def _describe_too_few(dataset: Dataset, n_labelled: int | None, pool: Sequence[Case], test: int) -> str:
    """What there is, what is expected, and how to mend it; `test` cases are tested on."""
    wanted = "two or more"
    if n_labelled is not None:
        wanted = f"dataset.n_labelled={n_labelled}, two or more"
    if test and _count_groups(pool) >= 2:
        mend = f"set dataset.n_labelled between 2 and {len(pool)}"
        if _draws_test_part(dataset):
            mend += "; or dataset.n_test=0, which leaves none to test on and all to be labelled"
    elif len(pool) >= 2:
        mend = "add labelled images of another group, or mend dataset.group: training and validation may not share one"
    else:
        mend = "add labelled images"

    groups = _count_groups(dataset.cases)
    return (
        f"has {len(dataset.cases)} labelled cases in {groups} groups: {test} are the fixed test part and "
        f"{len(pool)} are left for training and validation; expected {wanted}, and one to test on, so {mend}"
    )
