"""The trained segmenter (S in GenSeg, Li et al. 2025) as one callable: array in, label mask out.

All that it needs rides in the Run: the weights, and the preprocessing that the training images fixed.
"""

import copy
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from genseg_betty.backbones.sliding import slide
from genseg_betty.build import build_segmenter
from genseg_betty.data.formats.turns import Turn, turned, turned_sides, undone
from genseg_betty.data.preprocessing import Preprocessing, resize
from genseg_betty.device import free_memory, resolve_device
from genseg_betty.errors import UserError
from genseg_betty.inference.recorded import read_preprocessing
from genseg_betty.run import Run
from genseg_betty.trust import building_from

WHITE = 255  # of an 8-bit image
FLOAT_BYTES = 4
LIBRARIES = ("segmentation_models_pytorch.", "monai.networks.nets.")
PRETRAINED = {"weights": None, "pretrained": False}  # what asks MONAI and timm for no weights made elsewhere


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
        image, spacing, turn = self._turned(image, spacing, affine)
        return turned(self.preprocessing.restore(self.logits(image, spacing), self._size(image)), undone(turn))

    def probabilities(
        self, image: np.ndarray, spacing: Sequence[float] | None = None, affine: np.ndarray | None = None
    ) -> np.ndarray:
        """Class probabilities float32 [num_classes, *] at the size of the image; they sum to 1."""
        image, spacing, turn = self._turned(image, spacing, affine)
        logits = resize(self.logits(image, spacing), self._size(image))
        if len(logits) == 1:
            chances = torch.cat([torch.sigmoid(-logits), torch.sigmoid(logits)])
        else:
            chances = torch.softmax(logits, dim=0)
        return np.stack([turned(plane, undone(turn)) for plane in chances.numpy()])

    def logits(self, image: np.ndarray, spacing: Sequence[float] | None = None) -> Tensor:
        """Logits [num_outputs, *] at the size of the network, of volumes at its spacing, on the CPU; one output if
        binary. The image has the training data's orientation."""
        values = _intensities(image)
        self._require_room(self._size(image), spacing)
        network_input = self.preprocessing.image(values, spacing)[None].to(self.device)
        self._warn_of_scale(values)
        with torch.inference_mode(), repeatable():
            if self.preprocessing.spatial_dims == 2:
                return self.network(network_input)[0].float().cpu()
            return slide(self.network, network_input, self.preprocessing.image_size)[0].float().cpu()

    def _turned(
        self, image: np.ndarray, spacing: Sequence[float] | None, affine: np.ndarray | None
    ) -> tuple[np.ndarray, Sequence[float] | None, Turn | None]:
        """The image and its spacing in the training data's orientation, and what brought it there."""
        dims = self.preprocessing.spatial_dims
        if spacing is not None and not (len(spacing) == dims and all(step > 0 for step in spacing)):
            raise UserError(f"the spacing is {list(spacing)}; expected {dims} numbers above 0, in mm along each axis")
        turn = self.preprocessing.turn(self._size(image), affine)
        if turn is None:
            return image, spacing, None
        other = None if spacing is None else turned_sides(spacing, turn)
        return turned(np.asarray(image), turn), other, turn

    def _size(self, image: np.ndarray) -> tuple[int, ...]:
        return np.shape(image)[: self.preprocessing.spatial_dims]

    def _require_room(self, size: Sequence[int], spacing: Sequence[float] | None) -> None:
        """Raise UserError for a volume that at the spacing of the training is larger than memory."""
        grid = self.preprocessing.grid(size, spacing)
        needed = math.prod(grid) * max(self.preprocessing.channels, self.num_classes) * FLOAT_BYTES
        if needed > (free := free_memory("cpu")):
            raise UserError(
                f"the image of {list(size)} pixels becomes {list(grid)} at the spacing of the training data, "
                f"{self.preprocessing.spacing} mm, which takes {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB of "
                "memory are free: see whether the file states its own spacing rightly, or use a larger machine"
            )

    def _warn_of_scale(self, values: np.ndarray) -> None:
        low, high = float(values.min()), float(values.max())
        fractions = high <= 1 and bool((values % 1 != 0).any())
        if self.preprocessing.intensity == (0, WHITE) and (low < 0 or high > WHITE or fractions):
            warnings.warn(
                f"the image holds values from {low:g} to {high:g}, but this Run was trained on 8-bit images "
                "and takes 0 for black and 255 for white: rescale the image for a sensible mask",
                stacklevel=4,
            )


