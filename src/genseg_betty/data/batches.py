"""What a training step sees: batches of the labelled cases in memory, in an order that a seed determines."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOREGROUND_SHARE = 2 / 3  # of the patches of a volume are drawn about a voxel of the foreground


@dataclass
class Batch:
    """Images, masks and case ids of one step; * is h, w or d, h, w.

    Attributes:
        image: [B, C, *] float32 in [-1, 1].
        mask: [B, *] int64 class indices.
        ids: the case of each.
    """

    image: Tensor
    mask: Tensor
    ids: list[str]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return Batch(
            image=self.image.to(device),
            mask=self.mask.to(device),
            ids=self.ids,
        )

    def clone(self) -> "Batch":
        """A copy with tensors of its own."""
        return Batch(
            image=self.image.clone(),
            mask=self.mask.clone(),
            ids=list(self.ids),
        )

    def overwrite(self, other: "Batch") -> None:
        """Write the tensors of another batch of the same form over those of this one."""
        self.image.copy_(other.image)
        self.mask.copy_(other.mask)
        self.ids = list(other.ids)


@dataclass
class TwinBatch(Batch):
    """A batch, and a second one of the same step that was drawn independently of it.

    Attributes:
        second: images, masks and ids of the second batch.
    """

    second: Batch

    def to(self, device: torch.device | str) -> "TwinBatch":
        first = super().to(device)
        return TwinBatch(**vars(first), second=self.second.to(device))

    def clone(self) -> "TwinBatch":
        first = super().clone()
        return TwinBatch(**vars(first), second=self.second.clone())

    def overwrite(self, other: Batch) -> None:
        super().overwrite(other)
        assert isinstance(other, TwinBatch)
        self.second.overwrite(other.second)


@dataclass
class LabelledSet:
    """Preprocessed cases in memory; * is h, w or d, h, w.

    Attributes:
        ids: the case of each.
        images: [N, C, *] float32.
        masks: [N, *] int64.
        patch: size of what a training step sees of volumes that are larger than the network's input; None: all.
    """

    ids: list[str]
    images: Tensor
    masks: Tensor
    patch: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> "LabelledSet":
        """The same cases on another device."""
        images = self.images.to(device)
        masks = self.masks.to(device)
        there = replace(self, images=images, masks=masks)
        if self.patch is not None:
            vars(there)["foregrounds"] = self.foregrounds  # found in main memory, before they are sent
        return there

    def batch(self, indices: Tensor | list[int], seed: int = 0) -> Batch:
        """The cases at these positions, in this order; with `patch`, one patch of each, drawn by `seed`."""
        chosen: list[int] = torch.as_tensor(indices).tolist()
        source = torch.Generator().manual_seed(seed)
        # Cases are taken one by one: a list of positions would have to go to the device, and be waited for.
        images = []
        masks = []
        for index in chosen:
            image = self.images[index]
            mask = self.masks[index]
            if self.patch is not None:
                place = patch_at(mask.shape, self.foregrounds[index], self.patch, source)
                image = image[(slice(None), *place)]
                mask = mask[place]
            images.append(image)
            masks.append(mask)
        return Batch(
            image=torch.stack(images),
            mask=torch.stack(masks),
            ids=[self.ids[index] for index in chosen],
        )

    @cached_property
    def foregrounds(self) -> list[np.ndarray]:
        """`foreground_of` each mask, in main memory: no step waits for a GPU to find it."""
        return [foreground_of(mask) for mask in self.masks]


def foreground_of(mask: Tensor) -> np.ndarray:
    """The positions of the foreground in a mask laid out flat: [K] int32."""
    positions = np.flatnonzero(mask.cpu().numpy())
    return positions.astype(np.int32)


def patch_at(
    shape: Sequence[int], foreground: np.ndarray, size: Sequence[int], source: torch.Generator
) -> tuple[slice, ...]:
    """Draw where a patch lies in a volume: about a voxel of the foreground in two of three draws, else anywhere.

    Args:
        shape: of the volume.
        foreground: `foreground_of` its mask.
        size: of the patch.
        source: what the draw is made with.
    """
    room = [side - want for side, want in zip(shape, size, strict=True)]
    starts = [_draw_below(free + 1, source) for free in room]
    draw = float(torch.rand((), generator=source))
    if draw < FOREGROUND_SHARE and len(foreground):
        chosen = foreground[_draw_below(len(foreground), source)]
        voxel = np.unravel_index(chosen, tuple(shape))
        starts = _centre_on(voxel, size, room)
    place = []
    for start, want in zip(starts, size, strict=True):
        place.append(slice(start, start + want))
    return tuple(place)


def _draw_below(limit: int, source: torch.Generator) -> int:
    """A number from 0 to limit - 1."""
    drawn = torch.randint(limit, (), generator=source)
    return int(drawn)


def _centre_on(voxel: Sequence[np.integer[Any]], size: Sequence[int], room: Sequence[int]) -> list[int]:
    """Where a patch of this size begins that lies about a voxel, moved to stay within the volume.

    `room` is how far it can begin along each axis.
    """
    starts = []
    for at, want, free in zip(voxel, size, room, strict=True):
        start = int(at) - want // 2
        starts.append(min(max(start, 0), free))
    return starts


@dataclass(frozen=True)
class StepSampler:
    """Positions of the batch of any step: seeded permutations of 0..n-1 laid end to end, a pure function."""

    n: int
    batch_size: int
    seed: int

    def indices(self, step: int) -> Tensor:
        """The positions [batch_size] int64 of a step, counted from 0."""
        first = step * self.batch_size
        last = first + self.batch_size - 1
        first_epoch = first // self.n
        last_epoch = last // self.n
        epochs = range(first_epoch, last_epoch + 1)
        order = torch.cat([self._permute(epoch) for epoch in epochs])
        start = first - first_epoch * self.n
        return order[start : start + self.batch_size]

    def _permute(self, epoch: int) -> Tensor:
        text = f"{self.seed}/{epoch}"
        digest = hashlib.sha256(text.encode()).digest()
        seed = int.from_bytes(digest[:7], "big")
        generator = torch.Generator().manual_seed(seed)
        return torch.randperm(self.n, generator=generator)
