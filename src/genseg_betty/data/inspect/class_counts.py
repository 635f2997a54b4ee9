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
    totals = np.sum(np.asarray(counts).reshape(-1, len(classes)), axis=0)
    foreground = zip(classes[1:], totals[1:], strict=True)
    return [name for name, total in foreground if total == 0]


def require_learnable(dataset: Dataset, train: Sequence[Counts], validation: Sequence[Counts]) -> None:
    """Raise UserError where training masks lack a class, or validation masks every one.

    Warns (UserWarning) of a class that validation masks alone lack: the best step is then chosen by the others.
    """
    faults = []
    unlearned = find_absent_classes(dataset.classes, train)
    unvalidated = find_absent_classes(dataset.classes, validation)
    if unlearned:
        faults.append(
            f"none of the {len(train)} training masks holds {', '.join(unlearned)}, which could not be learned; "
            f"expected every class among the training cases: {OTHER_CASES}{_advise_undeclaring(dataset)}"
        )
    if len(unvalidated) == len(dataset.classes) - 1:
        faults.append(
            f"none of the {len(validation)} validation masks holds {', '.join(unvalidated)}, so that a model which "
            f"finds nothing would be the best; expected masks that are not all empty: {OTHER_CASES}"
        )
    if faults:
        raise UserError("\n".join(f"{dataset.name}: {fault}" for fault in faults))
    if unvalidated:
        warnings.warn(
            f"{dataset.name}: none of the {len(validation)} validation masks holds {', '.join(unvalidated)}: the best "
            f"step is chosen without it. To change that, {OTHER_CASES}",
            stacklevel=2,
        )


def absent_class_findings(classes: Sequence[str], counts: Sequence[Counts]) -> list[Finding]:
    """A warning where no mask of a dataset holds a class; `counts` are those of its sound masks."""
    absent = find_absent_classes(classes, counts) if counts else []
    if not absent:
        return []
    message = f"none of the {len(counts)} masks holds {', '.join(absent)}; it cannot be learned from this dataset"
    return [Finding("empty_mask", ".", message)]


def _advise_undeclaring(dataset: Dataset) -> str:
    declared = dataset.labels.lookup is not None and len(dataset.classes) > 2
    return "; or declare the dataset's labels without it" if declared else ""
