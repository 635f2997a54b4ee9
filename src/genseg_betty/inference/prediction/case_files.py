"""The files that belong to one predicted image beside its mask, each kind in a folder of its own.

- overlays/*.png: the image with its classes in colour; of a volume nine of its slices.
- probabilities/: float16 [classes, H, W] as .npy; of a volume NIfTI whose fourth axis is the classes.
- uncertainty/: the entropy of the probabilities from 0 (one class is certain) to 1 (all are alike), as PNG of 8 bits, 0
  to 255; of a volume as NIfTI of 8 bits whose header scales it to 0..1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from genseg_betty.data.formats import write_volume_map
from genseg_betty.files import whole_file
from genseg_betty.inference.prediction.combination import EIGHT_BIT, Combined
from genseg_betty.inference.prediction.overlay import picture_prediction

OVERLAY, PROBABILITIES, UNCERTAINTY = "overlays", "probabilities", "uncertainty"
"""Names of the folders, below the one of the masks, and of the options."""


def choose_endings(volumes: bool) -> dict[str, str]:
    """What the files of each folder end in."""
    if volumes:
        return {OVERLAY: ".png", PROBABILITIES: ".nii.gz", UNCERTAINTY: ".nii.gz"}
    return {OVERLAY: ".png", PROBABILITIES: ".npy", UNCERTAINTY: ".png"}


def write_extras(
    files: Mapping[str, Path], source: Path, image: np.ndarray, spacing: Sequence[float] | None, combined: Combined
) -> None:
    """Write those of the files of one image that are asked for. Raises OSError.

    Args:
        files: path of each, by the name of its folder.
        source: the image's file, whose place in space volumes get.
        image: its intensities [H, W, C] or [D, H, W, C].
        spacing: in mm along each axis.
        combined: its prediction.
    """
    for kind, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, sync=False) as temporary:
            if kind == OVERLAY:
                picture = picture_prediction(image, combined.labels, len(combined.counts), spacing)
                picture.save(temporary, format="PNG")
            elif kind == PROBABILITIES:
                assert combined.probabilities is not None
                _write_probabilities(temporary, combined.probabilities, source)
            else:
                assert combined.uncertainty is not None
                _write_uncertainty(temporary, combined.uncertainty, source)


def _write_probabilities(path: Path, values: np.ndarray, source: Path) -> None:
    """[classes, *] float16, as an array or, of a volume, as NIfTI, which has no float16: its numbers as float32."""
    if values.ndim == 4:
        write_volume_map(path, values.astype(np.float32), source)
    else:
        np.save(path, values)


def _write_uncertainty(path: Path, values: np.ndarray, source: Path) -> None:
    """uint8 [*], as gray PNG or, of a volume, as NIfTI whose header scales it to 0..1."""
    if values.ndim == 3:
        write_volume_map(path, values, source, slope=1 / EIGHT_BIT)
    else:
        Image.fromarray(values).save(path, format="PNG")
