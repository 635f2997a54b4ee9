"""How far the surface of a prediction lies from that of its truth, class by class: HD95, ASSD and surface Dice.

The surface S of a mask is those of its pixels (voxels) that share a side with one outside of the mask, or that lie at
the border of the image. d(p, S) is the Euclidean distance of p to the nearest pixel of S, as MONAI computes it: in mm
where the spacing is known, else in pixels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from genseg_betty.run.names import ASSD, HD95, SURFACE_DICE

MILLIMETRES = "mm"
PIXELS = "px"
TOLERANCES = {MILLIMETRES: 2.0, PIXELS: 1.0}
"""Up to this distance surface Dice takes two surfaces for one, by unit: about how far two experts' outlines differ."""
PERCENT = 95  # of the distances that HD95 covers

Box = tuple[slice, ...]
"""The part of an array that holds a class."""


def name_unit(spacing: Sequence[float] | None) -> str:
    """The unit of the distances: of pixels, unless the spacing is known."""
    return PIXELS if spacing is None else MILLIMETRES


def measure_surfaces(
    prediction: ArrayLike, truth: ArrayLike, num_classes: int, spacing: Sequence[float] | None = None
) -> dict[str, list[float | None]]:
    """The three metrics of each foreground class 1 … num_classes - 1.

    - HD95: the larger one of the 95th percentiles of d(p, S_truth) and of d(t, S_prediction)
    - ASSD: the mean of all these distances
    - surface Dice: the share of both surfaces whose distance is at most `TOLERANCES`

    A class that is in neither mask has the distances 0 and surface Dice 1. One that is in only one of them has no
    distances, None, and surface Dice 0.

    Args:
        prediction: class indices, [H, W] or [D, H, W].
        truth: class indices of the same shape.
        spacing: mm along each axis.
    """
    predicted = np.asarray(prediction)
    true = np.asarray(truth)
    tolerance = TOLERANCES[name_unit(spacing)]
    found: dict[str, list[float | None]] = {HD95: [], ASSD: [], SURFACE_DICE: []}
    boxes = _find_boxes(predicted, true, num_classes)
    for index, (in_prediction, in_truth) in enumerate(boxes, start=1):
        if in_prediction is None or in_truth is None:
            scores = _score_empty(is_absent=in_prediction is in_truth)
        else:
            box = _unite_boxes(in_prediction, in_truth)
            to_truth, to_prediction = _find_distances(predicted[box] == index, true[box] == index, spacing)
            scores = _score_distances(to_truth, to_prediction, tolerance)
        for name, value in scores.items():
            found[name].append(value)
    return found


def _find_boxes(predicted: np.ndarray, true: np.ndarray, num_classes: int) -> list[tuple[Box | None, Box | None]]:
    """The smallest box around each foreground class in both arrays; None where the class is not there."""
    from scipy.ndimage import find_objects

    last = num_classes - 1
    in_prediction = find_objects(predicted, last)
    in_truth = find_objects(true, last)
    return list(zip(in_prediction, in_truth, strict=True))


def _unite_boxes(one: Box, other: Box) -> Box:
    """The smallest box that holds both."""
    sides = []
    for first, second in zip(one, other, strict=True):
        start = min(first.start, second.start)
        stop = max(first.stop, second.stop)
        sides.append(slice(start, stop))
    return tuple(sides)


def _find_distances(
    predicted: np.ndarray, true: np.ndarray, spacing: Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Of each pixel of one mask's surface how far the other's is: from prediction to truth, and back.

    The masks may end at the box around both: there as at the border of an image, what is outside is no mask.
    """
    from monai.metrics.utils import get_mask_edges, get_surface_distance  # takes seconds to import

    in_prediction, in_truth = get_mask_edges(predicted, true, crop=False)
    to_truth = get_surface_distance(in_prediction, in_truth, spacing=spacing)
    to_prediction = get_surface_distance(in_truth, in_prediction, spacing=spacing)
    return np.asarray(to_truth), np.asarray(to_prediction)


def _score_distances(to_truth: np.ndarray, to_prediction: np.ndarray, tolerance: float) -> dict[str, float | None]:
    """The metrics of a class that both masks have."""
    percentiles = [np.percentile(part, PERCENT) for part in (to_truth, to_prediction)]
    distances = np.concatenate([to_truth, to_prediction])
    is_near = distances <= tolerance
    return {
        HD95: float(max(percentiles)),
        ASSD: float(np.mean(distances, dtype=np.float64)),
        SURFACE_DICE: float(np.mean(is_near)),
    }


def _score_empty(is_absent: bool) -> dict[str, float | None]:
    """The metrics of a class that is in neither mask, or else in only one of them."""
    if is_absent:
        return {HD95: 0.0, ASSD: 0.0, SURFACE_DICE: 1.0}
    return {HD95: None, ASSD: None, SURFACE_DICE: 0.0}