def load(path: Path | str, device: str = "auto", trust: bool = False) -> Predictor:
    """The Predictor of the Run at `path`, on `device` (auto, cpu, cuda).

    An unfinished Run gives its best segmenter so far, with a warning. With `trust` any class that the Run's config.yaml
    names is imported and called, as in a training; without it only those of `genseg_betty.trust`. Raises UserError if
    there is no Run, no trained segmenter in it yet, one that is damaged, or a class of others that is not trusted.
    """
    run = Run.open(path)
    checkpoint = trained_segmenter(run)
    config = _without_pretrained(run.config)
    preprocessing = saved_preprocessing(run, checkpoint)
    with building_from(run, config, ("backbone",), trust):
        try:
            outputs, classes = checkpoint["num_outputs"], preprocessing.num_classes
            if outputs != (1 if classes == 2 else classes):
                raise ValueError(f"num_outputs is {outputs}, which is not that of {classes} classes")
            network = build_segmenter(config, preprocessing.channels, outputs, preprocessing.spatial_dims)
            load_weights(network, checkpoint["weights"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise damaged(run, "segmenter", error) from error
    return Predictor(network, preprocessing, resolve_device(device))


def saved_preprocessing(run: Run, checkpoint: dict[str, Any]) -> Preprocessing:
    """The preprocessing in a checkpoint of the segmenter. Raises UserError for what no training saves."""
    try:
        return read_preprocessing(checkpoint)
    except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
        raise damaged(run, "preprocessing", error) from error


def trained_segmenter(run: Run) -> dict[str, Any]:
    """The checkpoint of the final segmenter; of a Run that has not finished, the best, with a warning."""
    checkpoint = run.load_checkpoint("predictor")
    if checkpoint is not None:
        return checkpoint
    checkpoint = run.load_checkpoint("best")
    if checkpoint is None:
        raise UserError(
            f"The Run at {run.path} has no trained segmenter yet (neither checkpoints/predictor.pt nor "
            "best.pt): run its training command again to go on until it ends."
        )
    warnings.warn(
        f"The Run at {run.path} has not finished, or its checkpoints/predictor.pt is gone: using its best segmenter so "
        "far (checkpoints/best.pt). The training's command makes the other.",
        stacklevel=3,
    )
    return checkpoint


@contextmanager
def repeatable() -> Iterator[None]:
    """Run a block with cuDNN's repeatable algorithms only; its transposed convolutions have others."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


def load_weights(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load a state dict; ValueError if a value is not finite, RuntimeError if keys or shapes differ."""
    broken = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise ValueError(f"NaN or infinity in {', '.join(broken[:3])}")
    network.load_state_dict(weights)


def damaged(run: Run, part: str, error: Exception) -> UserError:
    """The UserError for a checkpoint whose content does not fit the Run."""
    return UserError(
        f"The {part} saved in {run.path / 'checkpoints'} cannot be used: {type(error).__name__}: {error}. "
        "It is damaged or belongs to another config: copy the Run again, or train it with resume=restart."
    )


def _intensities(image: np.ndarray) -> np.ndarray:
    array = np.asarray(image)
    if array.dtype.kind not in "buif":
        raise UserError(f"found an image of type {array.dtype}; expected bool, integers or floats")
    return array.astype(np.float32) * (WHITE if array.dtype == bool else 1)


def _without_pretrained(config: DictConfig) -> DictConfig:
    """The config without a pretrained encoder: the Run holds all weights, so nothing is to be downloaded."""
    config = copy.deepcopy(config)
    backbone = OmegaConf.select(config, "backbone")
    if not isinstance(backbone, DictConfig):
        return config
    if "encoder_weights" in backbone or str(backbone.get("_target_")).startswith(LIBRARIES[0]):
        backbone.encoder_weights = None  # SMP's own classes fetch some unless told not to
    if str(backbone.get("_target_")).startswith(("genseg_betty.", *LIBRARIES)):
        for section in (backbone, backbone.get("arguments")):
            if isinstance(section, DictConfig):
                section.update({key: value for key, value in PRETRAINED.items() if key in section})
    return config
