"""Which images a semi-supervised method sees without their masks: of the training part alone."""

from dataclasses import replace

from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.folds import shuffled
from genseg_betty.data.split.draw import part_cases
from genseg_betty.data.split.parts import Splits


def choose_unlabelled(dataset: Dataset, splits: Splits, n_test: int | None, most: int, seed: int) -> list[Case]:
    """At most `most` cases of the training part that are not labelled, in a seeded order, without their masks.

    No case shares its group with one that is validated or tested on, be it in use or set aside. More of them add to
    fewer.

    Args:
        dataset: with copies of one picture in one group, see `join_copies`.
        splits: the cases in use.
        n_test: as in `make_splits`.
    """
    _, pool = part_cases(dataset, n_test)
    held_out = {case.id for case in list_held_out(dataset, splits, n_test)}
    free = {}
    for case in pool:
        if case.id not in held_out and case.id not in splits.train:
            free[case.id] = case
    return [replace(free[id], masks=()) for id in shuffled(free, seed)[:most]]


def list_held_out(dataset: Dataset, splits: Splits, n_test: int | None) -> list[Case]:
    """The cases of all groups that are validated or tested on, be they in use or set aside, without their masks.

    The arguments are those of `choose_unlabelled`.
    """
    tested, _ = part_cases(dataset, n_test)
    ids = {*tested, *splits.test, *splits.validation, *dataset.own_split.get("validation", [])}
    groups = {case.group for case in dataset.cases if case.id in ids}
    return [replace(case, masks=()) for case in dataset.cases if case.group in groups]
