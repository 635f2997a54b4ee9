"""Deep co-training: two networks agree on unlabelled images, and withstand what was made to mislead the other.

Peng et al., Deep Co-Training for Semi-Supervised Image Segmentation, Pattern Recognition 2020; the losses and weights
are those of the authors' code:

    CE(p₁(x₁), y₁) + CE(p₂(x₂), y₂) + λ_cot(t) · JSD(p₁(u), p₂(u)) + λ_adv(t) · mean of four KL terms

Each network i has a labelled batch xᵢ of its own; both see the unlabelled images u. The KL terms hold what network j
says of the images that mislead network i, made of xᵢ and of u, against what i says of the images as they are. Both
weights rise as exp(-5 (1 - e / 50)²) over the first 50 of 120 epochs, that of the KL terms from epoch 20 on: shares of
all steps here, without stages.

With one output the classes have the probabilities 1 - p and p, and CE is binary cross-entropy.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genseg_betty.consistency import find_class_logits, find_pseudo_labels
from genseg_betty.data.unlabelled import MixedBatch
from genseg_betty.semisupervised.level import PairLevel
from genseg_betty.semisupervised.ramps import begin_at, ramp_up

RAMP_END = 50 / 120  # of the training
ADVERSARIAL_START = 20 / 120
LEAST, MOST = -1.0, 1.0  # intensities of preprocessed images; 0 and 1 in the authors' code


def measure_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over pixels, of logits [B, O, *] and class indices [B, *]."""
    return functional.cross_entropy(find_class_logits(logits), labels)


def measure_divergence(one: Tensor, other: Tensor) -> Tensor:
    """Jensen-Shannon: the entropy of the mean of two outputs less the mean of their entropies, a mean over pixels."""
    some = find_class_logits(one).log_softmax(dim=1)
    others = find_class_logits(other).log_softmax(dim=1)
    mean = torch.logaddexp(some, others) - math.log(2)
    entropies = _measure_entropy(some) + _measure_entropy(others)
    return (_measure_entropy(mean) - entropies / 2).mean()


def measure_deviation(logits: Tensor, target: Tensor) -> Tensor:
    """KL(target ‖ output), a mean over pixels; the logits `target` get no gradient from it."""
    known = find_class_logits(target.detach()).log_softmax(dim=1)
    found = find_class_logits(logits).log_softmax(dim=1)
    return (known.exp() * (known - found)).sum(dim=1).mean()


def mislead_network(network: nn.Module, image: Tensor, labels: Tensor | None, epsilon: float) -> Tensor:
    """Images [B, C, *] in [-1, 1], each intensity moved by ε of the range to where the cross-entropy grows (FGSM).

    Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015. The network is in evaluation mode for
    it, and its weights get no gradient.

    Args:
        labels: class indices [B, *]; None: what the network itself takes for the most probable.
        epsilon: a share of the range of intensities, which is 2 wide.
    """
    was_training = network.training
    network.eval()
    probed = image.detach().requires_grad_()
    logits = network(probed)
    network.train(was_training)
    if labels is None:
        labels, _ = find_pseudo_labels(logits)
    (slope,) = torch.autograd.grad(measure_cross_entropy(logits, labels), probed)
    moved = image.detach() + epsilon * (MOST - LEAST) * slope.sign()
    return moved.clamp(LEAST, MOST)


def _measure_entropy(logarithms: Tensor) -> Tensor:
    """-Σ p log p over the classes, of log p [B, K, *]."""
    return -(logarithms.exp() * logarithms).sum(dim=1)


class DeepCotraining(PairLevel):
    """The two networks and their losses, added.

    Args:
        consistency_weight: the highest λ_cot.
        adversarial_weight: the highest λ_adv.
        epsilon: how far an intensity is moved, as a share of the range.
    """

    def __init__(
        self, *args: Any, consistency_weight: float, adversarial_weight: float, epsilon: float, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.consistency_weight = consistency_weight
        self.adversarial_weight = adversarial_weight
        self.epsilon = epsilon

    def training_step(self, batch: MixedBatch) -> Tensor:
        assert batch.second is not None
        pairs = [self.take_labelled(batch), self.take_labelled(batch.second)]
        unlabelled = self.take_unlabelled(batch)
        networks = [self.module.first, self.module.second]

        # Cross-entropy and agreement, of the images as they are.
        labelled_logits = []
        unlabelled_logits = []
        supervised = torch.zeros((), device=unlabelled.device)
        for network, (image, mask) in zip(networks, pairs, strict=True):
            labelled_logits.append(network(image))
            unlabelled_logits.append(network(unlabelled))
            supervised = supervised + measure_cross_entropy(labelled_logits[-1], mask)
        divergence = measure_divergence(*unlabelled_logits)

        # Each network looks at what misleads the other one.
        deviations = []
        for index, (image, mask) in enumerate(pairs):
            own, other = networks[index], networks[1 - index]
            misleading = mislead_network(own, image, mask, self.epsilon)
            deviations.append(measure_deviation(other(misleading), labelled_logits[index]))
            misleading = mislead_network(own, unlabelled, None, self.epsilon)
            deviations.append(measure_deviation(other(misleading), unlabelled_logits[index]))
        adversarial = torch.stack(deviations).mean()

        rise = ramp_up(batch.progress, RAMP_END)
        agreement = self.consistency_weight * rise * divergence
        started = begin_at(batch.progress, ADVERSARIAL_START)
        return supervised + agreement + self.adversarial_weight * rise * started * adversarial
