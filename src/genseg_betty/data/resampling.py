"""Images and volumes on another grid."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LARGE = 2**27  # values from which an image is brought to the network's size a part at a time
PART = 2**25  # values of the largest part of an image that is resized at once: 128 MiB as float32


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


def list_parts(channels: int, size: Sequence[int], most: int = PART) -> Iterator[tuple[int, int]]:
    """Start and stop along the first axis of each part of [channels, *size], of at most `most` values or one row.

    All in one where it fits. The parts depend on the size alone, not on the memory, so that results do not.
    """
    row = channels * math.prod(size[1:])
    rows = max(1, most // row)
    for start in range(0, size[0], rows):
        yield start, min(start + rows, size[0])


def resize_part(planes: Tensor, size: Sequence[int], start: int, stop: int) -> Tensor:
    """Rows, or slices, `start` to `stop` of `resize(planes, size)`: [C, stop - start, *]. The others take no memory.

    It is equal to that but for rounding, and in each bit where the part is the whole.
    """
    if (start, stop) == (0, size[0]):
        return resize(planes, size)
    return _mix_rows(lambda first, last: planes[:, first:last], planes.shape[1], size, start, stop)


def resize_rows(take: Callable[[int, int], Tensor], shape: Sequence[int], size: Sequence[int]) -> Tensor:
    """As `resize`, of planes [C, *] of `shape` that `take(first, last)` makes some rows, or slices, of at a time.

    All at once up to LARGE values; above that about PART of them are there at a time, and it is equal but for rounding.
    """
    if math.prod(shape) <= LARGE:
        return resize(take(0, shape[1]), size)
    rows = max(1, size[0] * PART // math.prod(shape))
    parts = []
    for start in range(0, size[0], rows):
        stop = min(start + rows, size[0])
        parts.append(_mix_rows(take, shape[1], size, start, stop))
    return torch.cat(parts, dim=1)


def _mix_rows(take: Callable[[int, int], Tensor], count: int, size: Sequence[int], start: int, stop: int) -> Tensor:
    """Rows `start` to `stop` of the resized planes, which have `count` rows before."""
    first, weights = _weigh_sources(count, size[0], start, stop)
    last = first + weights.shape[1]
    across = resize(take(first, last), (last - first, *size[1:]))
    mixed = torch.tensordot(weights, across, dims=([1], [1]))  # [stop - start, C, *]
    return mixed.movedim(1, 0)


def _weigh_sources(count: int, resized: int, start: int, stop: int) -> tuple[int, Tensor]:
    """The first of `count` positions that counts for `start` to `stop` of `resized` ones, and the weights [part, n].

    They are those of PyTorch's antialiased linear interpolation: a triangle around the place of each new position.
    """
    step = count / resized
    width = max(step, 1.0)
    places = (torch.arange(start, stop, dtype=torch.float64) + 0.5) * step
    first = max(math.floor(float(places[0]) - width), 0)
    last = min(math.ceil(float(places[-1]) + width), count)
    sources = torch.arange(first, last, dtype=torch.float64) + 0.5
    distances = (sources[None, :] - places[:, None]).abs() / width
    weights = (1 - distances).clamp(min=0)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return first, weights.float()
