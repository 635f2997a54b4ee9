"""Images without masks in memory, and batches of them beside labelled ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genseg_betty.data.batches import Batch, StepSampler, patch_at
from genseg_betty.device import send_to_device
from genseg_betty.randomness import derived_seed

NOWHERE = torch.empty(0, dtype=torch.int32).numpy()  # the foreground of an image whose mask nobody has seen


@dataclass
class UnlabelledSet:
    """Preprocessed images in memory; * is h, w or d, h, w.

    Attributes:
        ids: the image of each.
        images: [N, C, *] float32 in [-1, 1].
        patch: size of what a training step sees of volumes that are larger than the network's input; None: all.
    """

    ids: list[str]
    images: Tensor
    patch: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> "UnlabelledSet":
        """The same images on another device."""
        return replace(self, images=self.images.to(device))

    def take(self, indices: Tensor, seed: int) -> Tensor:
        """The images [B, C, *] at these positions; with `patch`, one patch of each, drawn anywhere by `seed`."""
        source = torch.Generator().manual_seed(seed)
        images = []
        for index in indices.tolist():
            image = self.images[index]
            if self.patch is not None:
                place = patch_at(image.shape[1:], NOWHERE, self.patch, source)
                image = image[(slice(None), *place)]
            images.append(image)
        return torch.stack(images)


@dataclass
class MixedBatch(Batch):
    """The labelled images of one step, as every method sees them, and what a semi-supervised one sees beside them.

    Attributes:
        unlabelled: [U, C, *] float32 in [-1, 1].
        progress: the share of the training's steps that were made before this one, 0 <= progress < 1; no dimensions. A
            weight that rises as the training goes on follows from it alone, so that a captured step follows it too.
        second: another labelled batch, for a second network that learns from labelled images of its own.
    """

    unlabelled: Tensor
    progress: Tensor
    second: Batch | None = None

    def to(self, device: torch.device | str) -> "MixedBatch":
        """The same batch on another device."""
        return MixedBatch(
            **vars(super().to(device)),
            unlabelled=self.unlabelled.to(device),
            progress=send_to_device(self.progress, device),
            second=None if self.second is None else self.second.to(device),
        )

    def clone(self) -> "MixedBatch":
        """A copy with tensors of its own."""
        return MixedBatch(
            **vars(super().clone()),
            unlabelled=self.unlabelled.clone(),
            progress=self.progress.clone(),
            second=None if self.second is None else self.second.clone(),
        )

    def overwrite(self, other: Batch) -> None:
        """Write the tensors of another batch of the same form over those of this one."""
        super().overwrite(other)
        assert isinstance(other, MixedBatch)
        self.unlabelled.copy_(other.unlabelled)
        self.progress.copy_(other.progress)
        if self.second is not None and other.second is not None:
            self.second.overwrite(other.second)


def draw_mixed_batches(
    labelled: Callable[[int], Batch],
    unlabelled: UnlabelledSet,
    size: int,
    steps: int,
    seed: int,
    second: Callable[[int], Batch] | None = None,
) -> Callable[[int], MixedBatch]:
    """Count of a step, from 0 -> batch, in an order that `seed` determines.

    Args:
        labelled: the labelled batch of each step.
        size: unlabelled images a step.
        steps: of the whole training, which `progress` is a share of.
        second: the labelled batch of a second network.
    """
    sampler = StepSampler(len(unlabelled), size, derived_seed(seed, "batches", "unlabelled"))

    def draw_batch(count: int) -> MixedBatch:
        return MixedBatch(
            **vars(labelled(count)),
            unlabelled=unlabelled.take(sampler.indices(count), derived_seed(seed, "patches", "unlabelled", count)),
            progress=torch.tensor(count / max(steps, 1)),
            second=None if second is None else second(count),
        )

    return draw_batch
