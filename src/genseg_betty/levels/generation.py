"""Stage I: the mask-to-image generator's weights, and the discriminator's, at a fixed architecture.

GenSeg, Eq. 1, with the one-step updates of Eq. 5 (generator) and Eq. 6 (discriminator). The generator is
Pix2Pix (Isola 2017): binary cross-entropy against a patch discriminator plus a weighted L1 distance.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

from genseg_betty.augment import Augmentation
from genseg_betty.data.loading import Batch
from genseg_betty.generators.cells import Architecture
from genseg_betty.generators.encoding import encode_mask
from genseg_betty.levels.level import Level


def verdict_loss(logits: Tensor, real: bool) -> Tensor:
    """Cross-entropy of the discriminator's patch logits with the verdict `real` or not."""
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


class Discrimination(Level):
    """H tells real images from synthetic ones (Eq. 1, inner maximum; Eq. 6)."""

    def training_step(self, batch: Batch) -> Tensor:
        image, mask = self.generation.pairs(batch)
        condition = self.generation.condition(mask)
        with torch.no_grad(), self.generation.statistics_aside():
            synthetic = self.generation.synthesise(mask)
        real = verdict_loss(self(condition, image), real=True)
        return 0.5 * (real + verdict_loss(self(condition, synthetic), real=False))


class Generation(Level):
    """G makes images that H takes for real, at architecture A (Eq. 1, outer minimum; Eq. 5).

    Args:
        architecture: A; None for a generator whose cells hold one operation each.
        num_classes: classes of the mask, background included.
        l1_weight: weight of the L1 distance to the real image (Pix2Pix, λ).
        augment: moves the real pairs that stage I learns from; None leaves them as they are (the paper's D_gan).
    """

    def __init__(
        self,
        *args: Any,
        architecture: Architecture | None,
        num_classes: int,
        l1_weight: float,
        augment: Augmentation | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.augment = augment
        self.choices = architecture
        self.num_classes = num_classes
        self.l1_weight = l1_weight

    def pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Image and mask of the real pairs that stage I learns from."""
        return (batch.image, batch.mask) if self.augment is None else self.augment.pair(batch.image, batch.mask)

    def condition(self, mask: Tensor) -> Tensor:
        """The generator's input for label masks [B, H, W]: float [B, M, H, W] in {-1, 1}."""
        dtype = next(self.module.parameters()).dtype
        return encode_mask(mask, self.num_classes).to(dtype)

    def synthesise(self, mask: Tensor) -> Tensor:
        """Î(M, G, A): images [B, C, H, W] in [-1, 1] for label masks [B, H, W]."""
        return self(self.condition(mask), self.choices() if self.choices is not None else None)

    def render(self, mask: Tensor) -> Tensor:
        """Î(M̂, G', A) for stage II; part of a graph only when stage III will ask for its derivative.

        No buffer of G learns from it: stage II leaves the generator as it is.
        """
        with torch.set_grad_enabled(self.recording != "nothing"), self.statistics_aside():
            return self.synthesise(mask)

    def training_step(self, batch: Batch) -> Tensor:
        image, mask = self.pairs(batch)
        synthetic = self.synthesise(mask)
        deceived = verdict_loss(self.discrimination(self.condition(mask), synthetic), real=True)
        return deceived + self.l1_weight * l1_loss(synthetic, image)
