"""What a dataset that is tested on must have in common with the one that is trained on."""

from collections.abc import Sequence
from contextlib import suppress

from genseg_betty.data.formats import ImageError, read_header
from genseg_betty.data.scale import require_comparable
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.errors import UserError


def require_alike(
    dataset: Dataset, cases: list[Case], trained: Dataset, trained_cases: list[Case], in_units: bool
) -> None:
    """Raise UserError for a dataset of another kind than the one trained on; where intensities are compared `in_units`
    of the files, for one of another scale as well.

    Files that cannot be opened are told elsewhere, as is a training set without cases.
    """
    if not trained_cases:
        return
    with suppress(ImageError):
        require_same_kind(dataset, cases, len(_first_shape(trained, trained_cases)))
    if in_units:
        _require_same_scale(dataset, cases, trained, trained_cases)


def require_kind(shape: Sequence[int], spatial_dims: int) -> None:
    """Raise UserError for an image [H, W] where volumes (3) were trained on, and for a volume where images (2) were."""
    if len(shape) == spatial_dims:
        return
    sides = " x ".join(map(str, shape))
    if spatial_dims == 2:
        found, expected = "a volume", "an image, as those trained on: save its slices as images"
    else:
        found, expected = "an image", "a volume of two slices or more, as those trained on"
    raise UserError(f"is {found} ({sides}); expected {expected}")


def require_same_kind(dataset: Dataset, cases: list[Case], spatial_dims: int) -> None:
    """`require_kind` of a dataset by its first case, which holds one kind. Files that cannot be opened are told
    elsewhere."""
    with suppress(ImageError):
        shape = _first_shape(dataset, cases)
        try:
            require_kind(shape, spatial_dims)
        except UserError as error:
            raise UserError(f"{dataset.name}: {cases[0].id} {error}") from error


def _require_same_scale(dataset: Dataset, cases: list[Case], trained: Dataset, trained_cases: list[Case]) -> None:
    with suppress(ImageError):
        own, other = dataset.scale(cases), trained.scale(trained_cases)
        try:
            require_comparable(own, other)
        except UserError as error:
            raise UserError(f"{dataset.name}: {error}") from error


def _first_shape(dataset: Dataset, cases: list[Case]) -> tuple[int, ...]:
    if dataset.root is None:  # phantoms, which are drawn as images
        return (1, 1)
    return read_header(cases[0].image).shape
