"""The draws of synthetic pairs: M̂ = augmented M, Î = G(M̂, A) (GenSeg, Eq. 2). Each is a pure function of its number."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genseg_betty.augment import Augmentation
from genseg_betty.data.batches import StepSampler, foreground_of, patch_at
from genseg_betty.inference.mask_moves import MaskMove, replay_move
from genseg_betty.inference.renderer import Renderer
from genseg_betty.randomness import derived_seed, seeded


@dataclass(frozen=True)
class Cut:
    """A part of the generator's size, with background around it where the whole is smaller.

    Args:
        around: widths before and behind of each axis, the last axis first.
        place: of the part, after that.
    """

    around: tuple[int, ...]
    place: tuple[slice, ...]

    def take_part(self, values: Tensor, fill: float = 0) -> Tensor:
        """The part of values [*] or [C, *]."""
        padded = torch.nn.functional.pad(values, self.around, value=fill)
        place: tuple[Any, ...] = (..., *self.place)
        return padded[place]

    @property
    def start(self) -> list[int]:
        """Where the part begins in the whole, along each axis; negative where background stands before it."""
        before = reversed(self.around[::2])
        return [part.start - width for part, width in zip(self.place, before, strict=True)]


@dataclass(frozen=True)
class DrawnPair:
    """Image float32 [C, *] in [-1, 1] and mask int64 [*].

    Args:
        number: of the draw, from 0.
        source: the position of the training case whose mask was moved.
        move: how; None where that is not known.
        cut: which part of the mask, of volumes of another size than the generator's.
    """

    number: int
    source: int
    image: Tensor
    mask: Tensor
    move: MaskMove | None
    cut: Cut | None

    @property
    def pair(self) -> tuple[Tensor, np.ndarray]:
        return self.image, self.mask.numpy()


@dataclass(frozen=True)
class PairDraws:
    """Draws pairs by their number: masks take turns in a seeded order, each augmented anew and rendered."""

    masks: Sequence[Tensor]
    size: tuple[int, ...]
    seed: int
    renderer: Renderer
    augment: Augmentation

    @cached_property
    def order(self) -> StepSampler:
        return StepSampler(len(self.masks), 1, self.seed)

    def draw_pair(self, number: int) -> DrawnPair:
        """Each pair draws from a seed of its own, so that a larger count begins alike."""
        source = int(self.order.indices(number))
        seed = derived_seed(self.seed, "generate", number)
        cut = self.find_cut(source, number)
        whole = self.masks[source]
        mask = whole if cut is None else cut.take_part(whole)
        with seeded(seed):
            image, mask = self.renderer(self.augment.mask(mask[None]))
            image = self.augment.image(image[None])[0]
        return DrawnPair(number, source, image, mask, replay_move(self.augment, seed, self.size), cut)

    def find_cut(self, source: int, number: int) -> Cut | None:
        """The part of a case's mask that a draw takes; None where the mask has the generator's size."""
        mask = self.masks[source]
        if tuple(mask.shape) == self.size:
            return None
        around: list[int] = []
        for side, wanted in zip(reversed(mask.shape), reversed(self.size), strict=True):
            missing = max(wanted - side, 0)
            before = missing // 2
            around += [before, missing - before]
        padded = torch.nn.functional.pad(mask, around)
        generator = torch.Generator()
        generator.manual_seed(derived_seed(self.seed, "patch", number))
        place = patch_at(padded.shape, foreground_of(padded), self.size, generator)
        return Cut(tuple(around), place)
