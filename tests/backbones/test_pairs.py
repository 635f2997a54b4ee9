"""Two networks as one predictor, and which two are of one structure."""

import numpy as np
import pytest
import torch
from torch import nn

from genseg_betty.backbones.pairs import MeanOfTwo, NetworkPair, average_logits, require_different
from genseg_betty.backbones.smp import smp, unet
from genseg_betty.backbones.unet_classic import unet_classic
from genseg_betty.errors import UserError


def test_the_mean_of_two_sigmoids() -> None:
    """0.5 and 0.9 make 0.7, 0.2 and 0.4 make 0.3."""
    one, other = np.array([0.5, 0.2]), np.array([0.9, 0.4])
    logits = [torch.tensor(np.log(p / (1 - p))).reshape(1, 1, 1, 2).float() for p in (one, other)]
    found = average_logits(*logits).sigmoid()
    np.testing.assert_allclose(found.flatten(), [0.7, 0.3], rtol=1e-5)


def test_the_mean_of_two_softmaxes() -> None:
    one, other = np.array([0.1, 0.6, 0.3]), np.array([0.5, 0.2, 0.3])
    logits = [torch.tensor(np.log(p) + shift).reshape(1, 3, 1, 1).float() for p, shift in ((one, 4.0), (other, -2.0))]
    found = average_logits(*logits).softmax(dim=1)
    np.testing.assert_allclose(found.flatten(), [0.3, 0.4, 0.3], rtol=1e-5)


@pytest.mark.parametrize("outputs", [1, 3])
def test_two_networks_that_are_sure_stay_finite(outputs: int) -> None:
    """At ±200 each probability is 0 or 1 in float32; two of one mind keep their answer, and a clash is undecided."""
    logits = torch.zeros(1, outputs, 1, 1)
    logits[:, 0] = 200.0
    assert torch.isfinite(average_logits(logits, -logits)).all()
    np.testing.assert_allclose(average_logits(logits, logits)[0, 0], 200.0 if outputs == 1 else 0.0, atol=1e-3)
    if outputs == 1:
        np.testing.assert_allclose(average_logits(logits, -logits), 0.0, atol=1e-5)


def test_a_mean_reads_the_weights_of_a_pair() -> None:
    pair = NetworkPair(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 3, padding=1))
    mean = MeanOfTwo(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 3, padding=1))
    mean.load_state_dict(pair.state_dict())
    image = torch.randn(2, 1, 5, 5)
    first, second = pair(image)
    expected = (first.sigmoid() + second.sigmoid()) / 2
    torch.testing.assert_close(mean(image).sigmoid(), expected)


def test_widths_do_not_make_another_structure() -> None:
    small, large = unet_classic(1, 1, base_channels=4), unet_classic(1, 1, base_channels=8)
    with pytest.raises(UserError, match="second_backbone=x has the structure of the first"):
        require_different(small, large, "x")
    with pytest.raises(UserError, match="structure of the first"):  # SMP's UNet under two names
        require_different(unet(1, 1, encoder="resnet18"), smp(1, 1, arch="Unet", encoder="resnet18"), "smp")
    require_different(small, unet(1, 1, encoder="resnet18"), "unet")
