"""Stage I: the weights of the mask-to-image generator and of the discriminator, at a fixed architecture.

GenSeg, Eq. 1, with the one-step updates of Eq. 5 (generator) and Eq. 6 (discriminator). What the losses are depends
on the family of the generator: `generators/objectives.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from genseg_betty.augment import Augmentation
from genseg_betty.data.batches import Batch
from genseg_betty.generators.cells import Architecture
from genseg_betty.generators.encoding import decode_mask, encode_mask
from genseg_betty.generators.objectives import DrawnObjective, Objective
from genseg_betty.levels.stage import Networks, Stage, Trial, take_pairs
from genseg_betty.multilevel.step_inputs import seed_generators
from genseg_betty.run.names import DISCRIMINATOR, GENERATOR


@dataclass(frozen=True)
class Draw:
    """Real images [B, C, H, W], their encoded masks [B, M, H, W], and the images that G makes of these."""

    image: Tensor
    condition: Tensor
    synthetic: Tensor


class Discrimination(Stage):
    """H tells real images from synthetic ones (Eq. 1, inner maximum; Eq. 6)."""

    seed_word = "discrimination"
    part: ClassVar[str] = DISCRIMINATOR
    is_stage_one: ClassVar[bool] = True
    records_step: ClassVar[bool] = False

    def training_step(self, batch: Batch) -> Tensor:
        generation: Generation = self.generator
        objective, draw = generation.objective, generation.shared_draw
        if draw is not None and isinstance(objective, DrawnObjective):
            return objective.loss_of_discriminator(draw.synthetic.detach(), self, draw.condition, draw.image)
        image, mask = generation.real_pairs(batch)
        condition = generation.encode_condition(mask)
        with generation.network.restored_buffers():  # no buffer of G learns from a step of H
            return objective.discriminator_loss(generation.generate, self, condition, image)

    def dry_pass(self) -> Trial:
        return Trial([self.module], lambda networks, image, condition: networks[0](condition, image))

    def dry_step(self) -> Trial:
        generation: Generation = self.generator

        def compute_loss(networks: Networks, image: Tensor, condition: Tensor) -> Any:
            discriminate, generate = networks
            generate_fixed = generation.fix_architecture(generate)
            return generation.objective.discriminator_loss(generate_fixed, discriminate, condition, image)

        return Trial([self.module, generation.module], compute_loss)


class Generation(Stage):
    """G makes images that H takes for real, at architecture A (Eq. 1, outer minimum; Eq. 5).

    Args:
        objective: the losses of G's family.
        architecture: A; None for a generator whose cells hold one operation each.
        num_classes: classes of the mask, background included.
        augment: moves the real pairs that stage I learns from; None leaves them as they are (the paper's D_gan).
    """

    seed_word = "generation"
    part: ClassVar[str] = GENERATOR
    is_stage_one: ClassVar[bool] = True

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
        self.search_weights = architecture
        self.num_classes = num_classes
        self.shared_draw: Draw | None = None

    def begin_step(self) -> None:
        """Draw the images of the coming step, where one draw serves the losses of both H and G.

        G's weights stay as they are until G's own step, and H's step needs no gradient of G.
        """
        super().begin_step()
        if not isinstance(self.objective, DrawnObjective):
            return
        weights = self.record.weights if self.record else None
        with self.network.with_weights(weights), self.computing(self.moment_of(self._count + 1)):
            self.shared_draw = self._draw_images(self.cur_batch)

    def _draw_images(self, batch: Batch) -> Draw:
        image, mask = self.real_pairs(batch)
        condition = self.encode_condition(mask)
        return Draw(image, condition, self.generate(condition))

    def training_step(self, batch: Batch) -> Tensor:
        discriminator: Any = self.discriminator if self.objective.has_discriminator else None
        if not isinstance(self.objective, DrawnObjective):
            image, mask = self.real_pairs(batch)
            return self.objective.generator_loss(self.generate, discriminator, self.encode_condition(mask), image)
        draw = self.shared_draw or self._draw_images(batch)
        self.shared_draw = None
        # A seed of its own: what H draws at random must not depend on whether G drew just now or before H's step.
        with seed_generators(self.moment_of(self._count, "verdict")):
            return self.objective.loss_of_generator(draw.synthetic, discriminator, draw.condition, draw.image)

    def end_step(self) -> None:
        super().end_step()
        self.shared_draw = None

    def real_pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Image and mask of the real pairs that stage I learns from."""
        return take_pairs(batch, self.augment)

    def encode_condition(self, mask: Tensor) -> Tensor:
        """The generator's input for label masks [B, H, W]: float [B, M, H, W] in {-1, 1}."""
        dtype = next(self.module.parameters()).dtype
        return encode_mask(mask, self.num_classes).to(dtype)

    def generate(self, *inputs: Tensor) -> Tensor:
        """G at the architecture A."""
        alpha = None if self.search_weights is None else self.search_weights()
        return self(*inputs, alpha)

    def synthesise(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Î(M, G, A) for label masks [B, H, W]: images [B, C, H, W] in [-1, 1] and the masks that they belong to.

        These are the masks given; of a family that draws both they are its own, as shares [B, O, H, W] of the classes.
        """
        condition = self.encode_condition(mask)
        image, drawn = self.objective.draw(self.generate, condition)
        return image, mask if drawn is condition else decode_mask(drawn)

    def render(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Î(M̂, G′, A) for stage II, and its mask. No buffer of G learns from it."""
        with self.network.restored_buffers():
            return self.synthesise(mask)

    def fix_architecture(self, network: Callable[..., Any]) -> Callable[..., Tensor]:
        """G at the architecture A, where `network` stands for G and no gradient is to reach A."""
        # No graph of α's own may outlive a trial: its nodes would tie α to the stream of that trial.
        with torch.no_grad():
            weights = {} if self.search_weights is None else self.search_weights()
        alpha = {half: weight.detach().requires_grad_() for half, weight in weights.items()}
        return lambda *inputs: network(*inputs, alpha or None)

    def dry_pass(self) -> Trial:
        def draw_images(networks: Networks, image: Tensor, condition: Tensor) -> Any:
            return self.objective.draw(self.fix_architecture(networks[0]), condition)

        return Trial([self.module], draw_images)

    def dry_step(self) -> Trial:
        modules = [self.module]
        if self.objective.has_discriminator:
            modules.append(self.discriminator.module)

        def compute_loss(networks: Networks, image: Tensor, condition: Tensor) -> Any:
            generate_fixed = self.fix_architecture(networks[0])
            return self.objective.generator_loss(generate_fixed, networks[-1], condition, image)

        return Trial(modules, compute_loss)
