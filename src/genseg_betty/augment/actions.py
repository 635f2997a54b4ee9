"""Changes of an image's intensities that look at no neighbours: noise, brightness, contrast and gamma.

Each takes an image [B, C, *] and values [B, C, n] of which the first one counts, and acts on each channel by itself.
Their slopes are finite everywhere, as gradients reach the generator through them.
"""

import torch
from torch import Tensor

TINY = 1e-7  # of a range or a variance: below it powers and roots have no finite slope


def add_noise(image: Tensor, values: Tensor) -> Tensor:
    """Add Gaussian noise whose standard deviation is `values`, in standard deviations of the channel.

    The channels share it, as in nnU-Net.
    """
    noise = torch.randn_like(image[:, :1])
    _, deviation = _measure_channels(image)
    return image + noise * deviation * _align_values(values, image)


def scale_brightness(image: Tensor, values: Tensor) -> Tensor:
    """Multiply the intensities above black, which is -1."""
    return (image + 1) * _align_values(values, image) - 1


def stretch_contrast(image: Tensor, values: Tensor) -> Tensor:
    """Multiply the distances from the channel's mean, within the channel's least and most intensities."""
    axes = _list_axes(image)
    mean = image.mean(axes, keepdim=True)
    stretched = (image - mean) * _align_values(values, image) + mean
    least, most = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
    return stretched.clamp(least, most)


def bend_gamma(image: Tensor, values: Tensor) -> Tensor:
    """Raise a channel to a power on its own range, where that is 0 to 1; its mean and deviation stay."""
    axes = _list_axes(image)
    least, most = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
    width = (most - least).clamp_min(TINY)
    unit = (image - least) / width

    # x ** gamma is x * x ** (gamma - 1); the second factor is kept from 0, where its slope has no end.
    exponent = _align_values(values, image) - 1
    bent = unit * unit.clamp_min(TINY) ** exponent

    mean, deviation = _measure_channels(image)
    bent_mean, bent_deviation = _measure_channels(bent * width)
    return (bent * width - bent_mean) / bent_deviation * deviation + mean


def bend_inverted_gamma(image: Tensor, values: Tensor) -> Tensor:
    """As `bend_gamma`, of the image whose dark is bright."""
    return -bend_gamma(-image, values)


def _measure_channels(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel: [B, C, 1, …]."""
    axes = _list_axes(image)
    variance, mean = torch.var_mean(image, axes, keepdim=True)
    return mean, (variance + TINY).sqrt()


def _list_axes(image: Tensor) -> list[int]:
    """Those of the pixels."""
    return [*range(2, image.ndim)]


def _align_values(values: Tensor, image: Tensor) -> Tensor:
    """The first value of each channel [B, C, n] -> [B, C, 1, …], of the image's type."""
    shape = [*values.shape[:2], *[1] * (image.ndim - 2)]
    return values[..., 0].reshape(shape).to(image.dtype)
