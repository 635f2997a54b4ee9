"""The parts that a user's own split file gives, or as many of its labelled cases as are asked for."""

from collections import Counter

from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.folds import shuffled
from genseg_betty.data.split.parts import Splits, capped
from genseg_betty.faults import list_examples


def take_own_parts(dataset: Dataset, n_labelled: int | None, n_test: int | None, seed: int) -> Splits:
    """The parts of the user's file; of its labelled cases the first `n_labelled` of a seeded order, if fewer."""
    train = shuffled(dataset.own_split["train"], seed)
    validation = shuffled(dataset.own_split["validation"], seed)
    notes = _note_shared_groups(dataset)
    total = len(train) + len(validation)

    # Both parts shrink in proportion, and neither to nothing.
    if n_labelled is not None and 2 <= n_labelled < total:
        share = n_labelled * len(validation) / total
        wanted = max(1, round(share))
        validating = min(wanted, n_labelled - 1)
        training = n_labelled - validating
        train = train[:training]
        validation = validation[:validating]
        notes.append(
            f"dataset.n_labelled={n_labelled} takes as many of the {total} labelled cases of dataset.split.file; "
            "dataset.n_labelled=null takes all"
        )

    return Splits(
        train=sorted(train),
        validation=sorted(validation),
        test=capped(dataset.own_split["test"], n_test),
        notes=notes,
        pool=total,
    )


def _note_shared_groups(dataset: Dataset) -> list[str]:
    """The note that groups stand in several parts of the user's file."""
    groups = {case.id: case.group for case in dataset.cases}
    parts: Counter[str] = Counter()  # in how many parts each group stands
    for ids in dataset.own_split.values():
        parts.update({groups[id] for id in ids if id in groups})
    shared = sorted(group for group, count in parts.items() if count > 1)
    if not shared:
        return []
    listed = list_examples(shared)
    return [f"dataset.split.file has cases of one group in several parts ({listed}); scores may flatter"]
