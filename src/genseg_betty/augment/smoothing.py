"""Blur and low resolution: linear maps along one axis after the other, each a matrix for each image and channel.

The matrices have the size of the image, whatever was drawn, so that a captured step can be replayed. They are applied
in float64, which autocast and TF32 leave alone.
"""

import torch
from torch import Tensor

REACH = 32  # pixels: how far a blur looks to either side


def blur_image(image: Tensor, values: Tensor) -> Tensor:
    """Convolve an image [B, C, *] with Gaussians of standard deviations `values` [B, C, n] in pixels, one an axis.

    The image is mirrored at its borders, without repeating its outermost pixels.
    """
    maps = []
    for axis, side in enumerate(image.shape[2:]):
        maps.append(_make_blur(values[..., axis], side))
    return _apply_maps(image, maps)


def lower_resolution(image: Tensor, values: Tensor) -> Tensor:
    """Sample an image [B, C, *] at `values` [B, C, n] of its size, by the nearest pixel, and enlarge it linearly."""
    maps = []
    for axis, side in enumerate(image.shape[2:]):
        maps.append(_make_coarse(values[..., axis], side))
    return _apply_maps(image, maps)


def _make_blur(deviations: Tensor, side: int) -> Tensor:
    """Deviations [B, C] -> matrices [B, C, side, side]."""
    pixels = torch.arange(side, device=deviations.device)
    sources = torch.arange(-REACH, side + REACH, device=deviations.device)
    distances = (sources - pixels[:, None]).double()
    is_near = distances.abs() <= REACH
    heights = torch.exp(-0.5 * (distances / deviations[..., None, None]) ** 2) * is_near
    weights = heights / heights.sum(dim=-1, keepdim=True)

    # What lies outside is found inside, mirrored as often as it takes.
    period = max(2 * (side - 1), 1)
    folded = sources % period
    folded = torch.minimum(folded, period - folded)
    return weights @ _select_pixels(folded, side)


def _make_coarse(factors: Tensor, side: int) -> Tensor:
    """Factors of the size [B, C] -> matrices [B, C, side, side]."""
    coarse = (factors * side).round().clamp_min(1)[..., None]  # pixels along the sampled image
    pixels = torch.arange(side, device=factors.device) + 0.5

    # Each pixel lies between two of the sampled image, and each of these was taken from the nearest of the original.
    places = (pixels * coarse / side - 0.5).clamp_min(0)
    before = places.floor()
    after = torch.minimum(before + 1, coarse - 1)
    share = (places - before)[..., None]
    first = _select_pixels(_find_nearest(before, coarse, side), side)
    second = _select_pixels(_find_nearest(after, coarse, side), side)
    return torch.lerp(first, second, share)


def _find_nearest(sampled: Tensor, coarse: Tensor, side: int) -> Tensor:
    """The pixel of the original that each of the sampled image's was taken from."""
    return ((sampled + 0.5) * side / coarse).floor()


def _select_pixels(sources: Tensor, side: int) -> Tensor:
    """Numbers of pixels [*, n] -> matrices [*, n, side] that select them."""
    pixels = torch.arange(side, device=sources.device)
    return (sources[..., None] == pixels).double()


def _apply_maps(image: Tensor, maps: list[Tensor]) -> Tensor:
    """Image [B, C, *] under one matrix [B, C, n, n] for each of its axes."""
    mapped = image.double()
    for axis, matrices in enumerate(maps, start=2):
        lines = mapped.movedim(axis, -1)
        flat = lines.flatten(2, -2)
        moved = flat @ matrices.mT
        mapped = moved.reshape(lines.shape).movedim(-1, axis)
    return mapped.to(image.dtype)
