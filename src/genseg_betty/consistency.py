"""What networks or views of an image teach each other, by their logits alone: losses and what goes into them.

Mutual correction (MCF): Wang et al., MCF: Mutual Correction Framework for Semi-Supervised Medical Image Segmentation,
CVPR 2023. UniMatch: Yang et al., Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic Segmentation, CVPR
2023, as its authors use it for medical images. Both are written down as their authors' code computes them.

Logits are [B, O, *] with one output for a binary task, whose probabilities are those of two classes: [1 - p, p]. So
[B, K, *] below has K = 2 for O = 1, and K = O otherwise. All is computed in float32 or better.
"""

import torch
from torch import Tensor

SMOOTH = 1e-5  # both terms of a Dice fraction get it: that of two empty masks is 1


def find_class_logits(logits: Tensor) -> Tensor:
    """Logits [B, O, *] -> logits of which a softmax gives the probabilities of all classes: [B, K, *]."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if logits.shape[1] > 1:
        return logits
    return torch.cat([torch.zeros_like(logits), logits], dim=1)


def find_probabilities(logits: Tensor) -> Tensor:
    """Logits [B, O, *] -> probabilities of all classes [B, K, *]."""
    return find_class_logits(logits).softmax(dim=1)


def sharpen_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Logits [B, O, *] -> p^(1/T) / Σ p^(1/T) over the classes [B, K, *], which nears the argmax as T falls."""
    return (find_class_logits(logits) / temperature).softmax(dim=1)


def find_pseudo_labels(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [B, O, *] -> the most probable class of each pixel [B, *], and its probability [B, *]; no gradient."""
    confidence, labels = find_probabilities(logits.detach()).max(dim=1)
    return labels, confidence


# -- Dice --------------------------------------------------------------------------------------------------------


def measure_dice_losses(logits: Tensor, labels: Tensor, counted: Tensor | None = None) -> Tensor:
    """1 - (2 Σ p t + s) / (Σ p² + Σ t² + s) for each class, over all pixels of the batch: [K].

    Args:
        labels: class indices [B, *].
        counted: bool [B, *], the pixels that count; None: all do.
    """
    chances = find_probabilities(logits)
    truth = _find_one_hot(labels, chances)
    if counted is not None:
        weights = counted[:, None]
        chances = chances * weights
        truth = truth * weights
    overlap = _sum_pixels(chances * truth)
    sizes = _sum_pixels(chances.square()) + _sum_pixels(truth)
    return 1 - (2 * overlap + SMOOTH) / (sizes + SMOOTH)


def measure_foreground_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean of `measure_dice_losses` over the classes that are no background; it tells which network of MCF wins."""
    return measure_dice_losses(logits, labels)[1:].mean()


def measure_confident_dice(logits: Tensor, labels: Tensor, confidence: Tensor, threshold: float) -> Tensor:
    """The mean of `measure_dice_losses` over all classes, over pixels of at least this confidence; 0 without any."""
    return measure_dice_losses(logits, labels, confidence >= threshold).mean()


# -- mutual correction -------------------------------------------------------------------------------------------


def measure_corrections(logits: Tensor, others: Tensor, labels: Tensor) -> Tensor:
    """(p - t)² of the foreground classes, a mean over the pixels where two networks disagree; 0 without any.

    Args:
        logits: of the network that learns from it.
        others: of the other network.
    """
    chances = find_probabilities(logits)
    squares = (chances - _find_one_hot(labels, chances))[:, 1:].square().mean(dim=1)
    choice, _ = find_pseudo_labels(logits)
    other_choice, _ = find_pseudo_labels(others)
    disagree = choice != other_choice
    return (squares * disagree).sum() / disagree.sum().clamp_min(1)


def measure_rectification(logits: Tensor, target: Tensor) -> Tensor:
    """The mean squared distance of the probabilities from those of a teacher [B, K, *], over pixels and classes."""
    return (find_probabilities(logits) - target).square().mean()


def _find_one_hot(labels: Tensor, chances: Tensor) -> Tensor:
    """Class indices [B, *] in the form of `chances` [B, K, *]."""
    classes = torch.arange(chances.shape[1], device=chances.device)
    classes = classes.reshape(-1, *[1] * (labels.ndim - 1))
    return (labels[:, None] == classes).to(chances.dtype)  # one_hot of PyTorch waits for the device


def _sum_pixels(values: Tensor) -> Tensor:
    """Values [B, K, *] -> their sum over all but the classes: [K]."""
    return values.transpose(0, 1).flatten(1).sum(dim=1)
