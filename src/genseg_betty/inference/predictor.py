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

from genseg_betty.data.formats.turns import Turn, turned, turned_sides, undone
from genseg_betty.data.preprocessing import Preprocessing, count_outputs, resize
from genseg_betty.device import free_memory, write_gib
from genseg_betty.errors import UserError
from genseg_betty.inference.prediction.combination import to_probabilities
from genseg_betty.inference.prediction.flips import average_over_flips
from genseg_betty.inference.prediction.windows import Windows
from genseg_betty.inference.recorded import FLOAT_BYTES

WHITE = 255  # of an 8-bit image
OTHER_SCALE = "the image holds values"  # begins the warning of intensities that were not trained on
WARNED_FROM = 5  # frames from a warning up to whoever calls a Predictor


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
        outputs = count_outputs(self.num_classes)
        self._windows = Windows(self.network, preprocessing.image_size, outputs, self.device)

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
        logits, turn = self.turned_logits(image, spacing, affine)
        shape = turned_sides(self._spatial_size(image), turn)
        indices = self.preprocessing.restore(logits, shape)
        return turned(indices, undone(turn))

    def probabilities(
        self, image: np.ndarray, spacing: Sequence[float] | None = None, affine: np.ndarray | None = None
    ) -> np.ndarray:
        """Class probabilities float32 [num_classes, *] at the size of the image; they sum to 1."""
        logits, turn = self.turned_logits(image, spacing, affine)
        shape = turned_sides(self._spatial_size(image), turn)
        chances = to_probabilities(resize(logits, shape))
        back = undone(turn)
        return np.stack([turned(plane, back) for plane in chances.numpy()])

    def turned_logits(
        self,
        image: np.ndarray,
        spacing: Sequence[float] | None = None,
        affine: np.ndarray | None = None,
        flips: bool = False,
    ) -> tuple[Tensor, Turn | None]:
        """Logits [num_outputs, *] at the size of the network in the training data's orientation, and what turned the
        image to it (None: nothing). Arguments are those of a call; `flips` those of `logits`."""
        self._require_spacing(spacing)
        turn = self.preprocessing.turn(self._spatial_size(image), affine)
        if turn is not None:
            image = turned(np.asarray(image), turn)
            spacing = None if spacing is None else turned_sides(spacing, turn)
        return self.logits(image, spacing, flips), turn

    def logits(self, image: np.ndarray, spacing: Sequence[float] | None = None, flips: bool = False) -> Tensor:
        """Logits [num_outputs, *] at the size of the network, of volumes at its spacing, on the CPU; one output if
        binary. The image has the training data's orientation. With `flips` their probabilities are the mean over its
        mirror images."""
        values = _as_intensities(image)
        self._require_memory(self._spatial_size(image), spacing)
        network_input = self.preprocessing.image(values, spacing)
        batch = network_input[None]
        self._warn_of_scale(values)
        with torch.inference_mode(), repeatable():
            logits = average_over_flips(self._infer, batch) if flips else self._infer(batch)
        return logits[0]

    def _infer(self, batch: Tensor) -> Tensor:
        """Logits [1, num_outputs, *] of an image [1, C, *] of the network's size, or of a volume of any, on the CPU."""
        if self.preprocessing.spatial_dims == 3:
            return self._windows(batch)
        return self.network(batch.to(self.device)).float().cpu()

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
        has_fractions = high <= 1 and bool((values % 1 != 0).any())
        if low < 0 or high > WHITE or has_fractions:
            warnings.warn(
                f"{OTHER_SCALE} from {low:g} to {high:g}, but this Run was trained on 8-bit images "
                "and takes 0 for black and 255 for white: rescale the image for a sensible mask",
                stacklevel=WARNED_FROM,
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
    values = array.astype(np.float32, copy=False)
    if array.dtype == bool:
        return values * WHITE
    return values
