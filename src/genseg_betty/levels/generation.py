"""Stage I: the mask-to-image generator's weights, and its opponent's, at a fixed architecture.

GenSeg, Eq. 1, with the one-step updates of Eq. 5 (generator) and Eq. 6 (discriminator). What the losses are depends
on the family of the generator: `generators/objectives.py`.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genseg_betty.augment import Augmentation
from genseg_betty.data.batches import Batch
from genseg_betty.generators.cells import Architecture
from genseg_betty.generators.encoding import decode_mask, encode_mask
from genseg_betty.generators.objectives import Objective
from genseg_betty.levels.level import Level
from genseg_betty.step_inputs import seed_generators


@dataclass(frozen=True)
class Drawn:
    """Real images, their encoded masks, and the images that G makes of these."""

    image: Tensor
    condition: Tensor
    synthetic: Tensor


class Discrimination(Level):
    """H tells real images from synthetic ones (Eq. 1, inner maximum; Eq. 6)."""

    def training_step(self, batch: Batch) -> Tensor:
        generation = self.generation
        objective = generation.objective
        if objective.draws_once:
            drawn = generation.draw_ahead(batch)
            synthetic = drawn.synthetic.detach()
            return objective.opponent_loss(lambda condition: synthetic, self, drawn.condition, drawn.image)
        image, mask = generation.pairs(batch)
        with generation.statistics_aside():
            return objective.opponent_loss(generation.at_choices, self, generation.condition(mask), image)


class Generation(Level):
    """G makes images that H takes for real, at architecture A (Eq. 1, outer minimum; Eq. 5).

    Args:
        objective: the losses of G's family.
        architecture: A; None for a generator whose cells hold one operation each.
        num_classes: classes of the mask, background included.
        augment: moves the real pairs that stage I learns from; None leaves them as they are (the paper's D_gan).
    """

    def __init__(
        self,
        *args: Any,
        objective: Objective,
        architecture: Architecture | None,
        num_classes: int,
        augment: Augmentation | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.objective = objective
        self.augment = augment
        self.choices = architecture
        self.num_classes = num_classes
        self._drawn_ahead: Drawn | None = None

    def training_step(self, batch: Batch) -> Tensor:
        opponent: Any = self.discrimination if self.objective.has_opponent else None
        if not self.objective.draws_once:
            image, mask = self.pairs(batch)
            return self.objective.generator_loss(self.at_choices, opponent, self.condition(mask), image)
        drawn, self._drawn_ahead = self._drawn_ahead or self._draw(batch), None
        # A seed of its own: what H may draw must not depend on whether G drew just now or ahead.
        with seed_generators(self.moment_of(self._count, "verdict")):
            return self.objective.generator_loss(
                lambda condition: drawn.synthetic, opponent, drawn.condition, drawn.image
            )

    def draw_ahead(self, batch: Batch) -> Drawn:
        """What this level's coming step begins with, for H to look at before: G runs once for both.

        G's weights do not change in between, and H's step needs no gradient of G.
        """
        self.begin()
        with self.at(self.record.weights if self.record else None), self.computing(self.moment_of(self._count + 1)):
            self._drawn_ahead = self._draw(batch)
        return self._drawn_ahead

    def _draw(self, batch: Batch) -> Drawn:
        image, mask = self.pairs(batch)
        condition = self.condition(mask)
        return Drawn(image, condition, self.at_choices(condition))

    def release(self) -> None:
        super().release()
        self._drawn_ahead = None

    def pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Image and mask of the real pairs that stage I learns from."""
        return (batch.image, batch.mask) if self.augment is None else self.augment.pair(batch.image, batch.mask)

    def condition(self, mask: Tensor) -> Tensor:
        """The generator's input for label masks [B, H, W]: float [B, M, H, W] in {-1, 1}."""
        dtype = next(self.module.parameters()).dtype
        return encode_mask(mask, self.num_classes).to(dtype)

    def at_choices(self, *inputs: Tensor) -> Tensor:
        """G at the architecture A."""
        return self(*inputs, self.choices() if self.choices is not None else None)

    def synthesise(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Î(M, G, A) for label masks [B, H, W]: images [B, C, H, W] in [-1, 1] and the masks that they belong to.

        These are the masks given; of a family that draws both they are its own, as shares [B, O, H, W] of the classes.
        """
        condition = self.condition(mask)
        image, drawn = self.objective.draw(self.at_choices, condition)
        return image, mask if drawn is condition else decode_mask(drawn)

    def render(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Î(M̂, G′, A) for stage II, and its mask. No buffer of G learns from it."""
        with self.statistics_aside():
            return self.synthesise(mask)
