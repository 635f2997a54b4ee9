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
    """Raise UserError for a dataset that cannot be compared with the one trained on.

    Files that cannot be opened are told elsewhere, as is a training set without cases.

    Args:
        dataset: of images, where volumes were trained on, or the other way round, it is refused.
        cases: those of it that are tested on.
        trained: the dataset that is trained on.
        trained_cases: those of it that are trained on.
        in_units: whether intensities are compared in the units of the files; another scale is refused then.
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
    """`require_kind` of a dataset, which holds one kind, by its first case.

    Files that cannot be opened are told elsewhere.
    """
    with suppress(ImageError):
        shape = _first_shape(dataset, cases)
        try:
            require_kind(shape, spatial_dims)
        except UserError as error:
            raise UserError(f"{dataset.name}: {cases[0].id} {error}") from error


def _require_same_scale(dataset: Dataset, cases: list[Case], trained: Dataset, trained_cases: list[Case]) -> None:
    with suppress(ImageError):
        own = dataset.scale(cases)
        other = trained.scale(trained_cases)
        try:
            require_comparable(own, other)
        except UserError as error:
            raise UserError(f"{dataset.name}: {error}") from error


def _first_shape(dataset: Dataset, cases: list[Case]) -> tuple[int, ...]:
    if dataset.root is None:  # phantoms, which are drawn as images
        return (1, 1)
    return read_header(cases[0].image).shape
