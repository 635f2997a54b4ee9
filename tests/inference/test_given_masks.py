"""Masks that were made elsewhere are scored as a Run's are; what does not fit is told at once."""

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig
from PIL import Image
from scipy import stats

from genseg_betty.config import load_dataset_config
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.formats import nifti
from genseg_betty.errors import UserError
from genseg_betty.inference import (
    Evaluation,
    evaluate,
    evaluate_dataset,
    evaluate_folders,
    evaluate_prediction_folders,
    evaluate_predictions,
    predict_paths,
)
from genseg_betty.run import Run

UNSEEN = ["case_2", "case_5"]


def read_rows(evaluation: Evaluation) -> dict[str, dict[str, str]]:
    with evaluation.per_case.open(newline="", encoding="utf-8") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


@pytest.fixture
def given(bright_run: Run, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Masks of all cases, by "brighter than 127.5"; the current folder is one of its own."""
    predict_paths(bright_run.path, [data_root / "images"], tmp_path / "given")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "given"


def change_mask(path: Path, values: Callable[[np.ndarray], np.ndarray]) -> None:
    changed = values(np.asarray(Image.open(path)))
    Image.fromarray(changed.astype(np.uint8)).save(path)


def test_they_score_as_the_run_that_made_them(
    bright_run: Run, config: DictConfig, given: Path, data_root: Path
) -> None:
    of_run = evaluate_dataset(bright_run.path, config.dataset)
    found = evaluate_predictions(given, config.dataset)
    assert (found.dataset, found.cases, found.notes) == ("folder", 6, [])
    rows = read_rows(found)
    for id, row in read_rows(of_run).items():
        assert rows[id] == row
    assert found.per_case.parent == Path.cwd()
    assert re.fullmatch(r"evaluate-given-folder-\w{8}\.csv", found.per_case.name)
    assert found.page == found.per_case.with_suffix(".html")
    for images in (None, data_root / "images"):
        again = evaluate_prediction_folders(given, data_root / "masks", images, out=Path("out"))
        assert read_rows(again) == rows
        assert again.page.parent == Path("out").absolute()


@pytest.mark.parametrize("cases", [6, 3])
def test_intervals_against_other_computations(
    bright_run: Run, given: Path, data_root: Path, tmp_path: Path, cases: int
) -> None:
    """Of 3 cases every resample there is, of 6 SciPy's bootstrap."""
    masks = tmp_path / "some"
    masks.mkdir()
    for path in sorted((data_root / "masks").iterdir())[:cases]:
        shutil.copy(path, masks)
    found = evaluate_prediction_folders(given, masks)
    rows = read_rows(found)
    for score in ("dice", "precision", "hd95"):
        values = np.array([float(row[score]) for row in rows.values()])
        span = found.intervals[score]
        assert span is not None
        if cases == 3:
            means = np.mean(np.array(np.meshgrid(values, values, values)).reshape(3, -1), axis=0)
            expected = tuple(np.percentile(means, [2.5, 97.5], method="inverted_cdf"))
        else:
            random = np.random.default_rng(1)
            many = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=random)
            expected = many.confidence_interval
        assert span == pytest.approx(tuple(expected), abs=0.04 * np.ptp(values) + 1e-9)
        assert span[0] <= getattr(found, score) <= span[1]
    assert found.to_dict()["intervals"]["dice"] == found.intervals["dice"]


