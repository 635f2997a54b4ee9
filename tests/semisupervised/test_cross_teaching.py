"""The losses of cross teaching at fixed logits, against numbers worked out in numpy."""

import numpy as np
import torch

from genseg_betty.semisupervised.cross_teaching import measure_cross_teaching, measure_labelled
from genseg_betty.semisupervised.ramps import begin_at, ramp_up

FIRST = np.array([0.9, 0.6, 0.3, 0.2])  # the foreground's probability of four pixels
SECOND = np.array([0.4, 0.8, 0.7, 0.1])
MASK = np.array([1, 0, 1, 0])
SMOOTH = 1e-5


def logits_of(chances: np.ndarray) -> torch.Tensor:
    """One output a pixel: [1, 1, 2, 2] float64."""
    return torch.tensor(np.log(chances / (1 - chances))).reshape(1, 1, 2, 2)


def dice_loss(chances: np.ndarray, truth: np.ndarray) -> float:
    """The mean over background and foreground, squares in the denominator."""
    terms = []
    for p, t in ((1 - chances, 1 - truth), (chances, truth)):
        terms.append(1 - (2 * (p * t).sum() + SMOOTH) / ((p**2).sum() + (t**2).sum() + SMOOTH))
    return float(np.mean(terms))


def test_the_labelled_loss_is_half_of_entropy_and_dice() -> None:
    entropy = -np.mean([np.log(0.9), np.log(0.4), np.log(0.3), np.log(0.8)])
    found = measure_labelled(logits_of(FIRST), torch.tensor(MASK).reshape(1, 2, 2))
    np.testing.assert_allclose(found, (entropy + dice_loss(FIRST, MASK)) / 2, rtol=1e-12)


def test_three_classes_count_alike() -> None:
    """One pixel of each class, all chances equal: CE is log 3, each Dice 1 - (2/3) / (3/9 + 1) = 1/2."""
    logits = torch.zeros(1, 3, 1, 3, dtype=torch.float64)
    found = measure_labelled(logits, torch.tensor([[[0, 1, 2]]]))
    np.testing.assert_allclose(found, (np.log(3) + 0.5) / 2, rtol=1e-5)


def test_the_other_networks_argmax_is_the_truth() -> None:
    labels = (SECOND > 0.5).astype(int)
    np.testing.assert_array_equal(labels, [0, 1, 1, 0])
    found = measure_cross_teaching(logits_of(FIRST), logits_of(SECOND))
    np.testing.assert_allclose(found, dice_loss(FIRST, labels), rtol=1e-12)


def test_no_gradient_reaches_the_teacher() -> None:
    first, second = logits_of(FIRST).requires_grad_(), logits_of(SECOND).requires_grad_()
    measure_cross_teaching(first, second).backward()
    assert second.grad is None
    assert first.grad is not None
    assert (first.grad != 0).all()


def test_gradients_are_those_of_finite_differences() -> None:
    first, second = logits_of(FIRST).requires_grad_(), logits_of(SECOND)
    mask = torch.tensor(MASK).reshape(1, 2, 2)
    assert torch.autograd.gradcheck(lambda logits: measure_labelled(logits, mask), (first,))
    assert torch.autograd.gradcheck(lambda logits: measure_cross_teaching(logits, second), (first,))


def test_the_ramp_ends_with_the_training() -> None:
    """exp(-5) at its start, exp(-5/4) in its middle; over 50 of 120 parts it is at 1 from there on."""
    shares = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    np.testing.assert_allclose(ramp_up(shares), np.exp([-5.0, -1.25, 0.0]), rtol=1e-12)
    short = torch.tensor([0.0, 25 / 120, 50 / 120, 0.9], dtype=torch.float64)
    np.testing.assert_allclose(ramp_up(short, 50 / 120), np.exp([-5.0, -1.25, 0.0, 0.0]), rtol=1e-12)
    np.testing.assert_array_equal(begin_at(torch.tensor([0.0, 0.16, 0.17]), 20 / 120), [0, 0, 1])
