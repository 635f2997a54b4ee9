"""Mutual correction: a step's loss and gradients against the formulas once more, and who learns from whom."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.data.unlabelled import MixedBatch
from genseg_betty.semisupervised.mutual_correction import MutualCorrection
from methods.tiny import TINY, built
from states import joined, relative_error

OVERRIDES = [
    *TINY, "method=mutual_correction", "method.second_backbone=unet3d", "second_backbone.base_channels=2",
    "unlabelled=6", "trainer.iterations=10", "precision=fp32", "ood=[]", "dataset.n_labelled=4", "seed=3",
]  # fmt: skip
CHANCE = 0.9  # of the training is done: the ramp is at exp(-5 · 0.1²)


def build_level(*overrides: str) -> tuple[MutualCorrection, MixedBatch]:
    """A level in float64 whose images are as they are, and one batch for it."""
    config = compose([*OVERRIDES, "method.augment=false", *overrides])
    _, engine = built(config, load_data(config, reads_unlabelled=True))
    level = engine.segmenter
    level.module.double()
    batch = level.batch_of(1)
    batch.image, batch.unlabelled = batch.image.double(), batch.unlabelled.double()
    batch.progress = torch.tensor(CHANCE, dtype=torch.float64)
    return level, batch


def spoil(network: nn.Module) -> None:
    """Let a network take all for foreground, which is far worse than what a new one takes it for."""
    *_, head = (part for part in network.modules() if getattr(part, "bias", None) is not None)
    with torch.no_grad():
        head.bias += 3


def measure_own(x: Tensor, other: Tensor, y: Tensor) -> Tensor:
    """CE + Dice + MSE / 2 of one foreground logit, by the sigmoid alone."""
    p = x.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(x, y)
    dice = 1 - (2 * (p * y).sum() + 1e-5) / (p.square().sum() + y.sum() + 1e-5)
    disagree = (x > 0) != (other > 0)
    squares = (p - y)[disagree].square()
    return entropy + dice + 0.5 * (squares.mean() if len(squares) else 0)


def measure_distance(x: Tensor, winner: Tensor) -> Tensor:
    """Of both classes, whose squares are equal."""
    p = winner.detach().sigmoid()
    sharp = p**10 / (p**10 + (1 - p) ** 10)
    return (x.sigmoid() - sharp).square().mean()


def find_gradients(loss: Tensor, network: nn.Module) -> Tensor:
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return joined(torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True))


@pytest.mark.parametrize("worse", ["first", "second"])
def test_a_step_is_the_sum_of_the_formulas_and_the_winner_has_no_unlabelled_term(worse: str) -> None:
    level, batch = build_level()
    spoil(getattr(level.module, worse))
    loss = level.training_step(batch)

    images = torch.cat([batch.image, batch.unlabelled])
    first, second = level.module.first(images)[:, 0], level.module.second(images)[:, 0]
    count, y = len(batch.image), batch.mask.double()
    own = {
        "first": measure_own(first[:count], second[:count], y),
        "second": measure_own(second[:count], first[:count], y),
    }
    teaching = {
        "first": measure_distance(first[count:], second[count:]),
        "second": measure_distance(second[count:], first[count:]),
    }
    weight = 0.1 * torch.exp(torch.tensor(-5 * 0.1**2, dtype=torch.float64))
    expected = own["first"] + own["second"] + weight * teaching[worse]
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)
    assert (weight * teaching[worse]).item() > 1e-3  # enough to be seen

    (better,) = {"first", "second"} - {worse}
    winner, loser = getattr(level.module, better), getattr(level.module, worse)
    assert relative_error(find_gradients(loss, winner), find_gradients(own[better], winner)) < 1e-9
    taught = find_gradients(own[worse] + weight * teaching[worse], loser)
    assert relative_error(find_gradients(loss, loser), taught) < 1e-9
    assert relative_error(find_gradients(own[worse], loser), taught) > 1e-6


def test_a_draw_is_won_by_the_second() -> None:
    """Two networks of equal logits: the first one is taught, as in the authors' code."""
    level, _ = build_level()
    logits = torch.randn(4, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    twin = logits.detach().clone().requires_grad_()
    level.forward = lambda images: (logits, twin)
    batch = MixedBatch(
        image=torch.zeros(2, 1, 8, 8),
        mask=torch.randint(0, 2, (2, 8, 8)),
        ids=["a", "b"],
        unlabelled=torch.zeros(2, 1, 8, 8),
        progress=torch.tensor(1.0),
    )
    level.training_step(batch).backward()
    assert logits.grad is not None
    assert twin.grad is not None
    assert logits.grad[2:].any()
    assert not twin.grad[2:].any()


def test_keys_reach_the_loss() -> None:
    def measure(*overrides: str) -> float:
        level, batch = build_level(*overrides)
        spoil(level.module.first)
        return level.training_step(batch).item()

    usual = measure()
    for key in ("consistency_weight=0.5", "correction_weight=1", "temperature=1"):
        assert abs(measure(f"method.{key}") - usual) > 1e-4, key
    # Without either weight what is left are CE and Dice of both.
    level, batch = build_level("method.consistency_weight=0", "method.correction_weight=0")
    first, second = level(torch.cat([batch.image, batch.unlabelled]))
    left = sum(measure_plain(logits[: len(batch.image), 0], batch.mask.double()) for logits in (first, second))
    torch.testing.assert_close(level.training_step(batch), left, rtol=1e-9, atol=0)


def measure_plain(x: Tensor, y: Tensor) -> Any:
    return measure_own(x, x, y)