def test_one_case_has_no_interval(given: Path, data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(data_root / "masks" / "case_1.png", tmp_path / "one")
    found = evaluate_prediction_folders(given, tmp_path / "one")
    assert set(found.intervals.values()) == {None}
    assert found.cases == 1
    assert "5 masks of no case: case_0.png" in found.notes[0]
    assert "are not scored" in found.page.read_text(encoding="utf-8")


def test_all_that_does_not_fit_is_told_at_once(given: Path, config: DictConfig, capsys: pytest.CaptureFixture) -> None:
    (given / "case_0.png").rename(given / "case_0_final.png")
    (given / "case_3.png").unlink()
    change_mask(given / "case_1.png", lambda mask: mask[:-2])
    shutil.copy(given / "case_4.png", given / "case_4.bmp")
    with pytest.raises(UserError) as caught:
        evaluate_predictions(given, config.dataset)
    told = str(caught.value)
    for expected in (
        "2 cases of 6 without a mask of the same stem: case_0 and case_3",
        "1 mask of no case: case_0_final.png",
        "case_1.png: mask is",
        "case_4: has 2 masks",
    ):
        assert expected in told
    assert not list(Path.cwd().iterdir())


def test_values_that_are_no_labels_are_told_of_all_files(given: Path, config: DictConfig) -> None:
    for name in ("case_1", "case_2"):
        change_mask(given / f"{name}.png", lambda mask: np.indices(mask.shape).sum(0) % 7)
    with pytest.raises(UserError, match=r"2 of 6 cases cannot be read") as caught:
        evaluate_predictions(given, config.dataset)
    assert "case_1.png" in str(caught.value)


def test_what_other_tools_write_is_read(given: Path, data_root: Path, config: DictConfig) -> None:
    """Labels 0 and 1 for 0 and 255, other formats, masks in a folder below, files that are no masks, probabilities."""
    expected = evaluate_predictions(given, config.dataset)
    change_mask(given / "case_0.png", lambda mask: mask // 255)
    with Image.open(given / "case_1.png") as image:
        image.save(given / "case_1.tif")
    (given / "case_1.png").unlink()
    np.savez(given / "case_2.npz", probabilities=np.zeros((2, 4, 4)))
    (given / "plans.json").write_text("{}")
    (given / "below").mkdir()
    (given / "case_3.png").rename(given / "below" / "case_3.png")
    found = evaluate_predictions(given, config.dataset)
    assert read_rows(found) == read_rows(expected)


def test_masks_of_the_test_part_alone_are_scored_on_it(given: Path, config: DictConfig) -> None:
    dataset = open_dataset(config.dataset)
    test = set(dataset.test_ids())
    for case in dataset.cases:
        if case.id not in test:
            (given / f"{case.id}.png").unlink()
    found = evaluate_predictions(given, config.dataset)
    assert set(read_rows(found)) == test
    assert "those of the test part" in found.notes[0]


def test_masks_of_several_values_have_a_class_for_each(data_root: Path, given: Path, tmp_path: Path) -> None:
    for folder in (data_root / "masks", given):
        for path in folder.glob("*.png"):
            change_mask(path, lambda mask: np.where(mask > 0, np.where(np.arange(mask.shape[1]) < 20, 3, 9), 1))
    found = evaluate_prediction_folders(given, data_root / "masks")
    assert list(found.classes) == ["3", "9"]
    assert list(found.class_intervals) == ["3", "9"]
    row = read_rows(found)["case_0"]
    truth, mask = (np.asarray(Image.open(folder / "case_0.png")) for folder in (data_root / "masks", given))
    both = ((truth == 9) & (mask == 9)).sum()
    assert float(row["dice_9"]) == pytest.approx(2 * both / ((truth == 9).sum() + (mask == 9).sum()))
    declared = evaluate_prediction_folders(
        given, data_root / "masks", keys=["labels={background: 1, scar: 3, ulcer: 9}"]
    )
    assert declared.classes["ulcer"] == found.classes["9"]


def test_volumes_are_scored_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Distances are in mm; a mask that lies elsewhere in space is refused."""
    monkeypatch.chdir(tmp_path)
    truth = np.zeros((4, 12, 10), np.uint8)
    truth[1:3, 3:8, 2:7] = 1
    shifted = np.roll(truth, 1, axis=1)
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    for folder, mask in (("masks", truth), ("given", shifted)):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            nifti.write_mask(tmp_path / folder / f"{name}.nii.gz", mask, affine)
    found = evaluate_prediction_folders(Path("given"), Path("masks"))
    assert (found.cases, found.distance_unit, found.hd95) == (2, "mm", 2.0)
    assert found.dice == pytest.approx(0.8)
    elsewhere = affine.copy()
    elsewhere[:3, 3] = 20
    nifti.write_mask(tmp_path / "given" / "b.nii.gz", shifted, elsewhere)
    with pytest.raises(UserError, match=r"b\.nii\.gz: lies elsewhere in space"):
        evaluate_prediction_folders(Path("given"), Path("masks"))


def test_folders_that_are_not_there(given: Path, data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such folder"):
        evaluate_prediction_folders(tmp_path / "nowhere", data_root / "masks")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no mask"):
        evaluate_prediction_folders(tmp_path / "empty", data_root / "masks")
    with pytest.raises(UserError, match="holds no mask"):
        evaluate_prediction_folders(given, tmp_path / "empty")
    drawn = load_dataset_config("phantom")
    with pytest.raises(UserError, match="is drawn, not read"):
        evaluate_predictions(given, drawn)


def test_the_page_shows_scores_and_the_worst_cases(bright_run: Run, config: DictConfig, data_root: Path) -> None:
    """Nothing else of the Run is changed."""
    before = {path: path.read_bytes() for path in bright_run.path.rglob("*") if path.is_file()}
    found = evaluate_folders(bright_run.path, data_root / "images", data_root / "masks")
    after = {path: path.read_bytes() for path in bright_run.path.rglob("*") if path.is_file()}
    assert {path: content for path, content in after.items() if not path.name.startswith("evaluate-")} == before
    assert set(after) - set(before) == {found.per_case, found.page}
    page = found.page.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<img ") == 4 * len(UNSEEN)
    assert page.count('role="img"') == 1  # the histogram
    for expected in (
        "Run run on folder",
        f"{found.dice:.3f}",
        "95 % interval",
        "4 of 6 labelled cases there are not scored",
    ):
        assert expected in page
    worst = min(read_rows(found).values(), key=lambda row: float(row["dice"]))["id"]
    assert page.index(f"error of {worst}") < page.index(f"error of {next(id for id in UNSEEN if id != worst)}")
    assert str(data_root) not in page
    assert not re.search(r"(?:src|href)=.https?:", page)


def test_one_function_for_all_that_is_scored(bright_run: Run, given: Path, data_root: Path, config: DictConfig) -> None:
    images, masks = data_root / "images", data_root / "masks"
    of_run = evaluate_dataset(bright_run.path, config.dataset)
    assert evaluate(bright_run.path, "folder", root=data_root) == of_run
    assert evaluate(str(bright_run.path), images=str(images), masks=masks) == of_run
    assert evaluate(bright_run.path, "folder", root=data_root, n_test=1).cases == 1
    of_masks = evaluate_prediction_folders(given, masks)
    assert evaluate(predictions=given, masks=masks) == of_masks
    assert evaluate(predictions=given, dataset="folder", root=data_root).dice == of_masks.dice
    faulty: list[dict[str, Any]] = [
        {},
        {"run": bright_run.path},
        {"run": bright_run.path, "images": images},
        {"run": bright_run.path, "predictions": given, "masks": masks},
        {"dataset": "folder", "root": data_root},
        {"run": bright_run.path, "images": images, "masks": masks, "n_test": 2},
    ]
    for arguments in faulty:
        with pytest.raises(UserError, match="takes a Run or predictions"):
            evaluate(**arguments)
