"""What the network sees of a dataset: the size of its input, and images that are not blank."""

from typing import Any

from genseg_betty.data.batches import LabelledSet
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.errors import UserError

BLANK = 1e-5  # of the network's -1 to 1: the rounding of a resize, far below one of 256 levels


def choose_image_size(
    asked: tuple[int, ...] | None, fitting: tuple[int, ...], dataset: Dataset, usual: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the size of the network's input: `asked`, or `fitting` where nothing is asked for.

    For volumes one number (two equal sides) is an upper limit along each axis. Raises UserError where `asked` has
    another number of axes than the dataset; `usual` is the median size of its images.
    """
    if asked is None or len(asked) == len(fitting):
        return asked or fitting
    holds_volumes = len(fitting) == 3
    if holds_volumes and asked[0] == asked[1]:
        return tuple(min(asked[0], side) for side in fitting)
    kind = "volumes" if holds_volumes else "images"
    usual_size = " x ".join(map(str, usual))
    raise UserError(
        f"{dataset.name} holds {kind} (mostly {usual_size}), and image_size is {list(asked)}; expected "
        f"{len(fitting)} numbers, as image_size={list(fitting)}, or null for that"
    )


def require_contrast(train: LabelledSet, intensity: Any) -> None:
    """Raise UserError for a window of intensities that makes the training images blank."""
    if not isinstance(intensity, tuple):
        return
    brightest = train.images.max()
    darkest = train.images.min()
    if float(brightest - darkest) < BLANK:
        raise UserError(
            f"dataset.intensity={list(intensity)}: all pixels of the training images lie beyond one end of this window "
            "and become the same; expected [low, high] in the units of the files, or null"
        )
