"""From a file's intensities to the network's and back; fixed on the training images and kept in the Run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genseg_betty.data.formats import Header
from genseg_betty.data.formats.place import is_proper, orientation_of
from genseg_betty.data.formats.turns import Turn, turn_to
from genseg_betty.data.scale import Scale, rescaled
from genseg_betty.data.source.labels import LabelValue
from genseg_betty.errors import UserError

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to gray
PERCENTILES = (0.5, 99.5)
SAMPLED = 2**18  # values of one image from which percentiles are taken, evenly spread; all, up to as many
Intensity = Literal["8-bit", "percentiles", "each"] | tuple[float, float]


@dataclass(frozen=True)
class Preprocessing:
    """Everything that has to be known to read an image as the training images were read."""

    image_size: tuple[int, ...]  # of the network's input: height, width; of volumes, or patches of them, depth before
    channels: int  # 1 or 3
    intensity: tuple[float, float] | None  # file intensities that become -1 and 1; None: percentiles of each image
    classes: tuple[str, ...]  # class 0 is the background
    label_values: tuple[LabelValue, ...]  # file value of each class, or its colour (red, green, blue)
    scale: Scale | None = None  # black and white of the training files, where known
    spacing: tuple[float, ...] | None = None  # mm between voxels that volumes are resampled to; None: as they are
    orientation: str | None = None  # of the training data, as `formats.place` has it; None: cases stay as stored

    @classmethod
    def fit(
        cls,
        images: Iterable[np.ndarray],
        image_size: tuple[int, ...],
        channels: int | None,
        classes: tuple[str, ...],
        label_values: tuple[LabelValue, ...],
        intensity: Intensity | None = None,
        spacing: tuple[float, ...] | None = None,
    ) -> "Preprocessing":
        """Fix channels and intensity on the training images, each [H, W, C] or [D, H, W, C], one at a time.

        `channels` None: 1 if every image is gray, else 3. `intensity`: "8-bit" (0 to 255 become -1 to 1),
        "percentiles" (the 0.5th and 99.5th of the training images do), "each" (those of each image by itself, as
        suits MRI, whose units mean nothing), or a window in file units. None: 8-bit where every value is a whole number
        within 0..255, else percentiles.
        """
        if channels not in (None, 1, 3):
            raise UserError(f"dataset.channels is {channels}; expected 1, 3 or null (as the files are)")
        gray = eight_bit = True
        values = []
        for image in images:
            gray = gray and is_gray(image)
            eight_bit = eight_bit and is_eight_bit(image)
            values.append(_sample_values(image))
        kind = intensity or ("8-bit" if eight_bit else "percentiles")
        window = {"8-bit": lambda: (0.0, 255.0), "percentiles": lambda: _percentiles(values), "each": lambda: None}
        found = window[kind]() if isinstance(kind, str) else (kind[0], kind[1])
        return cls(image_size, channels or (1 if gray else 3), found, classes, label_values, spacing=spacing)

    @property
    def num_classes(self) -> int:
        """Number of classes, the background among them."""
        return len(self.classes)

    @property
    def spatial_dims(self) -> int:
        """2 for images, 3 for volumes."""
        return len(self.image_size)

    def grid(self, shape: Sequence[int], spacing: Sequence[float] | None = None) -> tuple[int, ...]:
        """The size that a case of this size [H, W] or [D, H, W] is brought to: images all to one, volumes to one
        spacing, so that a voxel is as large in each. Without a spacing theirs is taken to be that already."""
        if self.spatial_dims == 2:
            return self.image_size
        if spacing is None or self.spacing is None:
            return tuple(shape)
        steps = zip(shape, spacing, self.spacing, strict=True)
        return tuple(max(1, round(side * own / target)) for side, own, target in steps)

    def turn(self, shape: Sequence[int], affine: np.ndarray | None) -> Turn | None:
        """What brings an array of this size [H, W] or [D, H, W], which lies there, to the training data's orientation.

        None where nothing is to be turned, or nothing is known of either place. Raises UserError for what is no affine.
        """
        if affine is not None and (np.shape(affine) != (4, 4) or not is_proper(affine)):
            raise UserError(
                f"the affine is {np.shape(affine)} {np.asarray(affine).tolist()}; expected [4, 4] finite numbers whose "
                "axes span space, as nibabel's image.affine"
            )
        return turn_to(orientation_of(Header(tuple(shape), None, affine)), self.orientation)

    def in_units_of_training(self, array: np.ndarray, scale: Scale | None) -> np.ndarray:
        """Intensities of files whose black and white are `scale`, as those trained on have them.

        As they are where each image is brought to its own percentiles. Raises UserError where they do not compare.
        """
        return array if self.intensity is None else rescaled(array, scale, self.scale)

    def image(self, array: np.ndarray, spacing: Sequence[float] | None = None) -> Tensor:
        """File intensities -> [channels, *grid] float32 in [-1, 1], by antialiased linear interpolation.

        [H, W] or [H, W, C], of volumes [D, H, W] or [D, H, W, C]; `spacing` is theirs in mm. C may be 1, 3, or 2 and 4
        with alpha, which is dropped; gray is repeated, colour becomes luma.
        """
        pixels = torch.from_numpy(np.array(array, dtype=np.float32))
        dims = self.spatial_dims
        if pixels.ndim == dims:
            pixels = pixels[..., None]
        if pixels.ndim != dims + 1 or pixels.shape[-1] not in (1, 2, 3, 4) or 0 in pixels.shape:
            expected = "[H, W], [H, W, 1] or [H, W, 3]" if dims == 2 else "[D, H, W], [D, H, W, 1] or [D, H, W, 3]"
            kind = "an image" if dims == 2 else "a volume"
            raise UserError(f"found {kind} of shape {array.shape}; expected {expected}")
        if not torch.isfinite(pixels).all():
            raise UserError("the image holds NaN or infinite intensities; expected finite numbers")
        if pixels.shape[-1] in (2, 4):
            pixels = pixels[..., :-1]
        if pixels.shape[-1] > self.channels:
            pixels = (pixels * torch.tensor(LUMA)).sum(dim=-1, keepdim=True)
        pixels = pixels.movedim(-1, 0).expand(self.channels, *[-1] * dims)
        low, high = self.intensity or _percentiles([_sample_values(pixels.numpy())])
        pixels = ((pixels - low) / (high - low) * 2 - 1).clamp(-1, 1)
        return resize(pixels, self.grid(pixels.shape[1:], spacing)).clamp(-1, 1)

    def mask(self, labels: np.ndarray, spacing: Sequence[float] | None = None) -> Tensor:
        """Class indices [H, W] or [D, H, W] -> [*grid] int64: the class that covers most of each new pixel's area.

        The area is weighted by the same antialiased linear kernel as the image's, so the two stay aligned.
        """
        indices = torch.from_numpy(np.array(labels, dtype=np.int64))
        grid = self.grid(indices.shape, spacing)
        if self.num_classes == 2:
            return (resize(indices[None].float(), grid)[0] > 0.5).long()
        shares = F.one_hot(indices, self.num_classes).movedim(-1, 0).float()
        return resize(shares, grid).argmax(dim=0)

    def restore(self, logits: Tensor, shape: Sequence[int]) -> np.ndarray:
        """Logits [num_outputs, *grid] -> int64 class indices of `shape`, linearly; > 0 or argmax."""
        full = resize(logits.detach().float().cpu(), shape)
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


def image_size_of(value: Any) -> tuple[int, ...]:
    """`image_size` of the config, an int (for images), [height, width] or [depth, height, width] in pixels.

    Raises UserError.
    """
    sizes = [value, value] if isinstance(value, int) else list(value) if isinstance(value, Iterable) else []
    if len(sizes) not in (2, 3) or not all(type(size) is int and size > 0 for size in sizes):
        raise UserError(
            f"image_size is {value}; expected a whole number of pixels, [height, width] or [depth, height, width]"
        )
    return tuple(sizes)


def is_gray(image: np.ndarray) -> bool:
    """Whether [..., C] carries no colour: one channel, or equal ones."""
    return image.shape[-1] == 1 or bool((image == image[..., :1]).all())


def is_eight_bit(image: np.ndarray) -> bool:
    """Whether all values are whole numbers within 0..255."""
    inside = bool(image.min() >= 0 and image.max() <= 255)
    return inside and bool((image == image.astype(np.uint8)).all())


def _sample_values(image: np.ndarray) -> np.ndarray:
    """At least SAMPLED values of an image, evenly spread, or all of them where they are fewer."""
    step = image.size // SAMPLED | 1  # odd, so that it does not walk down one column
    return image.ravel()[::step]


def _percentiles(values: Sequence[np.ndarray]) -> tuple[float, float]:
    low, high = np.percentile(np.concatenate(values), PERCENTILES)
    return float(low), float(high) if high > low else float(low) + 1.0


def _converted(value: Any, old: type[list] | type[tuple], new: Callable[[Iterable[Any]], Any]) -> Any:
    """Sequences of one type, those within them too, as another."""
    return new(_converted(item, old, new) for item in value) if isinstance(value, old) else value


def resize(planes: Tensor, size: Sequence[int]) -> Tensor:
    """[C, *] -> [C, *size], antialiased; of volumes along two axes and then along the third, which is the same."""
    if len(size) == 2:
        return F.interpolate(planes[None], size=tuple(size), mode="bilinear", antialias=True, align_corners=False)[0]
    if tuple(planes.shape[1:]) == tuple(size):
        return planes
    channels, depth = planes.shape[:2]
    slices = planes.flatten(0, 1)  # [C * D, H, W]
    slices = resize(slices, size[1:]).unflatten(0, (channels, depth))  # [C, D, h, w]
    upright = slices.permute(0, 2, 1, 3).flatten(0, 1)  # [C * h, D, w]
    upright = resize(upright, (size[0], size[2]))  # [C * h, d, w]
    upright = upright.unflatten(0, (channels, size[1]))  # [C, h, d, w]
    return upright.permute(0, 2, 1, 3).contiguous()
