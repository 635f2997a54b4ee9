"""What a training step sees: batches of the labelled cases in memory, in an order that a seed determines."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

FOREGROUND_SHARE = 2 / 3  # of the patches of a volume, which are drawn about a voxel of the foreground


@dataclass
class Batch:
    """image [B, C, *] float32 in [-1, 1]; mask [B, *] int64 class indices; the case ids. * is h, w or d, h, w."""

    image: Tensor
    mask: Tensor
    ids: list[str]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return Batch(self.image.to(device), self.mask.to(device), self.ids)

    def clone(self) -> "Batch":
        """A copy with tensors of its own."""
        return Batch(self.image.clone(), self.mask.clone(), list(self.ids))

    def overwrite(self, other: "Batch") -> None:
        """Write the tensors of another batch of the same form over those of this one."""
        self.image.copy_(other.image)
        self.mask.copy_(other.mask)
        self.ids = list(other.ids)


@dataclass
class LabelledSet:
    """Preprocessed cases in memory: images [N, C, *] float32, masks [N, *] int64; * is h, w or d, h, w.

    `patch`: what a training step sees of volumes that are larger than the network's input.
    """

    ids: list[str]
    images: Tensor
    masks: Tensor
    patch: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> "LabelledSet":
        """The same cases on another device."""
        there = replace(self, images=self.images.to(device), masks=self.masks.to(device))
        if self.patch is not None:
            vars(there)["foregrounds"] = self.foregrounds  # found in main memory, before they are sent
        return there

    def batch(self, indices: Tensor | list[int], seed: int = 0) -> Batch:
        """The cases at these positions, in this order; of volumes that are larger a patch each, drawn by `seed`."""
        chosen: list[int] = torch.as_tensor(indices).tolist()
        ids = [self.ids[index] for index in chosen]
        if self.patch is None:  # one by one: a list of positions would have to go to the device, and be waited for
            image, mask = (torch.stack([whole[index] for index in chosen]) for whole in (self.images, self.masks))
            return Batch(image, mask, ids)
        source = torch.Generator().manual_seed(seed)
        images, masks = [], []
        for index in chosen:
            place = patch_at(self.masks.shape[1:], self.foregrounds[index], self.patch, source)
            images.append(self.images[index][(slice(None), *place)])
            masks.append(self.masks[index][place])
        return Batch(torch.stack(images), torch.stack(masks), ids)

    @cached_property
    def foregrounds(self) -> list[np.ndarray]:
        """`foreground_of` each mask, in main memory: no step waits for a GPU to find it."""
        return [foreground_of(mask) for mask in self.masks]


def foreground_of(mask: Tensor) -> np.ndarray:
    """The positions of the foreground in a mask laid out flat: [K] int32."""
    return np.flatnonzero(mask.cpu().numpy()).astype(np.int32)


def patch_at(
    shape: Sequence[int], foreground: np.ndarray, size: Sequence[int], source: torch.Generator
) -> tuple[slice, ...]:
    """Where in a volume a patch of that size lies: in two of three draws about a voxel of the foreground, or anywhere.

    `foreground` is `foreground_of` its mask.
    """
    room = [side - want for side, want in zip(shape, size, strict=True)]
    starts = [int(torch.randint(free + 1, (), generator=source)) for free in room]
    if float(torch.rand((), generator=source)) < FOREGROUND_SHARE and len(foreground):
        chosen = foreground[int(torch.randint(len(foreground), (), generator=source))]
        voxel = [int(at) for at in np.unravel_index(chosen, tuple(shape))]
        starts = [min(max(at - want // 2, 0), free) for at, want, free in zip(voxel, size, room, strict=True)]
    return tuple(slice(start, start + want) for start, want in zip(starts, size, strict=True))


@dataclass(frozen=True)
class StepSampler:
    """Positions of the batch of any step: seeded permutations of 0..n-1 laid end to end, a pure function."""

    n: int
    batch_size: int
    seed: int

    def indices(self, step: int) -> Tensor:
        """[batch_size] int64 positions of step 0, 1, 2, ..."""
        first = step * self.batch_size
        epochs = range(first // self.n, (first + self.batch_size - 1) // self.n + 1)
        order = torch.cat([self._permutation(epoch) for epoch in epochs])
        start = first - epochs[0] * self.n
        return order[start : start + self.batch_size]

    def _permutation(self, epoch: int) -> Tensor:
        digest = hashlib.sha256(f"{self.seed}/{epoch}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        return torch.randperm(self.n, generator=generator)
