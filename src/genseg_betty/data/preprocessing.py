"""From a file's intensities to the network's and back; fixed on the training images and kept in the Run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genseg_betty.data.labels import LabelValue
from genseg_betty.data.scale import Scale
from genseg_betty.errors import UserError

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to gray
PERCENTILES = (0.5, 99.5)
SAMPLED = 2**18  # values of one image from which percentiles are taken, evenly spread; all, up to as many
Intensity = Literal["8-bit", "percentiles"] | tuple[float, float]


@dataclass(frozen=True)
class Preprocessing:
    """Everything that has to be known to read an image as the training images were read."""

    image_size: tuple[int, int]  # height, width of the network's input
    channels: int  # 1 or 3
    intensity: tuple[float, float]  # file intensities that become -1 and 1
    classes: tuple[str, ...]  # class 0 is the background
    label_values: tuple[LabelValue, ...]  # file value of each class, or its colour (red, green, blue)
    scale: Scale | None = None  # black and white of the training files, where known

    @classmethod
    def fit(
        cls,
        images: Iterable[np.ndarray],
        image_size: tuple[int, int],
        channels: int | None,
        classes: tuple[str, ...],
        label_values: tuple[LabelValue, ...],
        intensity: Intensity | None = None,
    ) -> "Preprocessing":
        """Fix channels and intensity on the training images, each [H, W, C] or [D, H, W, C], one at a time.

        `channels` None: 1 if every image is gray, else 3. `intensity`: "8-bit" (0 to 255 become -1 to 1),
        "percentiles" (the 0.5th and 99.5th of the training images do), or a window in file units. None: 8-bit where
        every value is a whole number within 0..255, else percentiles.
        """
        if channels not in (None, 1, 3):
            raise UserError(f"dataset.channels is {channels}; expected 1, 3 or null (as the files are)")
        gray = eight_bit = True
        values = []
        for image in images:
            gray = gray and is_gray(image)
            eight_bit = eight_bit and is_eight_bit(image)
            values.append(image.ravel()[:: image.size // SAMPLED | 1])  # odd, so that it does not walk down one column
        kind = intensity or ("8-bit" if eight_bit else "percentiles")
        window = (0.0, 255.0) if kind == "8-bit" else _percentiles(values) if kind == "percentiles" else kind
        return cls(image_size, channels or (1 if gray else 3), (window[0], window[1]), classes, label_values)

    @property
    def num_classes(self) -> int:
        """Number of classes, the background among them."""
        return len(self.classes)

    def image(self, array: np.ndarray) -> Tensor:
        """[H, W] or [H, W, C] file intensities -> [channels, h, w] float32 in [-1, 1], antialiased bilinear.

        C may be 1, 3, or 2 and 4 with alpha, which is dropped; gray is repeated, colour becomes luma.
        """
        pixels = torch.from_numpy(np.array(array, dtype=np.float32))
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or 0 in pixels.shape:
            raise UserError(f"found an image of shape {array.shape}; expected [H, W], [H, W, 1] or [H, W, 3]")
        if not torch.isfinite(pixels).all():
            raise UserError("the image holds NaN or infinite intensities; expected finite numbers")
        if pixels.shape[2] in (2, 4):
            pixels = pixels[:, :, :-1]
        if pixels.shape[2] > self.channels:
            pixels = (pixels * torch.tensor(LUMA)).sum(dim=2, keepdim=True)
        pixels = pixels.permute(2, 0, 1).expand(self.channels, -1, -1)
        low, high = self.intensity
        pixels = ((pixels - low) / (high - low) * 2 - 1).clamp(-1, 1)
        return _resize(pixels, self.image_size).clamp(-1, 1)

    def mask(self, labels: np.ndarray) -> Tensor:
        """[H, W] class indices -> [h, w] int64: the class that covers most of each new pixel's area.

        The area is weighted by the same antialiased bilinear kernel as the image's, so the two stay aligned.
        """
        indices = torch.from_numpy(np.array(labels, dtype=np.int64))
        if self.num_classes == 2:
            return (_resize(indices[None].float(), self.image_size)[0] > 0.5).long()
        shares = F.one_hot(indices, self.num_classes).permute(2, 0, 1).float()
        return _resize(shares, self.image_size).argmax(dim=0)

    def restore(self, logits: Tensor, shape: tuple[int, int]) -> np.ndarray:
        """Logits [num_outputs, h, w] -> [H, W] int64 class indices: bilinear to `shape`, > 0 or argmax."""
        full = _resize(logits.detach().float().cpu(), shape)
        indices = full[0] > 0 if len(full) == 1 else full.argmax(dim=0)
        return indices.long().numpy()

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """Colour of each class where the training masks are in colour; () where they hold values."""
        return tuple(value for value in self.label_values if isinstance(value, tuple))

    def to_file_values(self, indices: np.ndarray) -> np.ndarray:
        """Class indices -> the label values of the training data, uint8 or uint16.

        Where these are colours the indices stay what they are, uint8: `write_mask` takes `colours` beside them.
        """
        values = [index if isinstance(value, tuple) else value for index, value in enumerate(self.label_values)]
        return np.array(values, dtype=np.uint8 if max(values) <= 255 else np.uint16)[indices]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, as a checkpoint or JSON keeps them."""
        return {key: _converted(value, tuple, list) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """The inverse of `to_dict`."""
        return cls(**{key: _converted(value, list, tuple) for key, value in values.items()})


def image_size_of(value: Any) -> tuple[int, int]:
    """`image_size` of the config, an int or [height, width] in pixels, as a pair. Raises UserError."""
    sizes = [value, value] if isinstance(value, int) else list(value) if isinstance(value, Iterable) else []
    if len(sizes) != 2 or not all(type(size) is int and size > 0 for size in sizes):
        raise UserError(f"image_size is {value}; expected a whole number of pixels or [height, width]")
    return sizes[0], sizes[1]


def is_gray(image: np.ndarray) -> bool:
    """Whether [..., C] carries no colour: one channel, or equal ones."""
    return image.shape[-1] == 1 or bool((image == image[..., :1]).all())


def is_eight_bit(image: np.ndarray) -> bool:
    """Whether all values are whole numbers within 0..255."""
    inside = bool(image.min() >= 0 and image.max() <= 255)
    return inside and bool((image == image.astype(np.uint8)).all())


def _percentiles(values: Sequence[np.ndarray]) -> tuple[float, float]:
    low, high = np.percentile(np.concatenate(values), PERCENTILES)
    return float(low), float(high) if high > low else float(low) + 1.0


def _converted(value: Any, old: type[list] | type[tuple], new: Callable[[Iterable[Any]], Any]) -> Any:
    """Sequences of one type, those within them too, as another."""
    return new(_converted(item, old, new) for item in value) if isinstance(value, old) else value


def _resize(planes: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(planes[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
