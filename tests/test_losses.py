"""Losses against formulas written out in NumPy, and their second derivatives."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax

from genseg_betty.errors import UserError
from genseg_betty.losses import segmentation_loss


def example(outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.randn(3, outputs, 5, 4, dtype=torch.float64) * 3
    return logits, torch.randint(0, max(outputs, 2), (3, 5, 4))


def test_binary_losses_are_their_formulas() -> None:
    logits, mask = example(1)
    x, t = logits.numpy()[:, 0], mask.numpy()
    bce = -np.mean(t * np.log(expit(x)) + (1 - t) * np.log(1 - expit(x)))
    dice = 2 * np.sum(expit(x) * t) / np.sum(expit(x) + t)  # over the whole batch
    assert float(segmentation_loss("bce", 1)(logits, mask)) == pytest.approx(bce)
    assert float(segmentation_loss("bce_dice", 1)(logits, mask)) == pytest.approx(bce + 1 - dice, rel=1e-5)


def test_multiclass_losses_are_their_formulas() -> None:
    logits, mask = example(3)
    x, one_hot = logits.numpy(), np.moveaxis(np.eye(3)[mask.numpy()], -1, 1)
    ce = -np.mean(np.sum(one_hot * log_softmax(x, axis=1), axis=1))
    p = softmax(x, axis=1)
    dice = 2 * np.sum(p * one_hot, axis=(0, 2, 3)) / np.sum(p + one_hot, axis=(0, 2, 3))
    assert float(segmentation_loss("ce", 3)(logits, mask)) == pytest.approx(ce)
    expected = ce + 1 - dice[1:].mean()  # of the foreground classes
    assert float(segmentation_loss("ce_dice", 3)(logits, mask)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("outputs", "name"), [(1, "bce_dice"), (4, "ce_dice")])
def test_auto_is_the_one_with_dice(outputs: int, name: str) -> None:
    logits, mask = example(outputs)
    assert segmentation_loss("auto", outputs)(logits, mask) == segmentation_loss(name, outputs)(logits, mask)


@pytest.mark.parametrize(("outputs", "name"), [(1, "bce"), (1, "bce_dice"), (3, "ce"), (3, "ce_dice")])
def test_second_derivatives(outputs: int, name: str) -> None:
    logits, mask = example(outputs)
    loss = segmentation_loss(name, outputs)
    logits = logits[:2, :, :3, :2].clone().requires_grad_()
    mask = mask[:2, :3, :2]
    assert torch.autograd.gradcheck(lambda x: loss(x, mask), (logits,))
    assert torch.autograd.gradgradcheck(lambda x: loss(x, mask), (logits,))


@pytest.mark.parametrize(("outputs", "name"), [(1, "bce_dice"), (3, "ce_dice")])
def test_perfect_wrong_and_empty(outputs: int, name: str) -> None:
    loss = segmentation_loss(name, outputs)
    mask = torch.randint(0, max(outputs, 2), (2, 8, 8))
    sure = 200 * (mask[:, None] * 2.0 - 1) if outputs == 1 else 200 * torch.eye(3)[mask].movedim(-1, 1)
    assert loss(sure, mask) < 1e-4
    assert loss(-sure, mask).isfinite()
    assert loss(-sure, mask) > 100
    logits = torch.zeros(2, outputs, 8, 8, requires_grad=True)
    loss(logits, torch.zeros_like(mask)).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(("outputs", "name"), [(1, "bce"), (1, "bce_dice"), (3, "ce"), (3, "ce_dice")])
def test_half_precision_logits_are_summed_in_float32(outputs: int, name: str) -> None:
    logits = torch.randn(2, outputs, 64, 64).bfloat16()
    mask = torch.randint(0, max(outputs, 2), (2, 64, 64))
    loss = segmentation_loss(name, outputs)
    assert loss(logits, mask).dtype == torch.float32
    assert torch.equal(loss(logits, mask), loss(logits.float(), mask))


@pytest.mark.parametrize(("name", "outputs"), [("ce", 1), ("ce_dice", 1), ("bce", 3), ("bce_dice", 2), ("focal", 1)])
def test_wrong_combinations_name_the_right_ones(name: str, outputs: int) -> None:
    with pytest.raises(UserError, match="bce or bce_dice" if outputs == 1 else "auto, ce or ce_dice"):
        segmentation_loss(name, outputs)
