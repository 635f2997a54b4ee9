"""Scores of a Run on labelled cases: Dice and Jaccard per case at the resolution of its mask, then the mean.

No case that the Run trained or validated on is scored: known by its id in the dataset trained on, and by the
content of its image wherever that turns up again.
"""

import hashlib
import os
import sys
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from genseg_betty.config import load_dataset_config
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.comparable import require_kind, require_same_kind
from genseg_betty.data.formats import ImageError
from genseg_betty.data.inspect.check import places_of
from genseg_betty.data.places import note_of_turned
from genseg_betty.data.scale import require_comparable
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.splits import Splits, unseen_cases
from genseg_betty.errors import UserError
from genseg_betty.faults import merge_alike
from genseg_betty.files import atomic_write, file_label, remove_leftovers
from genseg_betty.inference.predictor import Predictor, load
from genseg_betty.inference.recorded import passive_dataset, read_splits
from genseg_betty.metrics import case_scores
from genseg_betty.run import Run
from genseg_betty.run.names import DICE, JACCARD, SCORES
from genseg_betty.run.tables import encode_table
from genseg_betty.terminal import harmless, say


@dataclass(frozen=True)
class Evaluation:
    """Mean scores in [0, 1] over `cases` cases of `dataset`; `per_case` is the CSV with one row a case."""

    dataset: str
    cases: int
    dice: float
    jaccard: float
    per_case: Path

    def to_dict(self) -> dict[str, Any]:
        """The object that `genseg evaluate --json` prints."""
        return {**asdict(self), "per_case": str(self.per_case)}


def evaluate_dataset(
    run: Path | str, dataset_config: DictConfig, device: str = "auto", trust: bool = False
) -> Evaluation:
    """Score the Run at `run` on every labelled case of a dataset that it neither trained nor validated on.

    Writes evaluate-<dataset>.csv into the Run and nothing else; where the Run cannot be written,
    evaluate-<run>-<dataset>.csv into the current folder, with a warning. `trust` is that of `load`. Raises UserError if
    the dataset has other classes than the Run, no case is left to score, or the scores can be written nowhere.
    """
    opened = Run.open(run)
    dataset = open_dataset(dataset_config)
    cases = unseen(opened, dataset, dataset_config.get("n_test"))
    if not cases:
        raise UserError(
            f"No case of {dataset.name} is left to score: the Run at {opened.path} trained or validated on "
            f"all {len(dataset.cases)} labelled cases there."
        )
    predictor = load(opened.path, device, trust)
    _tell_of_places(predictor, dataset, cases)
    rows, summary = score_cases(predictor, dataset, cases)
    per_case = _write_scores(opened, _file_label(dataset), encode_table(rows))
    return Evaluation(dataset.name, len(rows), summary[DICE], summary[JACCARD], per_case)


def evaluate_folders(
    run: Path | str, images: Path, masks: Path, device: str = "auto", trust: bool = False
) -> Evaluation:
    """Score the Run on images in one folder and masks of the same stems in another, labelled as its own data.

    The masks' names and formats are those of `dataset=folder`. Otherwise as `evaluate_dataset`.
    """
    trained_on = passive_dataset(Run.open(run))
    folders = [Path(images).resolve(), Path(masks).resolve()]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise UserError(f"No such folder: {' and '.join(missing)}; expected one of images and one of masks.")
    root = Path(os.path.commonpath(folders))
    image_folder, mask_folder = (folder.relative_to(root).as_posix() for folder in folders)
    config = load_dataset_config("folder", root=root)
    config.images = [pattern.replace("images/", f"{image_folder}/", 1) for pattern in config.images]
    config.masks = [pattern.replace("masks/", f"{mask_folder}/", 1) for pattern in config.masks]
    for key in ("labels", "classes", "threshold", "foreground", "range"):
        config[key] = trained_on.get(key)
    return evaluate_dataset(run, config, device, trust)


