"""From a file's intensities to the network's and back; fixed on the training images and kept in the Run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genseg_betty.data.formats import Header
from genseg_betty.data.formats.place import is_proper, orientation_of
from genseg_betty.data.formats.turns import Turn, turn_to
from genseg_betty.data.intensities import (
    find_percentiles,
    match_channels,
    measure_images,
    normalise_pixels,
    sample_values,
    take_pixels,
)
from genseg_betty.data.resampling import list_parts, resampled_size, resize, resize_part, resize_rows
from genseg_betty.data.scale import Scale, rescaled
from genseg_betty.data.source.label_values import LabelValue
from genseg_betty.errors import UserError

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
        found = measure_images(images)
        if channels is None:
            channels = 1 if found.gray else 3
        if intensity is None:
            intensity = "8-bit" if found.eight_bit else "percentiles"
        return cls(
            image_size=image_size,
            channels=channels,
            intensity=_choose_window(intensity, found.values),
            classes=classes,
            label_values=label_values,
            spacing=spacing,
        )

    @property
    def num_classes(self) -> int:
        """Number of classes, the background among them."""
        return len(self.classes)

    @property
    def spatial_dims(self) -> int:
        """2 for images, 3 for volumes."""
        return len(self.image_size)

    def grid(self, shape: Sequence[int], spacing: Sequence[float] | None = None) -> tuple[int, ...]:
        """The size that a case of this size [H, W] or [D, H, W] is brought to.

        Images are brought to one size. Volumes are brought to one spacing, so that a voxel is as large in each; those
        without a spacing are taken to have it already.
        """
        if self.spatial_dims == 2:
            return self.image_size
        if spacing is None or self.spacing is None:
            return tuple(shape)
        return resampled_size(shape, spacing, self.spacing)

    def turn(self, shape: Sequence[int], affine: np.ndarray | None) -> Turn | None:
        """What brings an array of this size [H, W] or [D, H, W], which lies there, to the training data's orientation.

        None where nothing is to be turned, or nothing is known of either place. Raises UserError for what is no affine.
        """
        if affine is not None:
            _require_affine(affine)
        header = Header(tuple(shape), None, affine)
        return turn_to(orientation_of(header), self.orientation)

    def in_units_of_training(self, array: np.ndarray, scale: Scale | None) -> np.ndarray:
        """Intensities of files whose black and white are `scale`, as those trained on have them.

        As they are where each image is brought to its own percentiles. Raises UserError where they do not compare.
        """
        if self.intensity is None:
            return array
        return rescaled(array, scale, self.scale)

    def image(self, array: np.ndarray, spacing: Sequence[float] | None = None) -> Tensor:
        """File intensities -> [channels, *grid] float32 in [-1, 1], by antialiased linear interpolation.

        [H, W] or [H, W, C], of volumes [D, H, W] or [D, H, W, C]; `spacing` is theirs in mm. C may be 1, 3, or 2 and 4
        with alpha, which is dropped; gray is repeated, colour becomes luma.
        """
        pixels = take_pixels(array, self.spatial_dims)
        window = self.intensity or find_percentiles([sample_values(match_channels(pixels, self.channels).numpy())])
        sides = pixels.shape[:-1]
        take = partial(_normalise_rows, pixels, self.channels, window)
        return resize_rows(take, (self.channels, *sides), self.grid(sides, spacing)).clamp(-1, 1)

    def mask(self, labels: np.ndarray, spacing: Sequence[float] | None = None) -> Tensor:
        """Class indices [H, W] or [D, H, W] -> [*grid] int64: the class that covers most of each new pixel's area.

        The area is weighted by the same antialiased linear kernel as the image's, so the two stay aligned.
        """
        indices = torch.from_numpy(np.array(labels, dtype=np.int64))
        grid = self.grid(indices.shape, spacing)
        if self.num_classes == 2:
            (foreground,) = resize(indices[None].float(), grid)
            return (foreground > 0.5).long()
        shares = F.one_hot(indices, self.num_classes).movedim(-1, 0)
        return resize(shares.float(), grid).argmax(dim=0)

    def restore(self, logits: Tensor, shape: Sequence[int]) -> np.ndarray:
        """Logits [num_outputs, *grid] -> int64 class indices of `shape`, linearly; > 0 or argmax."""
        planes = logits.detach().float().cpu()
        indices = np.empty(shape, dtype=np.int64)
        for start, stop in list_parts(len(planes), shape):
            full = resize_part(planes, shape, start, stop)
            indices[start:stop] = decide_classes(full).numpy()
        return indices

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """Colour of each class where the training masks are in colour; () where they hold values."""
        return tuple(value for value in self.label_values if isinstance(value, tuple))

    def to_file_values(self, indices: np.ndarray) -> np.ndarray:
        """Class indices -> the label values of the training data, uint8 or uint16.

        Where these are colours the indices stay what they are, uint8: `write_mask` takes `colours` beside them.
        """
        values = []
        for index, value in enumerate(self.label_values):
            values.append(index if isinstance(value, tuple) else value)
        fits_eight_bits = max(values) <= 255
        table = np.array(values, dtype=np.uint8 if fits_eight_bits else np.uint16)
        return table[indices]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, as a checkpoint or JSON keeps them."""
        values = asdict(self)
        return {key: _convert_sequences(value, tuple, list) for key, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """The inverse of `to_dict`."""
        converted = {key: _convert_sequences(value, list, tuple) for key, value in values.items()}
        return cls(**converted)


def count_outputs(num_classes: int) -> int:
    """Logits a pixel: 1 for binary (sigmoid), else one a class (softmax)."""
    return 1 if num_classes == 2 else num_classes


def decide_classes(logits: Tensor) -> Tensor:
    """Logits [num_outputs, *] -> class indices [*] int64; a single output is that of the second class."""
    if len(logits) == 1:
        return (logits[0] > 0).long()
    return logits.argmax(dim=0)


def image_size_of(value: Any) -> tuple[int, ...]:
    """`image_size` of the config, an int (for images), [height, width] or [depth, height, width] in pixels.

    Raises UserError.
    """
    sizes: list[Any] = []
    if isinstance(value, int):
        sizes = [value, value]
    elif isinstance(value, Iterable):
        sizes = list(value)
    are_counts = all(type(size) is int and size > 0 for size in sizes)
    if len(sizes) not in (2, 3) or not are_counts:
        raise UserError(
            f"image_size is {value}; expected a whole number of pixels, [height, width] or [depth, height, width]"
        )
    return tuple(sizes)


def _choose_window(intensity: Intensity, values: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """The file intensities that become -1 and 1; `values` are those of the training images."""
    if intensity == "8-bit":
        return (0.0, 255.0)
    if intensity == "percentiles":
        return find_percentiles(values)
    if intensity == "each":
        return None
    low, high = intensity
    return (low, high)


def _require_affine(affine: np.ndarray) -> None:
    if np.shape(affine) != (4, 4) or not is_proper(affine):
        numbers = np.asarray(affine).tolist()
        raise UserError(
            f"the affine is {np.shape(affine)} {numbers}; expected [4, 4] finite numbers whose "
            "axes span space, as nibabel's image.affine"
        )


def _normalise_rows(pixels: Tensor, channels: int, window: tuple[float, float], first: int, last: int) -> Tensor:
    return normalise_pixels(pixels[first:last], channels, window)


def _convert_sequences(value: Any, old: type[list] | type[tuple], new: Callable[[Iterable[Any]], Any]) -> Any:
    """Sequences of one type, those within them too, as another."""
    if not isinstance(value, old):
        return value
    return new(_convert_sequences(item, old, new) for item in value)
