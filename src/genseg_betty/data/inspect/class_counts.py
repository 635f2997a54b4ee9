"""Whether every class can be learned and validated, by the pixels of the masks, before a training spends hours."""

import warnings
from collections.abc import Sequence

import numpy as np

from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding
from genseg_betty.errors import UserError

Counts = Sequence[int] | np.ndarray  # pixels of each class in one mask, the background first

OTHER_CASES = "draw other cases by seed=…, more of them by dataset.n_labelled=…, or name them in dataset.split"


def find_absent_classes(classes: Sequence[str], counts: Sequence[Counts]) -> list[str]:
    """The names of the classes, but for the background, that none of these masks holds."""
    table = np.asarray(counts).reshape(-1, len(classes))
    totals = np.sum(table, axis=0)
    absent = []
    for name, total in zip(classes[1:], totals[1:], strict=True):
        if total == 0:
            absent.append(name)
    return absent


def require_learnable(dataset: Dataset, train: Sequence[Counts], validation: Sequence[Counts]) -> None:
    """Raise UserError where training masks lack a class, or validation masks every one.

    Warns (UserWarning) of a class that validation masks alone lack: the best step is then chosen by the others.
    """
    unlearned = find_absent_classes(dataset.classes, train)
    unvalidated = find_absent_classes(dataset.classes, validation)
    of_training = _describe_absence(len(train), "training", unlearned)
    of_validation = _describe_absence(len(validation), "validation", unvalidated)
    faults = []
    if unlearned:
        faults.append(
            f"{of_training}, which could not be learned; expected every class among the training cases: "
            f"{OTHER_CASES}{_advise_undeclaring(dataset)}"
        )
    if len(unvalidated) == len(dataset.classes) - 1:
        faults.append(
            f"{of_validation}, so that a model which finds nothing would be the best; "
            f"expected masks that are not all empty: {OTHER_CASES}"
        )
    if faults:
        lines = [f"{dataset.name}: {fault}" for fault in faults]
        raise UserError("\n".join(lines))
    if unvalidated:
        warnings.warn(
            f"{dataset.name}: {of_validation}: the best step is chosen without it. To change that, {OTHER_CASES}",
            stacklevel=2,
        )


def warn_of_absent_classes(classes: Sequence[str], counts: Sequence[Counts]) -> list[Finding]:
    """A warning where no mask of a dataset holds a class; `counts` are those of its sound masks."""
    if not counts:
        return []
    absent = find_absent_classes(classes, counts)
    if not absent:
        return []
    message = f"none of the {len(counts)} masks holds {', '.join(absent)}; it cannot be learned from this dataset"
    return [Finding("empty_mask", ".", message)]


def _describe_absence(masks: int, part: str, classes: Sequence[str]) -> str:
    return f"none of the {masks} {part} masks holds {', '.join(classes)}"


def _advise_undeclaring(dataset: Dataset) -> str:
    """What else helps where the labels are declared and there is more than one class of foreground."""
    is_declared = dataset.labels.lookup is not None
    if is_declared and len(dataset.classes) > 2:
        return "; or declare the dataset's labels without it"
    return ""
