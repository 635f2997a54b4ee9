"""From the scores of cases to what an evaluation gives back: intervals, a table, and a page with the worst cases."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genseg_betty.data.source.dataset import Dataset
from genseg_betty.inference.case_pictures import draw_panels
from genseg_betty.inference.evaluation_files import write_evaluation
from genseg_betty.inference.scoring import Predict
from genseg_betty.metrics.intervals import Intervals, find_class_intervals, find_intervals
from genseg_betty.reporting.evaluation_page import EvaluatedScores, WorstCase, build_evaluation_page, list_worst_cases
from genseg_betty.run.names import CONSTANT, DICE, DISTANCE_UNIT
from genseg_betty.run.tables import encode_table


@dataclass(frozen=True)
class Evaluation:
    """Mean scores over `cases` cases of `dataset`, as `summarise_cases` has them.

    Args:
        per_case: the CSV with one row a case.
        page: the HTML file with the scores, how they are spread, and the worst cases in pictures.
        distance_unit: of `hd95` and `assd`, mm or px; None where the cases have none in common.
        classes: the means of each of several foreground classes.
        intervals: score -> low and high end of the 95 % interval of its mean over cases, see `find_intervals`.
        class_intervals: the same of each of several foreground classes.
        notes: what the user should know of the cases, a sentence each.
        constant_prediction: the class that all predictions are of; None where they show several.
    """

    dataset: str
    cases: int
    dice: float
    jaccard: float
    per_case: Path
    page: Path
    precision: float
    recall: float
    hd95: float | None
    assd: float | None
    surface_dice: float | None
    distance_unit: str | None
    surface_tolerance: float | None
    undefined_distances: int
    classes: dict[str, dict[str, float | None]]
    intervals: Intervals
    class_intervals: dict[str, Intervals]
    notes: list[str] = field(default_factory=list)
    constant_prediction: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The object that `genseg evaluate --json` prints."""
        found = {**asdict(self), "per_case": str(self.per_case), "page": str(self.page)}
        return {key: value for key, value in found.items() if key != CONSTANT or value}


@dataclass(frozen=True)
class ScoredCases:
    """Whose masks were scored on which dataset, with what outcome."""

    subject: str
    dataset: Dataset
    rows: list[dict[str, Any]]
    summary: dict[str, Any]
    predict: Predict
    notes: list[str]


def finish_evaluation(scored: ScoredCases, places: Sequence[tuple[Path, str]]) -> Evaluation:
    """Find the intervals, draw the worst cases, and write table and page to the first of the places that takes them."""
    dataset, summary = scored.dataset, scored.summary
    unit = summary[DISTANCE_UNIT]
    intervals = find_intervals(scored.rows, unit)
    class_intervals = find_class_intervals(scored.rows, unit, dataset.classes[1:])
    page = build_evaluation_page(
        EvaluatedScores(
            subject=scored.subject,
            dataset=dataset.name,
            summary=summary,
            rows=scored.rows,
            intervals=intervals,
            class_intervals=class_intervals,
            notes=scored.notes,
        ),
        _draw_worst(scored),
    )
    per_case, page_file = write_evaluation(places, encode_table(scored.rows), page)
    return Evaluation(
        dataset=dataset.name,
        per_case=per_case,
        page=page_file,
        intervals=intervals,
        class_intervals=class_intervals,
        notes=scored.notes,
        **summary,
    )


def _draw_worst(scored: ScoredCases) -> list[WorstCase]:
    """The cases with the lowest Dice in pictures, the worst first; they are predicted a second time.

    Images are left out where the masks alone are known.
    """
    by_id = {case.id: case for case in scored.dataset.cases}
    worst = []
    for row in list_worst_cases(scored.rows):
        case = by_id[row["id"]]
        sample, indices = scored.predict(case)
        panels = draw_panels(sample, indices, shows_errors=True)
        has_image = case.image not in case.masks
        worst.append(
            WorstCase(
                id=case.id,
                dice=row[DICE],
                slice=panels.slice,
                image=panels.image if has_image else None,
                truth=panels.truth,
                prediction=panels.prediction,
            )
        )
    return worst
