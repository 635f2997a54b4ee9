"""Stage II: the segmenter's weights on synthetic and real pairs (GenSeg, Eq. 2 and 7), or on real pairs alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from genseg_betty.augment import Augmentation
from genseg_betty.data.batches import Batch, TwinBatch
from genseg_betty.levels.stage import Networks, Stage, Trial, take_masks, take_pairs
from genseg_betty.multilevel.average import Average
from genseg_betty.run.names import SEGMENTER

Loss = Callable[[Tensor, Tensor], Tensor]


class SegmenterLevel(Stage):
    """A level that trains a segmenter, whatever it trains it on.

    Args:
        loss: (logits [B, O, H, W], mask [B, H, W]) -> scalar.
        ema_decay: the exponential average of the weights that is validated, tested and kept; 0: the weights.
    """

    seed_word = "segmentation"
    part: ClassVar[str] = SEGMENTER
    holds_average: ClassVar[bool] = True

    def __init__(self, *args: Any, loss: Loss, ema_decay: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.criterion = loss
        self.average = Average(self.module, ema_decay)

    def patch_module(self) -> None:
        super().patch_module()
        self.average.to(self.device)

    def param_callback(self) -> None:
        """Betty calls this after each step of the optimizer, also one that was not made."""
        self.average.follow(self.module, self.guard.step_finite)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The live weights S' with BatchNorm's running statistics and without dropout."""
        self.module.eval()
        try:
            yield
        finally:
            self.module.train()

    def predictor(self) -> nn.Module:
        """The averaged segmenter, in evaluation mode."""
        return self.average.module.eval()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"average": self.average.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.average.load_state_dict(state_dict["average"])

    def dry_pass(self) -> Trial:
        return Trial([self.module], lambda networks, image, condition: networks[0](image))


class Segmentation(SegmenterLevel):
    """Stage II: train the segmenter on synthetic and real pairs (GenSeg, Eq. 2 and 7).

    Synthetic batches are normalised by their own statistics, and BatchNorm's running statistics follow the real
    images alone: those are what the segmenter is validated and used on, and early synthetic images look unlike them.

    Args:
        augment: makes M̂ of M, and changes the intensities of Î where its recipe has any.
        real_weight: γ.
        augment_real: move the real pairs as well, as the Combine baseline does; the paper leaves them as they are.
    """

    def __init__(
        self, *args: Any, augment: Augmentation, real_weight: float, augment_real: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.augment = augment
        self.real_weight = real_weight
        self.augment_real = augment_real

    def training_step(self, batch: Batch) -> Tensor:
        mask = take_masks(batch, self.augment)  # M̂
        image, mask = self.render_synthetic(mask)  # Î(M̂, G′, A)
        synthetic = self.synthetic_loss(image, mask)  # L(S(Î), M̂)
        real = self.own_loss(lambda: self.real_weight * self.real_loss(batch))  # γ L(S(I), M)
        return synthetic + real

    def render_synthetic(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The images of these masks, augmented, and the masks; generators that draw masks too give their own."""
        with torch.set_grad_enabled(self.needs_lower_gradients):
            image, mask = self.generator.render(mask)
            image = self.augment.image(image)
        image, mask = self.cut_graph(image, mask)
        return image, mask

    def synthetic_loss(self, image: Tensor, mask: Tensor) -> Tensor:
        """The loss on synthetic pairs; no running statistic follows them."""
        with self.network.restored_buffers():
            return self.criterion(self(image), mask)

    def real_loss(self, batch: Batch) -> Tensor:
        """The loss on real pairs."""
        image, mask = take_pairs(batch, self.augment if self.augment_real else None)
        return self.criterion(self(image), mask)

    def dry_step(self) -> Trial:
        return Trial([self.module], pass_twice)


class SupervisedSegmentation(SegmenterLevel):
    """Training on real pairs alone, augmented (Rotate, Flip, Translate, Combine) or as they are (vanilla)."""

    def __init__(self, *args: Any, augment: Augmentation | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.augment = augment

    def training_step(self, batch: Batch) -> Tensor:
        image, mask = take_pairs(batch, self.augment)
        return self.criterion(self(image), mask)


class TwiceSupervisedSegmentation(SupervisedSegmentation):
    """Training on two batches of real pairs a step: the second stands where GenSeg has the synthetic pairs beside it.

    Args:
        real_weight: γ, the weight of the second batch, as of GenSeg's real pairs.
    """

    def __init__(self, *args: Any, real_weight: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.real_weight = real_weight

    def training_step(self, batch: Batch) -> Tensor:
        assert isinstance(batch, TwinBatch)
        first = super().training_step(batch)
        second = super().training_step(batch.second)
        return first + self.real_weight * second

    def dry_step(self) -> Trial:
        return Trial([self.module], pass_twice)


def pass_twice(networks: Networks, image: Tensor, condition: Tensor) -> tuple[Any, Any]:
    """The segmenter on two batches of a step."""
    return networks[0](image), networks[0](image)
