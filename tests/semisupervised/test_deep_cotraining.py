"""The losses of deep co-training and its adversarial images, against numbers worked out in numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.semisupervised import deep_cotraining
from genseg_betty.semisupervised.deep_cotraining import (
    measure_cross_entropy,
    measure_deviation,
    measure_divergence,
    mislead_network,
)

FIRST = np.array([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]])  # the probabilities of three classes at two pixels
SECOND = np.array([[0.6, 0.1, 0.3], [0.3, 0.4, 0.3]])


def logits_of(chances: np.ndarray) -> torch.Tensor:
    """[pixels, K] -> [1, K, 1, pixels] float64."""
    return torch.tensor(np.log(chances)).T[None, :, None]


def entropy(chances: np.ndarray) -> np.ndarray:
    return -(chances * np.log(chances)).sum(axis=1)


def test_divergence_is_the_entropy_of_the_mean_less_the_mean_entropy() -> None:
    expected = entropy((FIRST + SECOND) / 2) - (entropy(FIRST) + entropy(SECOND)) / 2
    found = measure_divergence(logits_of(FIRST), logits_of(SECOND))
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-12)


def test_one_output_has_two_classes() -> None:
    """0.9 against 0.2: as of the two classes [0.1, 0.9] and [0.8, 0.2]."""
    one, other = (torch.tensor(np.log(p / (1 - p))).reshape(1, 1, 1, 1) for p in (0.9, 0.2))
    pair = logits_of(np.array([[0.1, 0.9]])), logits_of(np.array([[0.8, 0.2]]))
    for measure in (measure_divergence, measure_deviation):
        np.testing.assert_allclose(measure(one, other), measure(*pair), rtol=1e-12)
    np.testing.assert_allclose(measure_cross_entropy(one, torch.ones(1, 1, 1, dtype=int)), -np.log(0.9), rtol=1e-12)
    np.testing.assert_allclose(measure_cross_entropy(one, torch.zeros(1, 1, 1, dtype=int)), -np.log(0.1), rtol=1e-12)


def test_deviation_is_kl_from_the_clean_output() -> None:
    expected = (SECOND * np.log(SECOND / FIRST)).sum(axis=1).mean()
    found = measure_deviation(logits_of(FIRST), logits_of(SECOND))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_no_gradient_reaches_the_clean_output() -> None:
    first, second = logits_of(FIRST).requires_grad_(), logits_of(SECOND).requires_grad_()
    measure_deviation(first, second).backward()
    assert second.grad is None
    assert (first.grad != 0).any()


def test_gradients_are_those_of_finite_differences() -> None:
    first, second = logits_of(FIRST).requires_grad_(), logits_of(SECOND).requires_grad_()
    assert torch.autograd.gradcheck(measure_divergence, (first, second))
    assert torch.autograd.gradcheck(lambda logits: measure_deviation(logits, second.detach()), (first,))


# -- adversarial images ------------------------------------------------------------------------------------------


def linear(weight: float) -> nn.Module:
    """A network of one logit a pixel, `weight` times the intensity."""
    network = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(network.weight, weight)
    return network


IMAGE = torch.tensor([[[[-0.99, 0.5, 0.97, -0.2]]]])


@pytest.mark.parametrize("weight", [2.0, -3.0])
def test_each_intensity_moves_against_its_label(weight: float) -> None:
    """Of a logit w·x the entropy falls with w·x where the label is 1: x moves by -sign(w) · 0.03 of the range, 0.06."""
    labels = torch.tensor([[[1, 1, 0, 0]]])
    direction = np.sign(weight) * np.array([-1, -1, 1, 1])
    expected = np.clip(IMAGE.numpy().ravel() + 0.06 * direction, -1, 1)
    found = mislead_network(linear(weight), IMAGE, labels, epsilon=0.03)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)


def test_without_labels_the_networks_own_answer_is_moved_from() -> None:
    """Bright pixels are foreground to it and become darker, dark ones become brighter."""
    found = mislead_network(linear(2.0), IMAGE, None, epsilon=0.03)
    np.testing.assert_allclose(found.ravel(), [-0.93, 0.44, 0.91, -0.14], rtol=1e-6)


def test_the_range_is_that_of_preprocessed_images() -> None:
    """Black and white, 0 and 1 in the authors' code, are -1 and 1 here: ε is a share of twice the width."""
    preprocessing = Preprocessing((1, 2), 1, (0.0, 255.0), ("background", "lesion"), (0, 1))
    image = preprocessing.image(np.array([[0, 255]]))
    assert image.flatten().tolist() == [deep_cotraining.LEAST, deep_cotraining.MOST] == [-1.0, 1.0]


def test_the_network_is_in_evaluation_mode_and_stays_as_it_was() -> None:
    """Dropout of everything would leave no gradient; BatchNorm keeps its statistics; weights get no gradient."""
    network = nn.Sequential(linear(2.0), nn.BatchNorm2d(1), nn.Dropout(1.0))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = mislead_network(network, IMAGE, None, epsilon=0.03)
    assert (found != IMAGE).all()
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())
    assert not found.requires_grad
