"""Dice and Jaccard of one case (paper, Methods, "Metrics"), class by class.

A class that is in neither the truth nor the prediction counts 1; one that is in only one of them, 0. A
dataset's score is the mean over its cases.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from genseg_betty.run.names import DICE, JACCARD


def dice(prediction: ArrayLike, truth: ArrayLike, num_classes: int) -> list[float]:
    """Dice 2|P ∩ T| / (|P| + |T|) of each foreground class 1 … num_classes - 1, each in [0, 1].

    Both arrays hold class indices and have one shape; ValueError otherwise.
    """
    both, either = _overlaps(prediction, truth, num_classes)
    return _ratios(2 * both, both + either)


def jaccard(prediction: ArrayLike, truth: ArrayLike, num_classes: int) -> list[float]:
    """Jaccard |P ∩ T| / |P ∪ T| of each foreground class, each in [0, 1]; arguments as for `dice`."""
    return _ratios(*_overlaps(prediction, truth, num_classes))


def case_scores(prediction: ArrayLike, truth: ArrayLike, num_classes: int) -> dict[str, float]:
    """One case's row: "dice" and "jaccard", means over the foreground classes, and "dice_1", "jaccard_1", …
    for each class where there are several."""
    both, either = _overlaps(prediction, truth, num_classes)
    scores = {DICE: _ratios(2 * both, both + either), JACCARD: _ratios(both, either)}
    row = {name: float(np.mean(values)) for name, values in scores.items()}
    if num_classes > 2:
        for name, values in scores.items():
            row |= {f"{name}_{index}": value for index, value in enumerate(values, start=1)}
    return row


def _overlaps(prediction: ArrayLike, truth: ArrayLike, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in both and pixels in either, for each foreground class, from one confusion matrix."""
    predicted, true = np.asarray(prediction, dtype=np.int64), np.asarray(truth, dtype=np.int64)
    if predicted.shape != true.shape:
        raise ValueError(f"prediction is {predicted.shape}, truth is {true.shape}: expected one shape")
    for name, array in (("prediction", predicted), ("truth", true)):
        if array.size and not 0 <= array.min() <= array.max() < num_classes:
            raise ValueError(f"{name} holds {array.min()}…{array.max()}: expected 0…{num_classes - 1}")
    pairs = np.bincount((predicted * num_classes + true).ravel(), minlength=num_classes**2)
    confusion = pairs.reshape(num_classes, num_classes)
    both = confusion.diagonal()
    return both[1:], (confusion.sum(axis=0) + confusion.sum(axis=1) - both)[1:]


def _ratios(numerator: Sequence[int] | np.ndarray, denominator: np.ndarray) -> list[float]:
    return [float(n / d) if d else 1.0 for n, d in zip(numerator, denominator, strict=True)]
