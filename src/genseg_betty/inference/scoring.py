"""Scores of labelled cases, each at the resolution of its mask, then their mean; a Run or a person made the masks."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from genseg_betty.data.comparable import require_kind, require_same_kind
from genseg_betty.data.formats import ImageError
from genseg_betty.data.scale import require_comparable
from genseg_betty.data.source.case import Case, Sample
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.errors import UserError
from genseg_betty.faults import list_below, merge_alike
from genseg_betty.inference.predictor import Predictor
from genseg_betty.metrics.scores import CaseScores, score_masks, summarise_cases
from genseg_betty.terminal import harmless

Predict = Callable[[Case], tuple[Sample, np.ndarray]]
"""From a case to its image and true mask, and the class indices [H, W] or [D, H, W] that are scored against it.

Raises a UserError that begins with the dataset and the file.
"""
Scored = tuple[list[dict[str, Any]], dict[str, Any]]
"""Rows {"id", "dice", "jaccard", … per class} one a case, and {"dice", "jaccard", "cases", …} their means."""


def score_cases(predictor: Predictor, dataset: Dataset, cases: list[Case]) -> Scored:
    """The scores of what a Predictor makes of these cases.

    Predictions are compared at the resolution of the mask. Raises UserError if the classes differ from the
    predictor's, the intensities do not compare with those trained on, or a case cannot be read: all such cases at
    once, for a mean over the others would mislead.
    """
    _require_classes(predictor, dataset)
    require_some_case(dataset, cases)
    require_same_kind(dataset, cases, predictor.preprocessing.spatial_dims)
    _require_comparable_scale(predictor, dataset, cases)
    return score_predictions(dataset, cases, lambda case: predict_case(predictor, dataset, case))


def require_some_case(dataset: Dataset, cases: Sequence[Case]) -> None:
    """Raise UserError where there is nothing to score."""
    if not cases:
        raise UserError(f"{dataset.name} has no labelled case to score; expected at least one.")


def score_predictions(dataset: Dataset, cases: Sequence[Case], predict: Predict) -> Scored:
    """The scores of these cases. Raises UserError with all that cannot be read."""
    name = dataset.name
    classes = dataset.classes[1:]
    scored: list[CaseScores] = []
    rows: list[dict[str, Any]] = []
    faults: list[tuple[str, str]] = []
    for case in track(cases, description=f"score {escape(harmless(name))}", console=Console(stderr=True)):
        try:
            sample, indices = predict(case)
        except UserError as error:
            fault = str(error).removeprefix(f"{name}: ")
            file, _, message = fault.partition(": ")
            faults.append((file, message))
            continue
        assert sample.mask is not None  # a Case is a labelled image
        scores = score_masks(indices, sample.mask, len(dataset.classes), sample.spacing)
        scored.append(scores)
        rows.append({"id": case.id, **scores.make_row(classes)})
    if faults:
        title = f"{name} cannot be scored, {len(faults)} of {len(cases)} cases cannot be read:"
        raise UserError(list_below(title, merge_alike(faults)))
    return rows, summarise_cases(scored, classes)


def predict_case(predictor: Predictor, dataset: Dataset, case: Case) -> tuple[Sample, np.ndarray]:
    """A case as its files hold it, and the class indices that a Predictor finds in its image."""
    sample = dataset.load(case)
    assert sample.mask is not None  # a Case is a labelled image
    preprocessing = predictor.preprocessing
    try:
        require_kind(sample.mask.shape, preprocessing.spatial_dims)
        scale = dataset.scale([case])
        image = preprocessing.in_units_of_training(sample.image, scale)
        indices = predictor(image, sample.spacing, sample.affine)
    except UserError as error:
        raise UserError(f"{dataset.name}: {case.image}: {error}") from error
    return sample, indices


def _require_classes(predictor: Predictor, dataset: Dataset) -> None:
    """Binary models take any binary data; with more classes the names must agree, in their order."""
    found = tuple(dataset.classes)
    expected = tuple(predictor.preprocessing.classes)
    both_binary = len(found) == len(expected) == 2
    if found != expected and not both_binary:
        raise UserError(
            f"{dataset.name} has the classes {', '.join(found)}, but the Run was trained on "
            f"{', '.join(expected)}: declare them alike with dataset.labels={{name: value, …}}, or merge "
            "labels into one foreground with dataset.foreground=[name, …]."
        )


def _require_comparable_scale(predictor: Predictor, dataset: Dataset, cases: list[Case]) -> None:
    """Raise UserError if the intensities of the cases do not compare with those trained on."""
    if predictor.preprocessing.intensity is None:  # each image is brought to one scale by itself
        return
    with suppress(ImageError):  # a file that cannot be opened is told with all others
        scale = dataset.scale(cases)
        try:
            require_comparable(scale, predictor.preprocessing.scale)
        except UserError as error:
            raise UserError(f"{dataset.name} cannot be scored: {error}") from error
