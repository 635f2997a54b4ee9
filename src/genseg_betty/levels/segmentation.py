"""Stage II: the segmenter's weights on synthetic and real pairs (GenSeg, Eq. 2 and 7), and its plain rivals."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from genseg_betty.augment import Augmentation
from genseg_betty.backbones.sliding import slide
from genseg_betty.data.batches import Batch
from genseg_betty.multilevel.average import Average
from genseg_betty.multilevel.level import Level

Loss = Callable[[Tensor, Tensor], Tensor]


class SegmenterLevel(Level):
    """A level that trains a segmenter, whatever it trains it on.

    Args:
        loss: (logits [B, O, H, W], mask [B, H, W]) -> scalar.
        ema_decay: the exponential average of the weights that is validated, tested and kept; 0: the weights.
    """

    seed_word = "segmentation"

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


class Segmentation(SegmenterLevel):
    """Stage II: train the segmenter on synthetic and real pairs (GenSeg, Eq. 2 and 7).

    Synthetic batches are normalised by their own statistics, and BatchNorm's running statistics follow the real
    images alone: those are what the segmenter is validated and used on, and early synthetic images look unlike them.

    Args:
        augment: makes M̂ of M.
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
        image, mask = self.render_synthetic(batch)
        with self.network.restored_buffers():
            synthetic = self.criterion(self(image), mask)
        real = self.own_loss(lambda: self.real_weight * self.real_loss(batch))  # γ L(S(I), M)
        return synthetic + real

    def render_synthetic(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Î(M̂, G′, A) and its mask: M̂, but of generators that draw both."""
        mask = self.augment.mask(batch.mask)  # M̂
        with torch.set_grad_enabled(self.needs_lower_gradients):
            image, mask = self.generator.render(mask)
        image, mask = self.cut_graph(image, mask)
        return image, mask

    def real_loss(self, batch: Batch) -> Tensor:
        """L(S(I), M) on the real pairs."""
        image, mask = batch.image, batch.mask
        if self.augment_real:
            image, mask = self.augment.pair(image, mask)
        return self.criterion(self(image), mask)


class SupervisedSegmentation(SegmenterLevel):
    """Training on real pairs alone, augmented (Rotate, Flip, Translate, Combine) or as they are (vanilla)."""

    def __init__(self, *args: Any, augment: Augmentation | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.augment = augment

    def training_step(self, batch: Batch) -> Tensor:
        image, mask = batch.image, batch.mask
        if self.augment is not None:
            image, mask = self.augment.pair(image, mask)
        return self.criterion(self(image), mask)


def validation_loss(level: SegmenterLevel, batch: Batch) -> Tensor:
    """L_seg(S', D_val) at the live weights (Eq. 3); no buffer changes and no random number is drawn."""
    with level.evaluating():
        return level.criterion(level(batch.image), batch.mask)


@torch.inference_mode()
def predict_logits(module: nn.Module, images: Tensor, batch_size: int, window: Sequence[int]) -> Tensor:
    """Logits [N, O, *] of images [N, C, *], in batches; what is larger than the network's input by sliding windows."""
    if images.ndim == 4 or tuple(images.shape[2:]) == tuple(window):
        return torch.cat([module(part) for part in images.split(batch_size)])
    return torch.cat([slide(module, part, window, batch_size) for part in images.split(1)])
