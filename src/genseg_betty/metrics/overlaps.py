"""Overlap of a prediction with its truth, class by class: Dice, Jaccard (paper, Methods, "Metrics"), precision, recall.

A class that is in neither the truth nor the prediction counts 1; one that is in only one of them, 0. A
dataset's score is the mean over its cases.
"""

import numpy as np
from numpy.typing import ArrayLike

from genseg_betty.run.names import DICE, JACCARD, PRECISION, RECALL


def dice(prediction: ArrayLike, truth: ArrayLike, num_classes: int) -> list[float]:
    """Dice 2|P ∩ T| / (|P| + |T|) of each foreground class 1 … num_classes - 1, each in [0, 1].

    Both arrays hold class indices and have one shape; ValueError otherwise.
    """
    return measure_overlaps(prediction, truth, num_classes)[DICE]


def jaccard(prediction: ArrayLike, truth: ArrayLike, num_classes: int) -> list[float]:
    """Jaccard |P ∩ T| / |P ∪ T| of each foreground class, each in [0, 1]; arguments as for `dice`."""
    return measure_overlaps(prediction, truth, num_classes)[JACCARD]


def case_scores(prediction: ArrayLike, truth: ArrayLike, num_classes: int) -> dict[str, float]:
    """Dice and Jaccard of one validation image, the means over the foreground classes."""
    overlaps = measure_overlaps(prediction, truth, num_classes)
    means = {}
    for name in (DICE, JACCARD):
        means[name] = float(np.mean(overlaps[name]))
    return means


def measure_overlaps(prediction: ArrayLike, truth: ArrayLike, num_classes: int) -> dict[str, list[float]]:
    """Dice, Jaccard, precision |P ∩ T| / |P| and recall |P ∩ T| / |T| of each foreground class.

    Where P or T alone is empty, precision and recall are 0, as Dice is: nothing of the class was found rightly.
    Arguments as for `dice`.
    """
    both, predicted, true = _count_pixels(prediction, truth, num_classes)
    either = predicted + true - both
    predicted_or_true = np.where(predicted == 0, true, predicted)  # 0 of these is 0, unlike 0 of none
    true_or_predicted = np.where(true == 0, predicted, true)
    return {
        DICE: _divide_counts(2 * both, both + either),
        JACCARD: _divide_counts(both, either),
        PRECISION: _divide_counts(both, predicted_or_true),
        RECALL: _divide_counts(both, true_or_predicted),
    }


def _count_pixels(
    prediction: ArrayLike, truth: ArrayLike, num_classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels in both, in the prediction and in the truth, for each foreground class, from one confusion matrix."""
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
    return both[1:], in_prediction[1:], in_truth[1:]


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
