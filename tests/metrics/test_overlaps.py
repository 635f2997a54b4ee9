"""Dice, Jaccard, precision and recall against worked examples, MONAI and scipy."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_confusion_matrix_metric, compute_dice, compute_iou, get_confusion_matrix
from scipy.spatial import distance

from genseg_betty.metrics.overlaps import case_scores, dice, jaccard, measure_overlaps


def test_worked_example() -> None:
    prediction = np.array([[1, 1, 0], [0, 2, 2]])
    truth = np.array([[1, 0, 0], [1, 2, 2]])
    # Class 1: 1 pixel shared, 2 and 2 in all; class 2: both pixels shared.
    assert dice(prediction, truth, 3) == [0.5, 1.0]
    assert jaccard(prediction, truth, 3) == [pytest.approx(1 / 3), 1.0]
    assert case_scores(prediction, truth, 3) == {"dice": 0.75, "jaccard": pytest.approx(2 / 3)}


def test_precision_and_recall_of_a_worked_example() -> None:
    """Class 1: 1 of 3 predicted pixels is true, of 2 true ones 1 is found; class 2: 1 of 1, and 1 of 2."""
    prediction = np.array([[1, 1, 1], [0, 2, 0]])
    truth = np.array([[1, 0, 0], [1, 2, 2]])
    found = measure_overlaps(prediction, truth, 3)
    assert found["precision"] == [pytest.approx(1 / 3), 1.0]
    assert found["recall"] == [0.5, 0.5]


def test_a_binary_case() -> None:
    row = case_scores(np.array([[1, 0]]), np.array([[1, 1]]), 2)
    assert row == {"dice": pytest.approx(2 / 3), "jaccard": 0.5}
    assert all(type(value) is float for value in row.values())


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [(0, 0, 1.0), (1, 0, 0.0), (0, 1, 0.0), (1, 1, 1.0)],
    ids=["both empty", "truth empty", "prediction empty", "both full"],
)
def test_empty(prediction: int, truth: int, expected: float) -> None:
    arrays = np.full((4, 4), prediction), np.full((4, 4), truth)
    assert dice(*arrays, 2) == jaccard(*arrays, 2) == [expected]
    found = measure_overlaps(*arrays, 2)
    assert found["precision"] == found["recall"] == [expected]


def test_absent_class_counts_one() -> None:
    array = np.array([[0, 1]])
    assert dice(array, array, 4) == [1.0, 1.0, 1.0]
    assert dice(np.array([[0, 3]]), array, 4) == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("classes", [2, 5])
def test_against_monai(classes: int) -> None:
    prediction, truth = torch.randint(0, classes, (2, 32, 32))
    one_hot = [torch.eye(classes)[array].movedim(-1, 0)[None] for array in (prediction, truth)]
    expected_dice = compute_dice(*one_hot, include_background=False)[0].tolist()
    expected_jaccard = compute_iou(*one_hot, include_background=False)[0].tolist()
    assert dice(prediction, truth, classes) == pytest.approx(expected_dice, rel=1e-6)
    assert jaccard(prediction, truth, classes) == pytest.approx(expected_jaccard, rel=1e-6)


def test_against_scipy() -> None:
    prediction, truth = np.random.default_rng(0).random((2, 40, 30)) > 0.6
    flat = prediction.ravel(), truth.ravel()
    assert dice(prediction, truth, 2) == pytest.approx([1 - distance.dice(*flat)])
    assert jaccard(prediction, truth, 2) == pytest.approx([1 - distance.jaccard(*flat)])


def test_precision_and_recall_against_monai() -> None:
    prediction, truth = torch.randint(0, 4, (2, 32, 32), generator=torch.Generator().manual_seed(0))
    one_hot = [torch.eye(4)[array].movedim(-1, 0)[None] for array in (prediction, truth)]
    confusion = get_confusion_matrix(*one_hot, include_background=False)
    found = measure_overlaps(prediction, truth, 4)
    for name in ("precision", "recall"):
        expected = compute_confusion_matrix_metric(name, confusion)[0].tolist()
        assert found[name] == pytest.approx(expected, rel=1e-6)


def test_ill_inputs() -> None:
    with pytest.raises(ValueError, match="one shape"):
        dice(np.zeros((2, 2), int), np.zeros((2, 3), int), 2)
    with pytest.raises(ValueError, match="0…1"):
        dice(np.full((2, 2), 255), np.zeros((2, 2), int), 2)
    with pytest.raises(ValueError, match="truth holds -1"):
        jaccard(np.zeros((2, 2), int), np.full((2, 2), -1), 2)
