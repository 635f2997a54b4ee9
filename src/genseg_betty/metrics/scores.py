"""The scores of test cases: a row a case, the means over a test set, and how the screen tells them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from genseg_betty.metrics.overlaps import measure_overlaps
from genseg_betty.metrics.surfaces import TOLERANCES, measure_surfaces, name_unit
from genseg_betty.run.names import (
    ASSD,
    BACKGROUND,
    CASES,
    CLASSES,
    CONSTANT,
    DICE,
    DISTANCE_UNIT,
    HD95,
    JACCARD,
    PRECISION,
    RECALL,
    SURFACE_DICE,
    SURFACE_SCORES,
    SURFACE_TOLERANCE,
    TEST_SCORES,
    UNDEFINED_DISTANCES,
)


@dataclass(frozen=True)
class CaseScores:
    """The scores of one case.

    Args:
        of_classes: each of `TEST_SCORES` -> its value for each foreground class; None for a distance that is undefined,
            as only one of truth and prediction shows the class.
        unit: that of the distances, mm or px.
        constant: the class that all of the prediction is of; None where it shows several.
    """

    of_classes: Mapping[str, Sequence[float | None]]
    unit: str
    constant: int | None = None

    @property
    def means(self) -> dict[str, float | None]:
        """Of each score the mean over the foreground classes that have it; None where none has."""
        return {score: _find_mean(values) for score, values in self.of_classes.items()}

    def make_row(self, classes: Sequence[str]) -> dict[str, Any]:
        """The case's row without its id: means, unit, and where there are several foreground `classes` those of each.

        The columns of a class are named by it: dice_scar, jaccard_scar, ….
        """
        row: dict[str, Any] = {**self.means, DISTANCE_UNIT: self.unit}
        if len(classes) > 1:
            for score, values in self.of_classes.items():
                for name, value in zip(classes, values, strict=True):
                    row[f"{score}_{name}"] = value
        return row


def score_masks(
    prediction: ArrayLike, truth: ArrayLike, num_classes: int, spacing: Sequence[float] | None = None
) -> CaseScores:
    """Score class indices [H, W] or [D, H, W] against the truth; `spacing` is in mm along each axis, if it is known."""
    overlaps = measure_overlaps(prediction, truth, num_classes)
    surfaces = measure_surfaces(prediction, truth, num_classes, spacing)
    unit = name_unit(spacing)
    return CaseScores({**overlaps, **surfaces}, unit, find_constant(prediction))


def find_constant(prediction: ArrayLike) -> int | None:
    """The class that every pixel is of; None where there are several, or no pixel."""
    indices = np.asarray(prediction)
    if not indices.size:
        return None
    first = indices.flat[0]
    return int(first) if np.all(indices == first) else None


def summarise_cases(cases: Sequence[CaseScores], classes: Sequence[str]) -> dict[str, Any]:
    """What results.json says of a test set of at least one case.

    "dice", "jaccard" and the other scores are means over the cases that have them; "undefined_distances" counts the
    distances that are left out: a class of a case that is in only one of truth and prediction. Where some cases state
    their spacing and others do not, distances in mm and in pixels have no mean: it is None, as is their unit.
    "classes" has the means of each of several foreground classes. "constant_prediction" is there only where all
    predictions are of one class and show nothing else.
    """
    units = {case.unit for case in cases}
    unit = units.pop() if len(units) == 1 else None
    means = [case.means for case in cases]
    undefined = [case.of_classes[HD95].count(None) for case in cases]
    of_classes = {}
    if len(classes) > 1:
        for index, name in enumerate(classes):
            rows = [{score: values[index] for score, values in case.of_classes.items()} for case in cases]
            of_classes[name] = _average_rows(rows, unit)
    averages = _average_rows(means, unit)
    return {
        DICE: averages.pop(DICE),
        JACCARD: averages.pop(JACCARD),
        CASES: len(cases),
        **averages,
        DISTANCE_UNIT: unit,
        SURFACE_TOLERANCE: TOLERANCES[unit] if unit else None,
        UNDEFINED_DISTANCES: sum(undefined),
        CLASSES: of_classes,
        **_name_constant(cases, classes),
    }


def _name_constant(cases: Sequence[CaseScores], classes: Sequence[str]) -> dict[str, str]:
    """The class that all predictions are of; nothing where they show several."""
    [constant, *others] = {case.constant for case in cases}
    if constant is None or others:
        return {}
    return {CONSTANT: [BACKGROUND, *classes][constant]}


def describe_scores(summary: Mapping[str, Any]) -> list[str]:
    """Lines for the screen, of what stands in a summary beside Dice and Jaccard."""
    lines = [f"every prediction is all {summary[CONSTANT]}"] if summary.get(CONSTANT) else []
    lines += [f"precision {write_mean(summary, PRECISION)}, recall {write_mean(summary, RECALL)}"]
    unit = summary[DISTANCE_UNIT]
    if unit is None:
        lines.append("no mean distance: some cases state their spacing in mm, others state none")
    else:
        surface_dice = write_mean(summary, SURFACE_DICE)
        lines[-1] += f", surface Dice {surface_dice} (within {summary[SURFACE_TOLERANCE]:g} {unit})"
        lines.append(_describe_distances(summary))
    for name, scores in summary[CLASSES].items():
        found = {**scores, "intervals": summary.get("class_intervals", {}).get(name, {})}
        lines.append(f"{name}: Dice {write_mean(found, DICE)}, Jaccard {write_mean(found, JACCARD)}")
    return lines


def write_mean(summary: Mapping[str, Any], score: str, digits: int = 3) -> str:
    """A mean, and behind it its interval if the summary has one: 0.843 [0.821, 0.862]."""
    span = summary.get("intervals", {}).get(score)
    written = f"{summary[score]:.{digits}f}"
    if span is None:
        return written
    low, high = span
    return f"{written} [{low:.{digits}f}, {high:.{digits}f}]"


def _describe_distances(summary: Mapping[str, Any]) -> str:
    """The mean distances with their unit, and how many there are not."""
    unit = summary[DISTANCE_UNIT]
    undefined = summary[UNDEFINED_DISTANCES]
    described = "no HD95 and no ASSD"
    if summary[HD95] is not None:
        described = f"HD95 {write_mean(summary, HD95, 2)} {unit}, ASSD {write_mean(summary, ASSD, 2)} {unit}"
    if undefined:
        described += f"; {undefined} undefined, as only one of truth and prediction shows the class"
    return described


def _average_rows(rows: Sequence[Mapping[str, float | None]], unit: str | None) -> dict[str, float | None]:
    """The mean of each score; None for those of surfaces where the rows have no unit in common."""
    averages: dict[str, float | None] = {}
    for score in TEST_SCORES:
        found = [row[score] for row in rows]
        values = [value for value in found if value is not None]
        is_comparable = score not in SURFACE_SCORES or unit is not None
        averages[score] = sum(values) / len(values) if values and is_comparable else None
    return averages


def _find_mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None
