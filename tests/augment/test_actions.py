"""Each operation on intensities against the same of MONAI, torchvision, SciPy or PyTorch, channel by channel."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from monai.transforms import AdjustContrast
from scipy import ndimage
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as vision

from genseg_betty.augment import actions, smoothing

SIZES = [(40, 37), (9, 16, 12)]
CHANNELS = [1, 3]


def drawn_image(channels: int, size: tuple[int, ...]) -> Tensor:
    return torch.rand(2, channels, *size, dtype=torch.float64) * 1.6 - 0.7


def by_channel(image: Tensor, values: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """What `change` makes of each channel [*] with its own values [n]."""
    changed = torch.empty_like(image)
    for index in np.ndindex(*image.shape[:2]):
        changed[index] = change(image[index], values[index])
    return changed


def spread(channels: int, least: float, most: float, length: int = 1) -> Tensor:
    """Another value for each channel."""
    return torch.linspace(least, most, 2 * channels * length, dtype=torch.float64).reshape(2, channels, length)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", CHANNELS)
def test_brightness_is_torchvisions(channels: int, size: tuple[int, ...]) -> None:
    image, values = drawn_image(channels, size), spread(channels, 0.4, 1.6)

    def change(channel: Tensor, value: Tensor) -> Tensor:
        unit = (channel.flatten(0, -2)[None] + 1) / 2
        brighter = vision.adjust_brightness(unit, float(value))
        return (brighter * 2 - 1).reshape(channel.shape)

    found = actions.scale_brightness(image, values).clamp(-1, 1)  # torchvision keeps to what a picture can hold
    torch.testing.assert_close(found, by_channel(image, values, change))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", CHANNELS)
def test_contrast_is_torchvisions_within_the_channels_range(channels: int, size: tuple[int, ...]) -> None:
    image, values = drawn_image(channels, size), spread(channels, 0.4, 1.6)

    def change(channel: Tensor, value: Tensor) -> Tensor:
        unit = (channel.flatten(0, -2)[None] + 1) / 2
        stretched = vision.adjust_contrast(unit, float(value)) * 2 - 1
        return stretched.reshape(channel.shape).clamp(channel.min(), channel.max())

    found = actions.stretch_contrast(image, values)
    torch.testing.assert_close(found, by_channel(image, values, change))
    assert not torch.allclose(found, image, atol=0.05)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("invert", [False, True])
def test_gamma_is_monais(channels: int, size: tuple[int, ...], invert: bool) -> None:
    image, values = drawn_image(channels, size), spread(channels, 0.5, 2.0)
    act = actions.bend_inverted_gamma if invert else actions.bend_gamma

    def change(channel: Tensor, value: Tensor) -> Tensor:
        bend = AdjustContrast(float(value), invert_image=invert, retain_stats=True)
        return torch.as_tensor(bend(channel[None])[0])

    found = act(image, values)
    torch.testing.assert_close(found, by_channel(image, values, change), atol=1e-5, rtol=1e-5)
    assert (found - image).abs().max() > 0.02


def test_gamma_of_a_flat_image_changes_nothing_and_has_a_slope() -> None:
    image = torch.full((1, 2, 5, 5), 0.3, dtype=torch.float64, requires_grad=True)
    found = actions.bend_gamma(image, torch.full((1, 2, 1), 0.7, dtype=torch.float64))
    torch.testing.assert_close(found, image)
    found.sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()


@pytest.mark.parametrize("size", [(40, 37), (33, 40, 36), (9, 5)])
def test_blur_is_scipys(size: tuple[int, ...]) -> None:
    image, values = drawn_image(3, size), spread(3, 0.3, 3.0, len(size))

    def change(channel: Tensor, value: Tensor) -> Tensor:
        return torch.from_numpy(ndimage.gaussian_filter(channel.numpy(), value.numpy(), mode="mirror", truncate=9))

    torch.testing.assert_close(smoothing.blur_image(image, values), by_channel(image, values, change))


def test_blur_is_torchvisions() -> None:
    image = drawn_image(3, (40, 37))
    values = torch.tensor([0.8, 1.7], dtype=torch.float64).expand(2, 3, 2)
    expected = vision.gaussian_blur(image, [65, 65], [1.7, 0.8])  # of columns first
    torch.testing.assert_close(smoothing.blur_image(image, values), expected)


@pytest.mark.parametrize("size", SIZES)
def test_low_resolution_is_that_of_two_interpolations(size: tuple[int, ...]) -> None:
    image, values = drawn_image(3, size), spread(3, 0.31, 1.0)
    mode = "bilinear" if len(size) == 2 else "trilinear"

    def change(channel: Tensor, value: Tensor) -> Tensor:
        smaller = [round(side * float(value)) for side in size]
        sampled = functional.interpolate(channel[None, None], smaller, mode="nearest-exact")
        return functional.interpolate(sampled, size, mode=mode)[0, 0]

    found = smoothing.lower_resolution(image, values.expand(2, 3, len(size)))
    torch.testing.assert_close(found, by_channel(image, values, change))
    torch.testing.assert_close(found[1, 2], image[1, 2])  # at its own size
    assert (found[0, 0] - image[0, 0]).abs().max() > 0.5


@pytest.mark.parametrize("size", [(300, 200), (40, 40, 40)])
def test_noise_has_the_deviation_that_is_asked_for(size: tuple[int, ...]) -> None:
    image, values = drawn_image(3, size), spread(3, 0.05, 0.5)
    added = actions.add_noise(image, values) - image
    axes = [*range(2, image.ndim)]
    torch.testing.assert_close(added.std(axes), values[..., 0] * image.std(axes), rtol=0.02, atol=0)
    assert (added.mean(axes).abs() < 0.005).all()
    shared = added / (values[..., 0] * image.std(axes)).reshape(2, 3, *[1] * len(size))
    torch.testing.assert_close(shared, shared[:, :1].expand_as(shared), rtol=1e-4, atol=1e-6)
    assert (shared[0, 0] - shared[1, 0]).abs().max() > 1
