"""Losses of the segmenter (L_seg in Eq. 2, L_val in Eq. 3).

The paper writes pixel-wise cross-entropy; the authors' code adds soft Dice, which is our default too. Dice is
taken over the whole batch, so that an image without foreground does not count as a complete miss, and over
the foreground classes. All losses are means, computed in float32 or better, and twice differentiable. Where several
processes share a batch, the mean of their losses is that of the joint batch: Dice's sums are taken over all of them.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from genseg_betty.errors import UserError
from genseg_betty.joint_batch import count_sharing, sum_over_processes

Loss = Callable[[Tensor, Tensor], Tensor]

BINARY = ("bce", "bce_dice")
MULTICLASS = ("ce", "ce_dice")
SMOOTH = 1e-5  # MONAI's, added above and below the fraction


def segmentation_loss(name: str, num_outputs: int) -> Loss:
    """The loss called `name`: (logits [B, num_outputs, *], target) -> scalar; images and volumes alike.

    The target is a mask [B, *] of class indices, or shares of the classes [B, num_outputs, *] in 0..1 (one output:
    the foreground's), as a generator gives them that draws image and mask: differentiable in these as well.

    Args:
        name: "bce" or "bce_dice" for one output, "ce" or "ce_dice" for several; "auto" is the one with Dice.

    Raises:
        UserError: unknown name, or one that does not fit the number of outputs.
    """
    fitting = BINARY if num_outputs == 1 else MULTICLASS
    if name == "auto":
        name = fitting[1]
    if name not in fitting:
        known = " or ".join(fitting)
        raise UserError(
            f"trainer.loss={name} does not fit a segmenter of {num_outputs} output(s): expected auto, {known}."
        )
    if name == "bce":
        return _binary_cross_entropy
    if name == "ce":
        return _cross_entropy
    return _add_dice(num_outputs)


def _binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    logits = _at_least_float32(logits)
    shares = _find_shares(target, 1)
    return functional.binary_cross_entropy_with_logits(logits, shares.to(logits.dtype))


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(_at_least_float32(logits), target)


def _add_dice(num_outputs: int) -> Loss:
    """Cross-entropy + soft Dice of the foreground."""
    from monai.losses import DiceCELoss  # takes seconds, which a mistyped command should not cost

    if num_outputs == 1:
        loss = DiceCELoss(sigmoid=True, batch=True)
    else:
        loss = DiceCELoss(softmax=True, include_background=False, batch=True)

    def cross_entropy_and_dice(logits: Tensor, target: Tensor) -> Tensor:
        shares = _find_shares(target, num_outputs)
        logits = _at_least_float32(logits)
        if count_sharing() == 1:
            return loss(logits, shares)
        cross_entropy = _binary_cross_entropy if num_outputs == 1 else _cross_entropy
        return cross_entropy(logits, shares.to(logits.dtype)) + _measure_joint_dice(logits, shares)

    return cross_entropy_and_dice


def _measure_joint_dice(logits: Tensor, shares: Tensor) -> Tensor:
    """MONAI's soft Dice loss of the foreground, over the joint batch of several processes."""
    if logits.shape[1] == 1:
        predicted = torch.sigmoid(logits)
    else:
        predicted, shares = torch.softmax(logits, 1)[:, 1:], shares[:, 1:]
    axes = [0, *range(2, logits.ndim)]
    parts = [part.sum(axes) for part in (predicted * shares, predicted, shares.to(predicted.dtype))]
    both, of_prediction, of_target = sum_over_processes(torch.stack(parts))
    dice = (2 * both + SMOOTH) / (of_prediction + of_target + SMOOTH)
    return (1 - dice).mean()


def _find_shares(target: Tensor, num_outputs: int) -> Tensor:
    """The shares of the classes, [B, num_outputs, *], whichever form the target has."""
    if target.is_floating_point():
        return target
    if num_outputs == 1:
        return target[:, None]
    return functional.one_hot(target, num_outputs).movedim(-1, 1)


def _at_least_float32(logits: Tensor) -> Tensor:
    """bfloat16, as autocast hands it over, is too coarse for sums over an image."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
