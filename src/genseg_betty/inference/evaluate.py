"""Scores of a Run on labelled cases: each case's at the resolution of its mask, then their mean.

No case that the Run trained or validated on is scored: known by its id in the dataset trained on, and by the
content of its image wherever that turns up again.
"""

import hashlib
import os
import warnings
from collections.abc import Iterable
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
from genseg_betty.faults import list_below, merge_alike
from genseg_betty.files import atomic_write, file_label, remove_leftovers
from genseg_betty.inference.predictor import Predictor
from genseg_betty.inference.recorded import passive_dataset, read_splits
from genseg_betty.inference.saved_networks import load
from genseg_betty.metrics.scores import CaseScores, score_masks, summarise_cases
from genseg_betty.run import Run
from genseg_betty.run.names import CONSTANT
from genseg_betty.run.tables import encode_table
from genseg_betty.terminal import harmless, print_notes

LABEL_KEYS = ("labels", "classes", "threshold", "foreground", "range")  # how a dataset's masks are read


@dataclass(frozen=True)
class Evaluation:
    """Mean scores over `cases` cases of `dataset`, as `summarise_cases` has them.

    `per_case` is the CSV with one row a case; distances are in `distance_unit`, mm or px; `constant_prediction` is None
    where the predictions show several classes.
    """

    dataset: str
    cases: int
    dice: float
    jaccard: float
    per_case: Path
    precision: float
    recall: float
    hd95: float | None
    assd: float | None
    surface_dice: float | None
    distance_unit: str | None
    surface_tolerance: float | None
    undefined_distances: int
    classes: dict[str, dict[str, float | None]]
    constant_prediction: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The object that `genseg evaluate --json` prints."""
        found = {**asdict(self), "per_case": str(self.per_case)}
        return {key: value for key, value in found.items() if key != CONSTANT or value}


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
    cases = select_unseen_cases(opened, dataset, dataset_config.get("n_test"))
    if not cases:
        raise UserError(
            f"No case of {dataset.name} is left to score: the Run at {opened.path} trained or validated on "
            f"all {len(dataset.cases)} labelled cases there."
        )
    predictor = load(opened.path, device, trust)
    _tell_of_places(predictor, dataset, cases)
    rows, summary = score_cases(predictor, dataset, cases)
    per_case = _write_scores(opened, _label_of(dataset), encode_table(rows))
    return Evaluation(dataset=dataset.name, per_case=per_case, **summary)


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
    image_folder, mask_folder = (folder.relative_to(root) for folder in folders)
    config = load_dataset_config("folder", root=root)
    config.images = _move_patterns(config.images, "images/", image_folder)
    config.masks = _move_patterns(config.masks, "masks/", mask_folder)
    for key in LABEL_KEYS:
        config[key] = trained_on.get(key)
    return evaluate_dataset(run, config, device, trust)


def _move_patterns(patterns: Iterable[str], folder: str, other: Path) -> list[str]:
    """The same file name patterns in another folder."""
    return [pattern.replace(folder, f"{other.as_posix()}/", 1) for pattern in patterns]


def score_cases(
    predictor: Predictor, dataset: Dataset, cases: list[Case]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows {"id", "dice", "jaccard", … per class} one a case, and {"dice", "jaccard", "cases", …} their means.

    Predictions are compared at the resolution of the mask. Raises UserError if the classes differ from the
    predictor's, the intensities do not compare with those trained on, or a case cannot be read: all such cases at
    once, for a mean over the others would mislead.
    """
    name = dataset.name
    _require_classes(predictor, dataset)
    if not cases:
        raise UserError(f"{name} has no labelled case to score; expected at least one.")
    require_same_kind(dataset, cases, predictor.preprocessing.spatial_dims)
    _require_comparable_scale(predictor, dataset, cases)

    classes = dataset.classes[1:]
    scored: list[CaseScores] = []
    rows: list[dict[str, Any]] = []
    faults: list[tuple[str, str]] = []
    for case in track(cases, description=f"score {escape(harmless(name))}", console=Console(stderr=True)):
        try:
            scores = _score_case(predictor, dataset, case)
            scored.append(scores)
            rows.append({"id": case.id, **scores.make_row(classes)})
        except UserError as error:
            fault = str(error).removeprefix(f"{name}: ")
            file, _, message = fault.partition(": ")
            faults.append((file, message))
    if faults:
        title = f"{name} cannot be scored, {len(faults)} of {len(cases)} cases cannot be read:"
        raise UserError(list_below(title, merge_alike(faults)))
    return rows, summarise_cases(scored, classes)


def _score_case(predictor: Predictor, dataset: Dataset, case: Case) -> CaseScores:
    """The scores of one case. Raises a UserError that begins with the dataset and the file."""
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
    return score_masks(indices, sample.mask, predictor.num_classes, sample.spacing)


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


def _write_scores(run: Run, label: str, content: bytes) -> Path:
    """Write the CSV into the Run, or into the current folder where the Run is for reading alone; returns its path."""
    run_label = file_label(run.path.name)
    places = [
        (run.path, f"evaluate-{label}.csv"),
        (Path(), f"evaluate-{run_label}-{label}.csv"),
    ]
    faults: list[str] = []
    for folder, name in places:
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


def _label_of(dataset: Dataset) -> str:
    """The dataset's name; for a folder, which has none of its own, with a digest of where it lies."""
    label = file_label(dataset.name)
    if dataset.name != "folder":
        return label
    location = str(dataset.root).encode()
    digest = hashlib.sha256(location).hexdigest()
    return f"{label}-{digest[:8]}"
