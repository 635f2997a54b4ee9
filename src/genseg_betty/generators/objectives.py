"""What stage I optimises: the losses of a generator G and of its opponent H, one class for each family (GenSeg, Eq. 1).

An objective sees G and H as functions. `generator(*inputs)` is G at the architecture A; `opponent(condition, image)` is
H, or None where the family has none. It holds no weights, and all its random numbers come from PyTorch's default
generator, which the levels seed: a step replays.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, relu

Network = Callable[..., Any]  # a Tensor, or a tuple of them, as the family has it
Verdict = Tensor | Sequence[Sequence[Tensor]]  # logits; or of every scale its features, and its logits last


class Objective:
    """Base of all families: how an image is drawn, and the two losses."""

    has_opponent = True
    draws_masks = False  # whether a drawn image comes with a mask of its own

    def draw(self, generator: Network, condition: Tensor) -> tuple[Tensor, Tensor]:
        """An image [B, C, H, W] in [-1, 1], and the encoded mask [B, M, H, W] that it belongs to.

        The mask is the one given, but for families that draw both.
        """
        return generator(condition), condition

    def opponent_loss(self, generator: Network, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        """What H minimises on real pairs (Eq. 1, inner maximum; Eq. 6)."""
        raise NotImplementedError

    def generator_loss(self, generator: Network, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        """What G minimises on real pairs (Eq. 1, outer minimum; Eq. 5)."""
        raise NotImplementedError


class DrawnObjective(Objective):
    """Both losses look at one and the same image, generator(condition): it is drawn once for the two.

    `synthetic` is that image [B, C, H, W]; where the opponent learns it carries no gradient.
    """

    def loss_of_opponent(self, synthetic: Tensor, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        """`opponent_loss` with the image drawn."""
        raise NotImplementedError

    def loss_of_generator(self, synthetic: Tensor, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        """`generator_loss` with the image drawn."""
        raise NotImplementedError

    def opponent_loss(self, generator: Network, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        with torch.no_grad():
            synthetic = generator(condition)
        return self.loss_of_opponent(synthetic, opponent, condition, image)

    def generator_loss(self, generator: Network, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        return self.loss_of_generator(generator(condition), opponent, condition, image)


class ConditionalGAN(DrawnObjective):
    """Pix2Pix: cross-entropy against a patch discriminator and an L1 distance (Isola et al., CVPR 2017, Eq. 1-4).

    Args:
        l1_weight: λ, weight of the L1 distance to the real image.
    """

    def __init__(self, l1_weight: float = 100.0) -> None:
        self.l1_weight = l1_weight

    def loss_of_opponent(self, synthetic: Tensor, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        real = verdict_loss(opponent(condition, image), real=True)
        return 0.5 * (real + verdict_loss(opponent(condition, synthetic), real=False))

    def loss_of_generator(self, synthetic: Tensor, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        deceived = verdict_loss(opponent(condition, synthetic), real=True)
        return deceived + self.l1_weight * l1_loss(synthetic, image)


class HingeGAN(DrawnObjective):
    """SPADE, ASAPNet: hinge loss and feature matching against discriminators at several scales.

    Lim and Ye, arXiv:1705.02894 (hinge); Wang et al., CVPR 2018, Eq. 3-4 (feature matching); Park et al., CVPR 2019
    (both). Their perceptual loss needs a VGG network that would have to be downloaded: left out. An L1 distance to the
    real image stands in its place.

    The opponent returns for every scale the features of its layers and then its logits, as `MultiScaleDiscriminator`
    does; one that returns logits alone has no features to match.

    Args:
        feature_weight: weight of feature matching; 0 leaves it out.
        l1_weight: weight of the L1 distance to the real image; 0 leaves it out.
    """

    def __init__(self, feature_weight: float = 10.0, l1_weight: float = 10.0) -> None:
        self.feature_weight = feature_weight
        self.l1_weight = l1_weight

    def loss_of_opponent(self, synthetic: Tensor, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        real = hinge_loss(opponent(condition, image), real=True)
        return real + hinge_loss(opponent(condition, synthetic), real=False)

    def loss_of_generator(self, synthetic: Tensor, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        judged = opponent(condition, synthetic)
        loss = -torch.stack([logits.mean() for *_, logits in by_scale(judged)]).mean()
        if self.feature_weight:
            with torch.no_grad():
                wanted = opponent(condition, image)
            loss = loss + self.feature_weight * feature_distance(judged, wanted)
        return loss + self.l1_weight * l1_loss(synthetic, image) if self.l1_weight else loss


def by_scale(verdict: Verdict) -> Sequence[Sequence[Tensor]]:
    """A verdict as features and logits of every scale; logits alone are one scale without features."""
    return [[verdict]] if isinstance(verdict, Tensor) else verdict


def hinge_loss(verdict: Verdict, real: bool) -> Tensor:
    """max(0, 1 - logit) where the verdict should be real, else max(0, 1 + logit); mean of patches and of scales."""
    sign = -1 if real else 1
    return torch.stack([relu(1 + sign * logits).mean() for *_, logits in by_scale(verdict)]).mean()


def feature_distance(verdict: Verdict, wanted: Verdict) -> Tensor:
    """L1 distance of the features, summed over the layers of a scale; mean of the scales."""
    distances = []
    for (*features, logits), (*targets, _) in zip(by_scale(verdict), by_scale(wanted), strict=True):
        apart = [l1_loss(feature, target) for feature, target in zip(features, targets, strict=True)]
        distances.append(sum(apart, start=logits.new_zeros(())))
    return torch.stack(distances).mean()


def verdict_loss(logits: Tensor, real: bool) -> Tensor:
    """Cross-entropy of the discriminator's patch logits with the verdict `real` or not."""
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))
