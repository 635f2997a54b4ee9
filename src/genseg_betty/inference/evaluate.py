"""Scores of a Run on labelled cases, or of masks that another tool or a person made, as a table and a page.

No case that the Run trained or validated on is scored: known by its id in the dataset trained on, and by the
content of its image wherever that turns up again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from genseg_betty.config import load_dataset_config
from genseg_betty.config.python_values import override_lines
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.inspect.check import places_of
from genseg_betty.data.places import note_of_turned
from genseg_betty.data.source.case import Case, Sample
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.splits import Splits, unseen_cases
from genseg_betty.errors import UserError
from genseg_betty.inference.evaluation import Evaluation, ScoredCases, finish_evaluation
from genseg_betty.inference.evaluation_files import name_evaluation
from genseg_betty.inference.given_masks import pair_given_masks
from genseg_betty.inference.predictor import Predictor
from genseg_betty.inference.recorded import passive_dataset, read_splits
from genseg_betty.inference.saved_networks import load
from genseg_betty.inference.scored_folders import compose_folders, name_classes, open_masks, require_folders
from genseg_betty.inference.scoring import predict_case, require_some_case, score_cases, score_predictions
from genseg_betty.run import Run
from genseg_betty.terminal import print_notes


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
    scored = ScoredCases(
        subject=f"Run {name}",
        dataset=dataset,
        rows=rows,
        summary=summary,
        predict=lambda case: predict_case(predictor, dataset, case),
        notes=_note_unscored(len(cases), len(dataset.cases), dataset_config.get("n_test")),
    )
    of_other = name_evaluation(name, dataset)
    places = [(opened.path, name_evaluation("", dataset)), (Path(), of_other)]
    return finish_evaluation(scored, [(Path(out), of_other)] if out else places)


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
    scored = ScoredCases(f"masks in {name}", dataset, rows, summary, predict, given.notes)
    return finish_evaluation(scored, [(Path(out or ""), name_evaluation(name, dataset))])


def _note_unscored(scored: int, labelled: int, n_test: int | None) -> list[str]:
    """A sentence about the labelled cases that are not scored; nothing where all are."""
    others = labelled - scored
    if not others:
        return []
    if scored == n_test:
        return [f"{scored} of {labelled} labelled cases are scored, for n_test={n_test}"]
    return [
        f"{others} of {labelled} labelled cases there are not scored: the Run learned from them, from others of their "
        "patients or from copies of them"
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


def evaluate(
    run: Path | str | None = None,
    dataset: str | None = None,
    *,
    images: Path | str | None = None,
    masks: Path | str | None = None,
    predictions: Path | str | None = None,
    out: Path | str | None = None,
    device: str = "auto",
    trust: bool = False,
    config_dir: Path | str | None = None,
    **keys: Any,
) -> Evaluation:
    """Score a Run on labelled images that it has not learned from, or masks that were made elsewhere.

    Args:
        run: directory of a Run; None with `predictions`.
        dataset: name of a data set; `keys` are those of it, such as root=DIR and n_test=50.
        images: instead of a data set a folder of images, and `masks` that of their masks, same stems.
        predictions: a folder of masks to score instead of those of a Run; `images` are for the page alone then.
        out: folder for the table and the page; None: the Run, of `predictions` the current folder.
        device, trust, config_dir: those of `load`, and a folder of your own YAML files, laid out as conf/.

    Raises:
        UserError: for arguments that do not say what is scored against what, and as the functions above.
    """
    lines = override_lines({}, keys, ())
    target = None if out is None else Path(out)
    _require_source(run, predictions, dataset, (images, masks), lines)
    if dataset is not None:
        config = load_dataset_config(dataset, config_dir=config_dir, overrides=lines)
        if run is not None:
            return evaluate_dataset(run, config, device, trust, target)
        return evaluate_predictions(Path(predictions or ""), config, target)
    if predictions is not None:
        pictures = None if images is None else Path(images)
        return evaluate_prediction_folders(Path(predictions), Path(masks or ""), pictures, lines, target)
    return evaluate_folders(run or "", Path(images or ""), Path(masks or ""), device, trust, target)


def _require_source(
    run: object, predictions: object, dataset: object, folders: tuple[object, object], lines: list[str]
) -> None:
    """Raise UserError unless it is clear whose masks are scored, and against which."""
    images, masks = folders
    by_folders = masks is not None and (images is not None or run is None)
    is_clear = (run is None) != (predictions is None)
    if dataset is None:
        is_clear = is_clear and by_folders and not (lines and run is not None)
    else:
        is_clear = is_clear and images is None and masks is None
    if not is_clear:
        raise UserError(
            "evaluate takes a Run or predictions=DIR, and either a data set with its keys or images=DIR and masks=DIR "
            "(with predictions masks=DIR alone will do)"
        )
