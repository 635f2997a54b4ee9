"""What stage I optimises: the losses of a generator G and of a discriminator H, one class for each family (GenSeg,
Eq. 1).

An objective sees G and H as functions. `generator(*inputs)` is G at the architecture A; `discriminator(condition,
image)` is H, or None where the family has none. An objective holds no weights, and it draws all its random numbers from
PyTorch's default generator, which the levels seed: a step replays.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, relu

Network = Callable[..., Any]  # a Tensor, or a tuple of them, as the family has it
Verdict = Tensor | Sequence[Sequence[Tensor]]  # logits; or of every scale its features, and its logits last

OTHER_NAMES = {
    "has_discriminator": "has_opponent",
    "discriminator_loss": "opponent_loss",
    "loss_of_discriminator": "loss_of_opponent",
}
OTHER_NAMES |= {other: name for name, other in OTHER_NAMES.items()}


class Objective:
    """Base of all families: how an image is drawn, and the two losses.

    Older code calls the discriminator the opponent. `has_opponent`, `opponent_loss` and `loss_of_opponent` are other
    names of `has_discriminator`, `discriminator_loss` and `loss_of_discriminator`: a class defines either.
    """

    has_discriminator = True
    draws_masks = False  # whether a drawn image comes with a mask of its own

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _define_other_names(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in OTHER_NAMES:
            super().__setattr__(OTHER_NAMES[name], value)

    def draw(self, generator: Network, condition: Tensor) -> tuple[Tensor, Tensor]:
        """An image [B, C, H, W] in [-1, 1], and the encoded mask [B, M, H, W] that it belongs to.

        The mask is the one given, but for families that draw both.
        """
        return generator(condition), condition

    def discriminator_loss(
        self, generator: Network, discriminator: Network, condition: Tensor, image: Tensor
    ) -> Tensor:
        """What H minimises on real pairs (Eq. 1, inner maximum; Eq. 6)."""
        raise NotImplementedError

    def generator_loss(self, generator: Network, discriminator: Network, condition: Tensor, image: Tensor) -> Tensor:
        """What G minimises on real pairs (Eq. 1, outer minimum; Eq. 5)."""
        raise NotImplementedError


def _define_other_names(family: type[Objective]) -> None:
    """Give what a class defines under one of two names the other name as well."""
    defined = dict(vars(family))
    for name, other in OTHER_NAMES.items():
        if name in defined and other not in defined:
            setattr(family, other, defined[name])


_define_other_names(Objective)


class DrawnObjective(Objective):
    """Both losses look at one and the same image, generator(condition): it is drawn once for the two.

    `synthetic` is that image [B, C, H, W]; where the discriminator learns it carries no gradient.
    """

    def loss_of_discriminator(
        self, synthetic: Tensor, discriminator: Network, condition: Tensor, image: Tensor
    ) -> Tensor:
        """`discriminator_loss` with the image drawn."""
        raise NotImplementedError

    def loss_of_generator(self, synthetic: Tensor, discriminator: Network, condition: Tensor, image: Tensor) -> Tensor:
        """`generator_loss` with the image drawn."""
        raise NotImplementedError

    def discriminator_loss(
        self, generator: Network, discriminator: Network, condition: Tensor, image: Tensor
    ) -> Tensor:
        with torch.no_grad():
            synthetic = generator(condition)
        return self.loss_of_discriminator(synthetic, discriminator, condition, image)

    def generator_loss(self, generator: Network, discriminator: Network, condition: Tensor, image: Tensor) -> Tensor:
        return self.loss_of_generator(generator(condition), discriminator, condition, image)


class ConditionalGAN(DrawnObjective):
    """Pix2Pix: cross-entropy against a patch discriminator and an L1 distance (Isola et al., CVPR 2017, Eq. 1-4).

    Args:
        l1_weight: λ, weight of the L1 distance to the real image.
    """

    def __init__(self, l1_weight: float = 100.0) -> None:
        self.l1_weight = l1_weight

    def loss_of_discriminator(
        self, synthetic: Tensor, discriminator: Network, condition: Tensor, image: Tensor
    ) -> Tensor:
        real = verdict_loss(discriminator(condition, image), real=True)
        fake = verdict_loss(discriminator(condition, synthetic), real=False)
        return 0.5 * (real + fake)

    def loss_of_generator(self, synthetic: Tensor, discriminator: Network, condition: Tensor, image: Tensor) -> Tensor:
        deceived = verdict_loss(discriminator(condition, synthetic), real=True)
        return deceived + self.l1_weight * l1_loss(synthetic, image)


class HingeGAN(DrawnObjective):
    """SPADE, ASAPNet: hinge loss and feature matching against discriminators at several scales.

    Lim and Ye, arXiv:1705.02894 (hinge); Wang et al., CVPR 2018, Eq. 3-4 (feature matching); Park et al., CVPR 2019
    (both). Their perceptual loss needs a VGG network that would have to be downloaded: left out. An L1 distance to the
    real image stands in its place.

    The discriminator returns for every scale the features of its layers and then its logits, as
    `MultiScaleDiscriminator` does; one that returns logits alone has no features to match.

    Args:
        feature_weight: weight of feature matching; 0 leaves it out.
        l1_weight: weight of the L1 distance to the real image; 0 leaves it out.
    """

    def __init__(self, feature_weight: float = 10.0, l1_weight: float = 10.0) -> None:
        self.feature_weight = feature_weight
        self.l1_weight = l1_weight

    def loss_of_discriminator(
        self, synthetic: Tensor, discriminator: Network, condition: Tensor, image: Tensor
    ) -> Tensor:
        real = hinge_loss(discriminator(condition, image), real=True)
        fake = hinge_loss(discriminator(condition, synthetic), real=False)
        return real + fake

    def loss_of_generator(self, synthetic: Tensor, discriminator: Network, condition: Tensor, image: Tensor) -> Tensor:
        judged = discriminator(condition, synthetic)
        means = [logits.mean() for logits in take_logits(judged)]
        loss = -torch.stack(means).mean()
        if self.feature_weight:
            with torch.no_grad():
                wanted = discriminator(condition, image)
            loss = loss + self.feature_weight * feature_distance(judged, wanted)
        if self.l1_weight:
            loss = loss + self.l1_weight * l1_loss(synthetic, image)
        return loss


def by_scale(verdict: Verdict) -> Sequence[Sequence[Tensor]]:
    """A verdict as features and logits of every scale; logits alone are one scale without features."""
    return [[verdict]] if isinstance(verdict, Tensor) else verdict


def take_logits(verdict: Verdict) -> Iterator[Tensor]:
    """The logits of every scale of a verdict."""
    for *_, logits in by_scale(verdict):
        yield logits


def hinge_loss(verdict: Verdict, real: bool) -> Tensor:
    """max(0, 1 - logit) where the verdict should be real, else max(0, 1 + logit); mean of patches and of scales."""
    sign = -1 if real else 1
    losses = []
    for logits in take_logits(verdict):
        hinge = relu(1 + sign * logits)
        losses.append(hinge.mean())
    return torch.stack(losses).mean()


def feature_distance(verdict: Verdict, wanted: Verdict) -> Tensor:
    """L1 distance of the features, summed over the layers of a scale; mean of the scales."""
    distances = []
    for seen, wanted_here in zip(by_scale(verdict), by_scale(wanted), strict=True):
        *features, logits = seen
        *targets, _ = wanted_here
        distance = logits.new_zeros(())
        for feature, target in zip(features, targets, strict=True):
            distance = distance + l1_loss(feature, target)
        distances.append(distance)
    return torch.stack(distances).mean()


def verdict_loss(logits: Tensor, real: bool) -> Tensor:
    """Cross-entropy of the discriminator's patch logits with the verdict `real` or not."""
    target = torch.full_like(logits, float(real))
    return binary_cross_entropy_with_logits(logits, target)
