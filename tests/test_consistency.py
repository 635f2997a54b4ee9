"""Losses between networks and views against worked examples: fixed logits, formulas in NumPy, pixel by pixel."""

import numpy as np
import pytest
import torch

from genseg_betty.consistency import (
    find_probabilities,
    find_pseudo_labels,
    measure_confident_dice,
    measure_corrections,
    measure_dice_losses,
    measure_foreground_dice,
    measure_rectification,
    sharpen_probabilities,
)

# Two images of 1 x 3 pixels, as one foreground logit each: of two networks, and the truth.
ONE = [[2.0, -1.0, 0.5], [-3.0, 1.0, -0.2]]
OTHER = [[1.0, 0.4, -0.5], [-2.0, -1.0, -0.1]]
TRUTH = [[1, 0, 1], [0, 0, 1]]
# One image of 4 pixels with three classes, [classes, pixels].
THREE = [[0.1, 2.0, -1.0, 0.0], [1.2, 0.0, 0.5, 0.3], [-0.4, 1.0, 3.0, 0.2]]
THREE_OTHER = [[2.0, 1.5, 0.0, -1.0], [0.2, 0.1, 0.4, 0.5], [0.3, 0.0, 2.0, 1.0]]
THREE_TRUTH = [1, 0, 2, 2]


def as_binary(values: list) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None, None]  # [2, 1, 1, 3]


def as_labels(values: list) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def as_classes(values: list) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[None, :, None]  # [1, 3, 1, 4]


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def softmax(column: list) -> list:
    powers = [np.exp(x) for x in column]
    return [power / sum(powers) for power in powers]


def columns(values: list) -> list:
    return [softmax([row[pixel] for row in values]) for pixel in range(len(values[0]))]


def flatten(values: list) -> list:
    return [value for row in values for value in row]


def dice_loss(chances: list, truth: list) -> float:
    overlap = sum(p * t for p, t in zip(chances, truth, strict=True))
    sizes = sum(p * p for p in chances) + sum(t * t for t in truth)
    return 1 - (2 * overlap + 1e-5) / (sizes + 1e-5)


def test_one_logit_stands_for_two_classes() -> None:
    found = find_probabilities(as_binary(ONE)).numpy()
    expected = np.array([[[1 - sigmoid(x) for x in row], [sigmoid(x) for x in row]] for row in ONE])
    np.testing.assert_allclose(found[:, :, 0], expected, rtol=1e-12)


def test_several_logits_are_a_softmax() -> None:
    found = find_probabilities(as_classes(THREE)).numpy()[0, :, 0].T
    np.testing.assert_allclose(found, columns(THREE), rtol=1e-12)


def test_half_precision_is_summed_in_float32() -> None:
    assert find_probabilities(as_binary(ONE).bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_sharpened_probabilities_are_powers(temperature: float) -> None:
    found = sharpen_probabilities(as_classes(THREE), temperature).numpy()[0, :, 0].T
    powers = np.array(columns(THREE)) ** (1 / temperature)
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), rtol=1e-9)
    found = sharpen_probabilities(as_binary(ONE), temperature).numpy()[:, 1, 0]
    p = sigmoid(np.array(ONE))
    expected = p ** (1 / temperature) / (p ** (1 / temperature) + (1 - p) ** (1 / temperature))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_sharpening_stays_finite_where_powers_do_not() -> None:
    sure = torch.tensor([[-900.0, 900.0]])[:, None, None]
    assert sharpen_probabilities(sure, 0.1)[0, 1, 0].tolist() == [0, 1]


def test_pseudo_labels_and_their_confidence() -> None:
    labels, confidence = find_pseudo_labels(as_binary(ONE).requires_grad_())
    assert labels[:, 0].tolist() == [[1, 0, 1], [0, 1, 0]]
    expected = [[sigmoid(2), sigmoid(1), sigmoid(0.5)], [sigmoid(3), sigmoid(1), sigmoid(0.2)]]
    np.testing.assert_allclose(confidence[:, 0].numpy(), expected, rtol=1e-12)
    assert not confidence.requires_grad
    labels, confidence = find_pseudo_labels(as_classes(THREE))
    assert labels[0, 0].tolist() == [1, 0, 2, 1]
    np.testing.assert_allclose(confidence[0, 0].numpy(), [max(column) for column in columns(THREE)], rtol=1e-12)


