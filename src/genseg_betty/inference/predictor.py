"""The trained segmenter (S in GenSeg, Li et al. 2025) as one callable: array in, label mask out.

All that it needs rides in the Run: the weights, and the preprocessing that the training images fixed.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from genseg_betty.backbones.sliding import slide
from genseg_betty.data.formats.turns import Turn, turned, turned_sides, undone
from genseg_betty.data.preprocessing import Preprocessing, resize
from genseg_betty.device import free_memory, write_gib
from genseg_betty.errors import UserError
from genseg_betty.inference.recorded import FLOAT_BYTES

WHITE = 255  # of an 8-bit image


class Predictor:
    """A segmenter in eval mode with its preprocessing; float32, no gradients, the same result every time.

    `network` maps [1, C, *] in [-1, 1] to logits [1, num_outputs, *]; it is moved to `device` and set to eval mode in
    place.

    Images are arrays [H, W] or [H, W, C], volumes [D, H, W] or [D, H, W, C], with 1 to 4 channels last (gray, gray +
    alpha, RGB, RGBA; alpha is dropped) in the intensities of the files trained on: 0..255 for 8-bit, 0..65535 for
    16-bit. Boolean images count as 0 and 255. Gray is given to an RGB model as three equal channels, and the reverse
    as luminance.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.preprocessing = preprocessing

    @property
    def num_classes(self) -> int:
        """Number of classes, background included: 2 for a binary model."""
        return self.preprocessing.num_classes

    def __call__(
        self, image: np.ndarray, spacing: Sequence[float] | None = None, affine: np.ndarray | None = None
    ) -> np.ndarray:
        """Image [H, W] or [H, W, C] -> int64 mask [H, W] of class indices 0..num_classes-1; volumes alike.

        `spacing` is that of a volume, in mm along each axis; without it, it is taken to be that of the training.
        `affine` is where the image lies ([4, 4], from voxels (i, j, k) to mm in RAS+, as nibabel has it): one that is
        stored in another orientation than the training data is turned for the network, and its mask turned back.
        Without it, its axes are taken to be those of the training data.
        `predictor.preprocessing.to_file_values(mask)` gives the label values of the training files (say 0 and
        255), which `genseg predict` writes. Raises UserError for what is no image, NaN and infinity included.
        """
        image, spacing, turn = self._to_training_orientation(image, spacing, affine)
        logits = self.logits(image, spacing)
        indices = self.preprocessing.restore(logits, self._spatial_size(image))
        return turned(indices, undone(turn))

    def probabilities(
        self, image: np.ndarray, spacing: Sequence[float] | None = None, affine: np.ndarray | None = None
    ) -> np.ndarray:
        """Class probabilities float32 [num_classes, *] at the size of the image; they sum to 1."""
        image, spacing, turn = self._to_training_orientation(image, spacing, affine)
        logits = resize(self.logits(image, spacing), self._spatial_size(image))
        if len(logits) == 1:
            background = torch.sigmoid(-logits)
            foreground = torch.sigmoid(logits)
            chances = torch.cat([background, foreground])
        else:
            chances = torch.softmax(logits, dim=0)
        back = undone(turn)
        return np.stack([turned(plane, back) for plane in chances.numpy()])

    def logits(self, image: np.ndarray, spacing: Sequence[float] | None = None) -> Tensor:
        """Logits [num_outputs, *] at the size of the network, of volumes at its spacing, on the CPU; one output if
        binary. The image has the training data's orientation."""
        values = _as_intensities(image)
        self._require_memory(self._spatial_size(image), spacing)
        network_input = self.preprocessing.image(values, spacing)
        batch = network_input[None].to(self.device)
        self._warn_of_scale(values)
        with torch.inference_mode(), repeatable():
            if self.preprocessing.spatial_dims == 2:
                logits = self.network(batch)
            else:
                logits = slide(self.network, batch, self.preprocessing.image_size)
            return logits[0].float().cpu()

    def _to_training_orientation(
        self, image: np.ndarray, spacing: Sequence[float] | None, affine: np.ndarray | None
    ) -> tuple[np.ndarray, Sequence[float] | None, Turn | None]:
        """The image and its spacing in the training data's orientation, and what brought it there."""
        self._require_spacing(spacing)
        turn = self.preprocessing.turn(self._spatial_size(image), affine)
        if turn is None:
            return image, spacing, None
        turned_image = turned(np.asarray(image), turn)
        if spacing is not None:
            spacing = turned_sides(spacing, turn)
        return turned_image, spacing, turn

    def _require_spacing(self, spacing: Sequence[float] | None) -> None:
        """Raise UserError unless there is a positive distance for each axis, or none is given."""
        if spacing is None:
            return
        dims = self.preprocessing.spatial_dims
        if len(spacing) != dims or not all(step > 0 for step in spacing):
            raise UserError(f"the spacing is {list(spacing)}; expected {dims} numbers above 0, in mm along each axis")

    def _spatial_size(self, image: np.ndarray) -> tuple[int, ...]:
        return np.shape(image)[: self.preprocessing.spatial_dims]

    def _require_memory(self, size: Sequence[int], spacing: Sequence[float] | None) -> None:
        """Raise UserError for a volume that at the spacing of the training is larger than memory."""
        grid = self.preprocessing.grid(size, spacing)
        planes = max(self.preprocessing.channels, self.num_classes)
        needed = math.prod(grid) * planes * FLOAT_BYTES
        free = free_memory("cpu")
        if needed > free:
            raise UserError(
                f"the image of {list(size)} pixels becomes {list(grid)} at the spacing of the training data, "
                f"{self.preprocessing.spacing} mm, which takes {write_gib(needed)}, and {write_gib(free)} of "
                "memory are free: see whether the file states its own spacing rightly, or use a larger machine"
            )

    def _warn_of_scale(self, values: np.ndarray) -> None:
        """Warn of values that a Run of 8-bit images was not trained on: outside of 0 to 255, or fractions of 1."""
        if self.preprocessing.intensity != (0, WHITE):
            return
        low = float(values.min())
        high = float(values.max())
        has_fractions = bool((values % 1 != 0).any())
        if low < 0 or high > WHITE or (high <= 1 and has_fractions):
            warnings.warn(
                f"the image holds values from {low:g} to {high:g}, but this Run was trained on 8-bit images "
                "and takes 0 for black and 255 for white: rescale the image for a sensible mask",
                stacklevel=4,
            )


@contextmanager
def repeatable() -> Iterator[None]:
    """Run a block with cuDNN's repeatable algorithms only; its transposed convolutions have others."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


def _as_intensities(image: np.ndarray) -> np.ndarray:
    """The image as float32; True becomes 255. Raises UserError for what is no array of numbers."""
    array = np.asarray(image)
    if array.dtype.kind not in "buif":
        raise UserError(f"found an image of type {array.dtype}; expected bool, integers or floats")
    values = array.astype(np.float32)
    if array.dtype == bool:
        return values * WHITE
    return values