def score_cases(
    predictor: Predictor, dataset: Dataset, cases: list[Case]
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Rows {"id", "dice", "jaccard", … per class} one a case, and {"dice", "jaccard", "cases"} their means.

    Predictions are compared at the resolution of the mask. Raises UserError if the classes differ from the
    predictor's, the intensities do not compare with those trained on, or a case cannot be read: all such cases at
    once, for a mean over the others would mislead.
    """
    _check_classes(predictor, dataset)
    if not cases:
        raise UserError(f"{dataset.name} has no labelled case to score; expected at least one.")
    require_same_kind(dataset, cases, predictor.preprocessing.spatial_dims)
    _check_scale(predictor, dataset, cases)
    rows: list[dict[str, Any]] = []
    faults: list[tuple[str, str]] = []
    for case in track(cases, description=f"score {escape(harmless(dataset.name))}", console=Console(stderr=True)):
        try:
            rows.append({"id": case.id, **_score_case(predictor, dataset, case)})
        except UserError as error:
            place, _, message = str(error).removeprefix(f"{dataset.name}: ").partition(": ")
            faults.append((place, message))
    if faults:
        title = f"{dataset.name} cannot be scored, {len(faults)} of {len(cases)} cases cannot be read:"
        raise UserError("\n  - ".join([title, *merge_alike(faults)]))
    means = {name: sum(row[name] for row in rows) / len(rows) for name in SCORES}
    return rows, {**means, "cases": len(rows)}


def _score_case(predictor: Predictor, dataset: Dataset, case: Case) -> dict[str, float]:
    """The scores of one case. Raises UserError, which begins with the dataset and the file."""
    sample = dataset.load(case)
    assert sample.mask is not None  # a Case is a labelled image
    preprocessing = predictor.preprocessing
    try:
        require_kind(sample.mask.shape, preprocessing.spatial_dims)
        image = preprocessing.in_units_of_training(sample.image, dataset.scale([case]))
        indices = predictor(image, sample.spacing, sample.affine)
    except UserError as error:
        raise UserError(f"{dataset.name}: {case.image}: {error}") from error
    return case_scores(indices, sample.mask, predictor.num_classes)


def unseen(run: Run, dataset: Dataset, n_test: int | None = None) -> list[Case]:
    """The labelled cases of `dataset` that the Run neither trained nor validated on, at most `n_test`."""
    recorded = read_splits(run)
    splits = Splits(recorded.train, recorded.validation, recorded.test)
    trained = Dataset(recorded.dataset, recorded.root, [], [], dataset.labels, dataset.metric)
    return unseen_cases(dataset, trained, splits, n_test, recorded.contents)


def _tell_of_places(predictor: Predictor, dataset: Dataset, cases: list[Case]) -> None:
    """Say once which masks and images are turned."""
    places = places_of(dataset, cases)
    orientations = [places.orientations.get(case.id) for case in cases]
    turned = note_of_turned(dataset.name, orientations, predictor.preprocessing.orientation)
    say(*(f"note: {note}" for note in [*places.notes(), *turned]), file=sys.stderr)


def _write_scores(run: Run, label: str, content: bytes) -> Path:
    """Write the CSV into the Run, or into the current folder where the Run is for reading alone; returns its path."""
    lone, with_run = f"evaluate-{label}.csv", f"evaluate-{file_label(run.path.name)}-{label}.csv"
    faults: list[str] = []
    for folder, name in ((run.path, lone), (Path(), with_run)):
        try:
            place = folder.absolute() / name  # raises where the current folder is gone
            remove_leftovers([place.parent])
            atomic_write(place, content)
        except OSError as error:
            shown = folder if folder.is_absolute() else "the current folder"
            faults.append(f"{shown} cannot be written ({error.strerror})")
            continue
        if faults:
            warnings.warn(f"{faults[0]}, so the scores of each case are in {place}", stacklevel=3)
        return place
    raise UserError(f"the scores can be written nowhere: {'; '.join(faults)}; give the command in a folder of yours")


def _check_classes(predictor: Predictor, dataset: Dataset) -> None:
    """Binary models take any binary data; with more classes the names must agree, in their order."""
    found, expected = dataset.classes, predictor.preprocessing.classes
    if len(found) != len(expected) or (len(found) > 2 and tuple(found) != tuple(expected)):
        raise UserError(
            f"{dataset.name} has the classes {', '.join(found)}, but the Run was trained on "
            f"{', '.join(expected)}: declare them alike with dataset.labels={{name: value, …}}, or merge "
            "labels into one foreground with dataset.foreground=[name, …]."
        )


def _check_scale(predictor: Predictor, dataset: Dataset, cases: list[Case]) -> None:
    if predictor.preprocessing.intensity is None:  # each image is brought to one scale by itself
        return
    with suppress(ImageError):  # a file that cannot be opened is told with all others
        scale = dataset.scale(cases)
        try:
            require_comparable(scale, predictor.preprocessing.scale)
        except UserError as error:
            raise UserError(f"{dataset.name} cannot be scored: {error}") from error


def _file_label(dataset: Dataset) -> str:
    """The dataset's name; for a folder, which has none of its own, with a digest of where it lies."""
    label = file_label(dataset.name)
    if dataset.name != "folder":
        return label
    return f"{label}-{hashlib.sha256(str(dataset.root).encode()).hexdigest()[:8]}"
