"""Few-shot splits: grouped, seeded, nested in n_labelled, with a test part that never moves."""

from contextlib import suppress
from dataclasses import replace

from genseg_betty.data.inspect.copies import group_copies
from genseg_betty.data.inspect.near_copies import find_near_copies
from genseg_betty.data.inspect.parted_copies import report_parted_copies
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.folds import TooFew
from genseg_betty.data.split.draw import draw_parts
from genseg_betty.data.split.own_parts import take_own_parts
from genseg_betty.data.split.parts import Splits, capped, validation_count
from genseg_betty.data.split.unseen import fingerprints, unseen_cases
from genseg_betty.faults import list_examples

__all__ = [
    "Splits",
    "TooFew",
    "capped",
    "fingerprints",
    "join_copies",
    "make_splits",
    "unseen_cases",
    "validation_count",
]


def make_splits(dataset: Dataset, n_labelled: int | None, n_test: int | None, seed: int) -> Splits:
    """Split the cases of a dataset.

    The test part is `dataset.test_ids()`, cut to the first `n_test` of a fixed order. The labelled images are
    drawn from the other groups in the order of `seed`, and each keeps its role however many are drawn. Copies of one
    picture, mirrored or altered ones too, count as one group, unless too few groups were left.

    Args:
        dataset: what is split. A split of the user's own is taken as it is; a smaller `n_labelled` draws from its
            parts in proportion.
        n_labelled: images to train and validate on; None: 40, or all if there are fewer.
        n_test: images to test on; None: the whole test part. With 0 nothing is tested on, and all may be labelled
            but a published test part or a fold.
        seed: of the order in which labelled images are drawn.

    Raises:
        TooFew: (a UserError) there are not enough cases or groups.
    """
    if dataset.own_split:
        splits = take_own_parts(dataset, n_labelled, n_test, seed)
    else:
        splits = _draw_with_copies_together(dataset, n_labelled, n_test, seed)
    _, notes = report_parted_copies(dataset)
    splits.notes += notes
    return splits


def _draw_with_copies_together(dataset: Dataset, n_labelled: int | None, n_test: int | None, seed: int) -> Splits:
    """Draw the parts with copies of one picture in one of them, unless no parts can be drawn so."""
    joined = join_copies(dataset)
    if joined is dataset:
        return draw_parts(dataset, n_labelled, n_test, seed)
    try:
        splits = draw_parts(joined, n_labelled, n_test, seed)
    except TooFew as error:
        if _has_groups_enough(joined, n_test):  # fewer labelled images, or fewer folds, would do
            raise TooFew(f"{error}; copies of one picture count as one group") from None
        splits = draw_parts(dataset, n_labelled, n_test, seed)
        note = "copies of one image stand in several parts, too many to keep them together; scores flatter"
        splits.notes.append(note)
    else:
        splits.notes += _note_joined_copies(dataset)
    return splits


def _has_groups_enough(dataset: Dataset, n_test: int | None) -> bool:
    """Whether all parts can be drawn with as many labelled images as the groups leave, and without folds."""
    with suppress(TooFew):
        draw_parts(replace(dataset, folds=None), None, n_test, seed=0)
        return True
    return False


def join_copies(dataset: Dataset) -> Dataset:
    """The dataset with copies of one picture in one group; the dataset itself where there is nothing to join."""
    if not dataset.root or dataset.copies == "allow":
        return dataset
    cases = group_copies(dataset.cases, find_near_copies(dataset))
    if cases == dataset.cases:
        return dataset
    return replace(dataset, cases=cases)


def _note_joined_copies(dataset: Dataset) -> list[str]:
    """The note that near copies were kept together."""
    pairs = [f"{first.id} beside {second.id}" for first, second in find_near_copies(dataset)]
    if not pairs:
        return []
    listed = list_examples(pairs)
    return [f"images that look like the same picture are kept in one part ({listed})"]