def test_dice_is_of_squares_over_the_whole_batch() -> None:
    foreground = [sigmoid(x) for x in flatten(ONE)]
    truth = flatten(TRUTH)
    background = dice_loss([1 - p for p in foreground], [1 - t for t in truth])
    found = measure_dice_losses(as_binary(ONE), as_labels(TRUTH)).tolist()
    assert found == pytest.approx([background, dice_loss(foreground, truth)], rel=1e-12)
    assert float(measure_foreground_dice(as_binary(ONE), as_labels(TRUTH))) == pytest.approx(found[1], rel=1e-12)


def test_dice_of_several_classes_is_the_foregrounds_mean() -> None:
    chances = columns(THREE)
    of_classes = [dice_loss([p[k] for p in chances], [float(t == k) for t in THREE_TRUTH]) for k in range(3)]
    truth = as_labels([THREE_TRUTH])
    assert measure_dice_losses(as_classes(THREE), truth).tolist() == pytest.approx(of_classes, rel=1e-12)
    found = float(measure_foreground_dice(as_classes(THREE), truth))
    assert found == pytest.approx((of_classes[1] + of_classes[2]) / 2, rel=1e-12)


def test_corrections_are_where_two_networks_disagree() -> None:
    """They do in the second and third pixel of the first image (0 and 1, 1 and 0) and the second of the other one."""
    p = [[sigmoid(x) for x in row] for row in ONE]
    expected = ((p[0][1] - 0) ** 2 + (p[0][2] - 1) ** 2 + (p[1][1] - 0) ** 2) / 3
    found = float(measure_corrections(as_binary(ONE), as_binary(OTHER), as_labels(TRUTH)))
    assert found == pytest.approx(expected, rel=1e-12)
    q = [[sigmoid(x) for x in row] for row in OTHER]
    expected = ((q[0][1] - 0) ** 2 + (q[0][2] - 1) ** 2 + (q[1][1] - 0) ** 2) / 3
    found = float(measure_corrections(as_binary(OTHER), as_binary(ONE), as_labels(TRUTH)))
    assert found == pytest.approx(expected, rel=1e-12)


def test_corrections_of_several_classes_are_the_foregrounds_mean() -> None:
    """The networks choose 1, 0, 2, 1 and 0, 0, 2, 2."""
    chances = columns(THREE)
    first = ((chances[0][1] - 1) ** 2 + (chances[0][2] - 0) ** 2) / 2
    last = ((chances[3][1] - 0) ** 2 + (chances[3][2] - 1) ** 2) / 2
    found = measure_corrections(as_classes(THREE), as_classes(THREE_OTHER), as_labels([THREE_TRUTH]))
    assert float(found) == pytest.approx((first + last) / 2, rel=1e-12)


def test_networks_that_agree_have_nothing_to_correct() -> None:
    logits = as_binary(ONE).requires_grad_()
    loss = measure_corrections(logits, as_binary(ONE), as_labels(TRUTH))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_rectification_is_a_mean_over_pixels_and_classes() -> None:
    target = find_probabilities(as_binary(OTHER))
    pairs = zip(flatten(ONE), flatten(OTHER), strict=True)
    squares = [2 * (sigmoid(one) - sigmoid(other)) ** 2 for one, other in pairs]  # of both classes
    expected = sum(squares) / (2 * len(squares))
    assert float(measure_rectification(as_binary(ONE), target)) == pytest.approx(expected, rel=1e-12)
    expected = np.mean((np.array(columns(THREE)) - np.array(columns(THREE_OTHER))) ** 2)
    found = measure_rectification(as_classes(THREE), find_probabilities(as_classes(THREE_OTHER)))
    assert float(found) == pytest.approx(expected, rel=1e-12)


CONFIDENCE = [[0.99, 0.9499, 0.95], [0.5, 0.97, 0.2]]  # of three pixels out of six it is 0.95 or more


def test_pixels_below_the_threshold_do_not_count() -> None:
    kept = [(0, 0), (0, 2), (1, 1)]
    p = [sigmoid(ONE[image][pixel]) for image, pixel in kept]
    t = [TRUTH[image][pixel] for image, pixel in kept]
    expected = (dice_loss(p, t) + dice_loss([1 - x for x in p], [1 - x for x in t])) / 2
    logits = as_binary(ONE).requires_grad_()
    confidence = torch.tensor(CONFIDENCE, dtype=torch.float64)[:, None]
    loss = measure_confident_dice(logits, as_labels(TRUTH), confidence, 0.95)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad[:, 0, 0] != 0).tolist() == [[True, False, True], [False, True, False]]


def test_without_a_confident_pixel_the_loss_is_0() -> None:
    logits = as_binary(ONE).requires_grad_()
    loss = measure_confident_dice(logits, as_labels(TRUTH), torch.zeros(2, 1, 3, dtype=torch.float64), 0.95)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
