"""Images and volumes on another grid."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def resampled_size(shape: Sequence[int], spacing: Sequence[float], wanted: Sequence[float]) -> tuple[int, ...]:
    """The size of a volume once its voxels, `spacing` mm apart, are `wanted` mm apart."""
    sides = []
    for side, own, target in zip(shape, spacing, wanted, strict=True):
        resampled = round(side * own / target)
        sides.append(max(1, resampled))
    return tuple(sides)


def resize(planes: Tensor, size: Sequence[int]) -> Tensor:
    """[C, *] -> [C, *size], antialiased; of volumes along two axes and then along the third, which is the same."""
    if len(size) == 2:
        resized = F.interpolate(
            planes[None],
            size=tuple(size),
            mode="bilinear",
            antialias=True,
            align_corners=False,
        )
        return resized[0]
    if tuple(planes.shape[1:]) == tuple(size):
        return planes
    channels, depth = planes.shape[:2]
    slices = planes.flatten(0, 1)  # [C * D, H, W]
    slices = resize(slices, size[1:])  # [C * D, h, w]
    slices = slices.unflatten(0, (channels, depth))  # [C, D, h, w]
    upright = slices.permute(0, 2, 1, 3).flatten(0, 1)  # [C * h, D, w]
    upright = resize(upright, (size[0], size[2]))  # [C * h, d, w]
    upright = upright.unflatten(0, (channels, size[1]))  # [C, h, d, w]
    return upright.permute(0, 2, 1, 3).contiguous()
