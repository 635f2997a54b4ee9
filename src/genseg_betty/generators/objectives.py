"""What stage I optimises: the losses of a generator G and of its opponent H, one class for each family (GenSeg, Eq. 1).

An objective sees G and H as functions. `generator(*inputs)` is G at the architecture A; `opponent(condition, image)` is
H, or None where the family has none. It holds no weights, and all its random numbers come from PyTorch's default
generator, which the levels seed: a step replays.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

Network = Callable[..., Tensor]


class Objective:
    """Base of all families: how an image is drawn, and the two losses."""

    has_opponent = True

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


class ConditionalGAN(Objective):
    """Pix2Pix: cross-entropy against a patch discriminator and an L1 distance (Isola et al., CVPR 2017, Eq. 1-4).

    Args:
        l1_weight: λ, weight of the L1 distance to the real image.
    """

    def __init__(self, l1_weight: float = 100.0) -> None:
        self.l1_weight = l1_weight

    def opponent_loss(self, generator: Network, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        with torch.no_grad():
            synthetic = generator(condition)
        real = verdict_loss(opponent(condition, image), real=True)
        return 0.5 * (real + verdict_loss(opponent(condition, synthetic), real=False))

    def generator_loss(self, generator: Network, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        synthetic = generator(condition)
        deceived = verdict_loss(opponent(condition, synthetic), real=True)
        return deceived + self.l1_weight * l1_loss(synthetic, image)


def verdict_loss(logits: Tensor, real: bool) -> Tensor:
    """Cross-entropy of the discriminator's patch logits with the verdict `real` or not."""
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))
