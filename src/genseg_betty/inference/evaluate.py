"""Scores of a Run on labelled cases, or of masks that another tool or a person made, as a table and a page.

No case that the Run trained or validated on is scored: known by its id in the dataset trained on, and by the
content of its image wherever that turns up again.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from genseg_betty.data.cases import open_dataset
from genseg_betty.data.inspect.check import places_of
from genseg_betty.data.places import note_of_turned
from genseg_betty.data.source.case import Case, Sample
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.splits import Splits, unseen_cases
from genseg_betty.errors import UserError
from genseg_betty.inference.case_pictures import draw_panels
from genseg_betty.inference.evaluation_files import name_evaluation, write_evaluation
from genseg_betty.inference.given_masks import pair_given_masks
from genseg_betty.inference.predictor import Predictor
from genseg_betty.inference.recorded import passive_dataset, read_splits
from genseg_betty.inference.saved_networks import load
from genseg_betty.inference.scored_folders import compose_folders, name_classes, open_masks, require_folders
from genseg_betty.inference.scoring import Predict, predict_case, require_some_case, score_cases, score_predictions
from genseg_betty.metrics.intervals import Intervals, find_class_intervals, find_intervals
from genseg_betty.report.evaluation_page import EvaluatedScores, WorstCase, build_evaluation_page, list_worst_cases
from genseg_betty.run import Run
from genseg_betty.run.names import CONSTANT, DICE, DISTANCE_UNIT
from genseg_betty.run.tables import encode_table
from genseg_betty.terminal import print_notes


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


def evaluate_dataset(
    run: Path | str,
    dataset_config: DictConfig,
    device: str = "auto",
    trust: bool = False,
    out: Path | None = None,
) -> Evaluation:
    """Score the Run at `run` on every labelled case of a dataset that it neither trained nor validated on.

    Writes evaluate-<dataset>.csv and .html into the Run and nothing else; where the Run cannot be written,
    evaluate-<run>-<dataset> into the current folder, with a warning; where a folder `out` is given, there.
    `trust` is that of `load`. Raises UserError if the dataset has other classes than the Run, no case is left to score,
    or the scores can be written nowhere.
    """
    opened = Run.open(run)
    dataset = open_dataset(dataset_config)
    cases = select_unseen_cases(opened, dataset, dataset_config.get("n_test"))
    if not cases:
        raise UserError(
            f"No case of {dataset.name} is left to score: the Run at {opened.path} trained or validated on "
            f"all {len(dataset.cases)} labelled cases there."
        )
    predictor = load(opened.path, device, trust)
    _tell_of_places(predictor, dataset, cases)
    rows, summary = score_cases(predictor, dataset, cases)
    name = opened.path.name
    scored = _Scored(
        subject=f"Run {name}",
        dataset=dataset,
        rows=rows,
        summary=summary,
        predict=lambda case: predict_case(predictor, dataset, case),
        notes=_note_unscored(len(dataset.cases) - len(cases)),
    )
    of_other = name_evaluation(name, dataset)
    places = [(opened.path, name_evaluation("", dataset)), (Path(), of_other)]
    return _finish_evaluation(scored, [(Path(out), of_other)] if out else places)


def evaluate_folders(
    run: Path | str,
    images: Path,
    masks: Path,
    device: str = "auto",
    trust: bool = False,
    out: Path | None = None,
) -> Evaluation:
    """Score the Run on images in one folder and masks of the same stems in another, labelled as its own data.

    The masks' names and formats are those of `dataset=folder`. Otherwise as `evaluate_dataset`.
    """
    trained_on = passive_dataset(Run.open(run))
    config = compose_folders(images, masks, labelled_as=trained_on)
    return evaluate_dataset(run, config, device, trust, out)


def evaluate_predictions(predictions: Path, dataset_config: DictConfig, out: Path | None = None) -> Evaluation:
    """Score masks that another tool or a person made on the labelled cases of a dataset; no Run is needed.

    They are paired by stem and read with the labels of the dataset, see `pair_given_masks`. Scored are all labelled
    cases, or the test part where the masks are exactly those. Writes evaluate-<folder>-<dataset>.csv and .html into
    `out`, by default the current folder. Raises UserError with all that does not fit.
    """
    dataset = open_dataset(dataset_config)
    return _evaluate_given_masks(predictions, dataset, out, dataset_config.get("n_test"))


def evaluate_prediction_folders(
    predictions: Path,
    masks: Path,
    images: Path | None = None,
    keys: Sequence[str] = (),
    out: Path | None = None,
) -> Evaluation:
    """Score masks that another tool or a person made against true masks of the same stems in a folder.

    Masks of more than two values have a class for each value, named by it, unless `keys` declare labels.

    Args:
        images: of the masks, for the pictures on the page; without them it shows masks alone.
        keys: of `dataset=folder`, such as "labels={background: 0, ulcer: 1}".
    """
    if images is None:
        require_folders([masks], "one of masks")
        dataset = open_masks(masks, keys)
    else:
        dataset = open_dataset(compose_folders(images, masks, keys))
    return _evaluate_given_masks(predictions, name_classes(dataset), out)


def _evaluate_given_masks(
    predictions: Path, dataset: Dataset, out: Path | None, n_test: int | None = None
) -> Evaluation:
    require_folders([predictions], "one of predicted masks")
    require_some_case(dataset, dataset.cases)
    given = pair_given_masks(Path(predictions), dataset, n_test)
    print_notes(given.notes)

    def predict(case: Case) -> tuple[Sample, np.ndarray]:
        return given.predict(dataset, case)

    rows, summary = score_predictions(dataset, given.cases, predict)
    name = Path(predictions).resolve().name
    scored = _Scored(f"masks in {name}", dataset, rows, summary, predict, given.notes)
    return _finish_evaluation(scored, [(Path(out or ""), name_evaluation(name, dataset))])


@dataclass(frozen=True)
class _Scored:
    """Whose masks were scored on which dataset, with what outcome."""

    subject: str
    dataset: Dataset
    rows: list[dict[str, Any]]
    summary: dict[str, Any]
    predict: Predict
    notes: list[str]


def _finish_evaluation(scored: _Scored, places: Sequence[tuple[Path, str]]) -> Evaluation:
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


def _draw_worst(scored: _Scored) -> list[WorstCase]:
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


def _note_unscored(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"{count} labelled cases there are not scored: the Run learned from them, from others of their patients or "
        "from copies of them, or n_test leaves them out"
    ]


def select_unseen_cases(run: Run, dataset: Dataset, n_test: int | None = None) -> list[Case]:
    """The labelled cases of `dataset` that the Run neither trained nor validated on, at most `n_test`."""
    recorded = read_splits(run)
    splits = Splits(recorded.train, recorded.validation, recorded.test, unlabelled=recorded.unlabelled)
    trained = Dataset(
        name=recorded.dataset,
        root=recorded.root,
        cases=[],
        unlabelled=[],
        labels=dataset.labels,
        metric=dataset.metric,
    )
    return unseen_cases(dataset, trained, splits, n_test, recorded.contents)


def _tell_of_places(predictor: Predictor, dataset: Dataset, cases: list[Case]) -> None:
    """Say once which masks and images are turned."""
    places = places_of(dataset, cases)
    orientations = [places.orientations.get(case.id) for case in cases]
    print_notes(places.notes())
    print_notes(note_of_turned(dataset.name, orientations, predictor.preprocessing.orientation))
