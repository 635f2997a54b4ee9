"""Random changes of an image's intensities, as nnU-Net makes them, each channel by itself.

Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation, Nature Methods
2021, supplement 4, and the order and draws of its version 2. Images are in [-1, 1] here: -1 is black, so the brightness
of nnU-Net, a factor of intensities above black, acts on image + 1; and the noise, which is given in standard deviations
of a normalised image there, is given in those of the image itself.

Every operation is computed for every image, and the images that it was not drawn for keep their own values: a step that
was captured on a GPU can then be replayed with other draws.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genseg_betty.augment.actions import add_noise, bend_gamma, bend_inverted_gamma, scale_brightness, stretch_contrast
from genseg_betty.augment.smoothing import blur_image, lower_resolution
from genseg_betty.joint_batch import join_shape, take_rows
from genseg_betty.multilevel.step_inputs import send_from_host


@dataclass(frozen=True)
class Action:
    """What an operation does.

    Attributes:
        act: (image [B, C, *], values [B, C, n]) -> image.
        least: of the values that it takes.
        most: of the values that it takes.
        is_even: whether half of the values are drawn below 1 and half above, where the range reaches over both.
        is_shared: whether the channels of an image share a value.
        is_by_axis: whether each axis has a value of its own.
    """

    act: Callable[[Tensor, Tensor], Tensor]
    least: float
    most: float
    is_even: bool = False
    is_shared: bool = False
    is_by_axis: bool = False


ACTIONS = {
    "noise": Action(add_noise, 0, 10, is_shared=True),
    "blur": Action(blur_image, 0.1, 8, is_by_axis=True),
    "brightness": Action(scale_brightness, 0, 10, is_even=True),
    "contrast": Action(stretch_contrast, 0, 10, is_even=True),
    "low_resolution": Action(lower_resolution, 0.05, 1),
    "inverted_gamma": Action(bend_inverted_gamma, 0.1, 10, is_even=True),
    "gamma": Action(bend_gamma, 0.1, 10, is_even=True),
}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """How often an operation acts, and how much.

    Args:
        probability: the share of images that it acts on.
        range: the least and the most of its value.
        channels: of these images, the share of channels that it acts on.
    """

    probability: float
    range: Sequence[float]
    channels: float = 1.0


class Intensity:
    """Operations on intensities, one after the other in the order of the arguments; None leaves one out.

    Args:
        noise: Gaussian; its standard deviation, in standard deviations of the image.
        blur: Gaussian; its standard deviation in pixels, drawn for each axis.
        brightness: the factor of intensities above black.
        contrast: the factor of distances from the channel's mean; its least and most intensities stay the limits.
        low_resolution: the factor of the size that an image is sampled at and enlarged from again.
        inverted_gamma: the exponent of the inverted image, whose range is 0 to 1 for that; mean and deviation stay.
        gamma: the exponent of the image itself.
    """

    def __init__(
        self,
        noise: Mapping[str, Any] | None = None,
        blur: Mapping[str, Any] | None = None,
        brightness: Mapping[str, Any] | None = None,
        contrast: Mapping[str, Any] | None = None,
        low_resolution: Mapping[str, Any] | None = None,
        inverted_gamma: Mapping[str, Any] | None = None,
        gamma: Mapping[str, Any] | None = None,
    ) -> None:
        given = {
            "noise": noise,
            "blur": blur,
            "brightness": brightness,
            "contrast": contrast,
            "low_resolution": low_resolution,
            "inverted_gamma": inverted_gamma,
            "gamma": gamma,
        }
        self.operations = {name: Operation(**keys) for name, keys in given.items() if keys is not None}

    def find_faults(self) -> list[str]:
        """A line for each argument that is out of range."""
        faults = []
        for name, operation in self.operations.items():
            place = f"augment.intensity.{name}"
            for key in ("probability", "channels"):
                share = getattr(operation, key)
                if not 0 <= share <= 1:
                    faults.append(f"{place}.{key}={share}: expected a share, from 0 to 1")
            limits = list(operation.range)
            action = ACTIONS[name]
            if len(limits) != 2 or not action.least <= limits[0] <= limits[1] <= action.most:
                bounds = f"{action.least:g} to {action.most:g}"
                faults.append(f"{place}.range={limits}: expected [least, most] within {bounds}")
        return faults

    def change_images(self, image: Tensor) -> Tensor:
        """Image [B, C, *] in [-1, 1] -> the same with other intensities, in [-1, 1]."""
        if not self.operations:
            return image
        count, channels, *size = image.shape
        joint, *_ = join_shape(image.shape)
        drawn = send_from_host(lambda: self.draw_values(joint, channels, len(size)), image.device)
        draws = take_rows(drawn, axis=1)

        # In float32 at least; the mixed precision of networks does not reach what is computed here.
        changed = image if image.dtype == torch.float64 else image.float()
        for name, draw in zip(self.operations, draws, strict=True):
            acted = ACTIONS[name].act(changed, draw[..., 1:])
            chosen = draw[..., 0].reshape(count, channels, *[1] * len(size))
            changed = torch.where(chosen > 0, acted, changed)
        return changed.clamp(-1, 1).to(image.dtype)

    def draw_values(self, count: int, channels: int, dims: int) -> Tensor:
        """Draw for each operation, image and channel: [operations, count, channels, 1 + dims], float64.

        The first number is 1 where the operation acts and 0 elsewhere; the others are its value, for each axis.
        Everything follows from one seed, which torch's generator of the CPU gives.
        """
        seed = int(torch.randint(2**31, ()))
        random = np.random.RandomState(seed)
        draws = []
        for name, operation in self.operations.items():
            of_images = random.uniform(size=(count, 1)) < operation.probability
            of_channels = random.uniform(size=(count, channels)) < operation.channels
            action = ACTIONS[name]
            shape = (count, 1 if action.is_shared else channels, dims if action.is_by_axis else 1)
            draw = np.empty((count, channels, 1 + dims))
            draw[..., 0] = of_images & of_channels
            draw[..., 1:] = _draw_within(random, operation.range, shape, action.is_even)
            draws.append(draw)
        return torch.from_numpy(np.stack(draws))


def _draw_within(
    random: np.random.RandomState, limits: Sequence[float], shape: tuple[int, ...], is_even: bool
) -> np.ndarray:
    """Values within the limits, uniform; where they are to be even about 1, uniform on either side of it."""
    least, most = limits
    if not is_even or not least < 1 < most:
        return random.uniform(least, most, shape)
    above = random.uniform(1, most, shape)
    below = random.uniform(least, 1, shape)
    return np.where(random.uniform(size=shape) < 0.5, below, above)
