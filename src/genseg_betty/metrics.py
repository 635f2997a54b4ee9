"""Dice and Jaccard of one case (paper, Methods, "Metrics"), class by class.

A class that is in neither the truth nor the prediction counts 1; one that is in only one of them, 0. A
dataset's score is the mean over its cases.
"""

import numpy as np
from numpy.typing import ArrayLike

from genseg_betty.run.names import DICE, JACCARD


def dice(prediction: ArrayLike, truth: ArrayLike, num_classes: int) -> list[float]:
    """Dice 2|P ∩ T| / (|P| + |T|) of each foreground class 1 … num_classes - 1, each in [0, 1].

    Both arrays hold class indices and have one shape; ValueError otherwise.
    """
    both, either = _count_overlaps(prediction, truth, num_classes)
    return _divide_counts(2 * both, both + either)


def jaccard(prediction: ArrayLike, truth: ArrayLike, num_classes: int) -> list[float]:
    """Jaccard |P ∩ T| / |P ∪ T| of each foreground class, each in [0, 1]; arguments as for `dice`."""
    both, either = _count_overlaps(prediction, truth, num_classes)
    return _divide_counts(both, either)


def case_scores(prediction: ArrayLike, truth: ArrayLike, num_classes: int) -> dict[str, float]:
    """One case's row: "dice" and "jaccard", the means over the foreground classes.

    Where there are several classes also "dice_1", "jaccard_1", … of each.
    """
    both, either = _count_overlaps(prediction, truth, num_classes)
    scores = {
        DICE: _divide_counts(2 * both, both + either),
        JACCARD: _divide_counts(both, either),
    }
    row = {}
    for name, values in scores.items():
        row[name] = float(np.mean(values))
    if num_classes > 2:
        for name, values in scores.items():
            for index, value in enumerate(values, start=1):
                row[f"{name}_{index}"] = value
    return row


def _count_overlaps(prediction: ArrayLike, truth: ArrayLike, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in both and pixels in either, for each foreground class, from one confusion matrix."""
    predicted = np.asarray(prediction, dtype=np.int64)
    true = np.asarray(truth, dtype=np.int64)
    if predicted.shape != true.shape:
        raise ValueError(f"prediction is {predicted.shape}, truth is {true.shape}: expected one shape")
    _require_classes("prediction", predicted, num_classes)
    _require_classes("truth", true, num_classes)

    # A pair of classes is one number: predicted class · number of classes + true class.
    codes = predicted * num_classes + true
    counts = np.bincount(codes.ravel(), minlength=num_classes**2)
    confusion = counts.reshape(num_classes, num_classes)
    both = confusion.diagonal()
    in_prediction = confusion.sum(axis=1)
    in_truth = confusion.sum(axis=0)
    either = in_truth + in_prediction - both
    return both[1:], either[1:]


def _require_classes(name: str, indices: np.ndarray, num_classes: int) -> None:
    """Raise ValueError unless all are classes from 0 to num_classes - 1."""
    if not indices.size:
        return
    least = indices.min()
    most = indices.max()
    last = num_classes - 1
    if least < 0 or most > last:
        raise ValueError(f"{name} holds {least}…{most}: expected 0…{last}")


def _divide_counts(numerators: np.ndarray, denominators: np.ndarray) -> list[float]:
    """Their ratio of each class; 1 where a class is nowhere."""
    ratios = []
    for numerator, denominator in zip(numerators, denominators, strict=True):
        ratio = float(numerator / denominator) if denominator else 1.0
        ratios.append(ratio)
    return ratios
