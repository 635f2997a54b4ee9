"""Scores against a plain computation, and which cases may be scored at all."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from torch import nn

from genseg_betty.config import load_dataset_config
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.data.splits import fingerprints
from genseg_betty.errors import UserError
from genseg_betty.inference import (
    Predictor,
    evaluate_dataset,
    evaluate_folders,
    score_cases,
)
from genseg_betty.run import Run

UNSEEN = ["case_2", "case_5"]


def expected_scores(root: Path, case: str) -> tuple[float, float]:
    """Dice and Jaccard of "brighter than 127.5", pixel by pixel on sets."""
    image, mask = (np.asarray(Image.open(root / folder / f"{case}.png")) for folder in ("images", "masks"))
    found = {tuple(pixel) for pixel in np.argwhere(image > 127)}
    truth = {tuple(pixel) for pixel in np.argwhere(mask == 255)}
    both = len(found & truth)
    return 2 * both / (len(found) + len(truth)), both / len(found | truth)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def mean(values: list[float]) -> float:
    return float(np.mean(values))


@pytest.fixture
def recorded_run(bright_run: Run, config: DictConfig) -> Run:
    """A Run that also recorded what its training images looked like."""
    dataset = open_dataset(config.dataset)
    splits = bright_run.read_json("splits.json")
    seen = [case for case in dataset.cases if case.id in {*splits["train"], *splits["validation"]}]
    bright_run.write_json("splits.json", {**splits, "sha256": fingerprints(dataset, seen)})
    return bright_run


def test_scores_of_the_cases_not_trained_on(bright_run: Run, config: DictConfig, data_root: Path) -> None:
    bright_run.write_json("results.json", {"test": {"folder": {"dice": 0.5}}})
    before = (bright_run.path / "results.json").read_bytes()
    evaluation = evaluate_dataset(bright_run.path, config.dataset)
    scores = [expected_scores(data_root, case) for case in UNSEEN]
    assert (evaluation.dataset, evaluation.cases) == ("folder", 2)
    assert evaluation.dice == pytest.approx(mean([dice for dice, _ in scores]))
    assert evaluation.jaccard == pytest.approx(mean([jaccard for _, jaccard in scores]))
    rows = rows_of(evaluation.per_case)
    assert [row["id"] for row in rows] == UNSEEN
    for row, (dice, jaccard) in zip(rows, scores, strict=True):
        assert float(row["dice"]) == pytest.approx(dice)
        assert float(row["jaccard"]) == pytest.approx(jaccard)
    assert evaluation.per_case.parent == bright_run.path
    assert (bright_run.path / "results.json").read_bytes() == before
    printed = json.loads(json.dumps(evaluation.to_dict()))
    assert list(printed)[:5] == ["dataset", "cases", "dice", "jaccard", "per_case"]
    for score in ("precision", "recall", "hd95", "assd", "surface_dice"):
        assert printed[score] == pytest.approx(mean([float(row[score]) for row in rows]))
    assert (printed["distance_unit"], printed["surface_tolerance"], printed["undefined_distances"]) == ("px", 1, 0)


def test_a_case_that_is_missed_has_no_distance(bright_run: Run, config: DictConfig, data_root: Path) -> None:
    """Its cells are empty, it is left out of the mean, and counted."""
    path = data_root / "masks" / f"{UNSEEN[0]}.png"
    Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)
    evaluation = evaluate_dataset(bright_run.path, config.dataset)
    missed, other = rows_of(evaluation.per_case)
    assert (missed["hd95"], missed["assd"], missed["recall"], missed["surface_dice"]) == ("", "", "0.0", "0.0")
    assert evaluation.hd95 == float(other["hd95"])
    assert evaluation.undefined_distances == 1
    assert evaluation.precision == float(other["precision"]) / 2


def test_masks_are_scored_at_their_own_resolution(
    bright_run: Run, config: DictConfig, data_root: Path, tmp_path: Path
) -> None:
    root = tmp_path / "large"
    shutil.copytree(data_root, root)
    for path in root.glob("*/*.png"):
        with Image.open(path) as image:
            enlarged = image.resize((3 * 48, 3 * 40), Image.Resampling.NEAREST)
        enlarged.save(path)
    large = evaluate_dataset(bright_run.path, load_dataset_config("folder", root=root))
    scores = [expected_scores(data_root, f"case_{index}") for index in range(6)]
    assert large.cases == 6
    assert large.dice == pytest.approx(mean([dice for dice, _ in scores]), abs=0.02)


def test_images_of_another_depth_are_scored_in_the_units_trained_on(
    bright_run: Run, data_root: Path, tmp_path: Path
) -> None:
    """Sixteen-bit copies score as the 8-bit ones do where their range is declared, and are refused where it is not."""
    root = tmp_path / "deep"
    shutil.copytree(data_root, root)
    for path in (root / "images").iterdir():
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 16 + 100).save(path)
    with pytest.raises(UserError, match="folder cannot be scored: its intensities are of more than 8 bits"):
        evaluate_dataset(bright_run.path, load_dataset_config("folder", root=root))
    config = load_dataset_config("folder", root=root, overrides=["range=[100, 4180]"])
    scores = [expected_scores(data_root, f"case_{index}") for index in range(6)]
    assert evaluate_dataset(bright_run.path, config).dice == pytest.approx(mean([dice for dice, _ in scores]))


def test_no_image_of_a_learned_group_is_scored(bright_run: Run, data_root: Path) -> None:
    for path in data_root.glob("*/case_[25].png"):
        shutil.copy(path, path.with_name(f"other_{path.stem[-1]}.png"))
    config = load_dataset_config("folder", root=data_root, overrides=["group='(case|other)_'"])
    evaluation = evaluate_dataset(bright_run.path, config)
    assert [row["id"] for row in rows_of(evaluation.per_case)] == ["other_2", "other_5"]


def test_copies_of_the_training_images_are_known_by_content(recorded_run: Run, data_root: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(data_root, copied)
    for folder in ("images", "masks"):
        (copied / folder / "case_0.png").rename(copied / folder / "renamed.png")
    evaluation = evaluate_dataset(recorded_run.path, load_dataset_config("folder", root=copied))
    assert [row["id"] for row in rows_of(evaluation.per_case)] == UNSEEN


def test_equal_names_in_another_folder_are_other_cases(recorded_run: Run, data_root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(data_root, other)
    for path in (other / "images").glob("*.png"):
        with Image.open(path) as image:
            brighter = image.point(lambda value: min(255, value + 1))
        brighter.save(path)
    config = load_dataset_config("folder", root=other)
    assert evaluate_dataset(recorded_run.path, config).cases == 6
    config.n_test = 3
    assert evaluate_dataset(recorded_run.path, config).cases == 3


def test_a_published_dataset_is_the_same_wherever_it_lies(
    bright_run: Run, config: DictConfig, data_root: Path, tmp_path: Path
) -> None:
    splits = bright_run.read_json("splits.json")
    bright_run.write_json("splits.json", {**splits, "dataset": "nlm_mc"})
    shutil.copytree(data_root, tmp_path / "moved")
    config.dataset.name, config.dataset.root = "nlm_mc", str(tmp_path / "moved")
    evaluation = evaluate_dataset(bright_run.path, config.dataset)
    assert evaluation.cases == 2
    assert evaluation.per_case.name == "evaluate-nlm_mc.csv"


def test_two_folders_are_scored_like_a_dataset_and_kept_apart(
    bright_run: Run, config: DictConfig, data_root: Path, tmp_path: Path
) -> None:
    same = evaluate_folders(bright_run.path, data_root / "images", data_root / "masks")
    assert same == evaluate_dataset(bright_run.path, config.dataset)
    shutil.copytree(data_root / "images", tmp_path / "one" / "pictures [x]")
    shutil.copytree(data_root / "masks", tmp_path / "two" / "truth")
    apart = evaluate_folders(bright_run.path, tmp_path / "one" / "pictures [x]", tmp_path / "two" / "truth")
    assert apart.cases == 6
    assert apart.per_case != same.per_case
    assert same.per_case.exists()
    with pytest.raises(UserError, match="nowhere"):
        evaluate_folders(bright_run.path, data_root / "images", data_root / "nowhere")


def test_folders_are_read_with_the_labels_trained_on(
    bright_run: Run, config: DictConfig, make_run: Callable[..., Run], data_root: Path, tmp_path: Path
) -> None:
    config.dataset.labels = {"background": 7, "lesion": 9}
    state = bright_run.load_checkpoint("predictor")
    run = make_run("labelled", states={"predictor": state})
    for path in (data_root / "masks").glob("*.png"):
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask == 255, 9, 7).astype(np.uint8)).save(path)
    shutil.copytree(data_root, tmp_path / "other")
    assert evaluate_folders(run.path, tmp_path / "other" / "images", tmp_path / "other" / "masks").cases == 6


def test_nothing_left_to_score(bright_run: Run, config: DictConfig) -> None:
    splits = bright_run.read_json("splits.json")
    everything = {**splits, "train": [f"case_{index}" for index in range(6)]}
    bright_run.write_json("splits.json", everything)
    with pytest.raises(UserError, match="all 6 labelled cases"):
        evaluate_dataset(bright_run.path, config.dataset)


def test_all_unreadable_cases_are_told(bright: Predictor, config: DictConfig, data_root: Path) -> None:
    dataset = open_dataset(config.dataset)
    (data_root / "images" / "case_1.png").write_text("no image")
    (data_root / "masks" / "case_4.png").write_text("no mask")
    with pytest.raises(UserError) as caught:
        score_cases(bright, dataset, dataset.cases)
    assert "2 of 6 cases" in str(caught.value)
    assert "case_1.png" in str(caught.value)
    assert "case_4.png" in str(caught.value)
    with pytest.raises(UserError, match="no labelled case"):
        score_cases(bright, dataset, [])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ({"background": 0, "ulcer": 255, "scar": 3}, ("background", "foreground")),
        (None, ("background", "scar", "ulcer")),
        ({"background": 0, "scar": 255, "ulcer": 3}, ("background", "scar", "ulcer")),
    ],
    ids=["too many", "too few", "other order"],
)
def test_classes_must_agree(
    bright: Predictor,
    config: DictConfig,
    preprocessing: Preprocessing,
    labels: dict[str, int] | None,
    classes: tuple[str, ...],
) -> None:
    config.dataset.labels = labels
    dataset = open_dataset(config.dataset)
    bright.preprocessing = replace(preprocessing, classes=classes, label_values=tuple(range(len(classes))))
    with pytest.raises(UserError, match=r"has the classes .* trained on .*dataset\.labels"):
        score_cases(bright, dataset, dataset.cases)


def test_several_classes_have_columns_of_their_own(
    config: DictConfig, preprocessing: Preprocessing, data_root: Path
) -> None:
    network = nn.Conv2d(1, 3, 1)  # background below -0.2, scar up to 0.4, ulcer above
    with torch.no_grad():
        network.weight.copy_(torch.tensor([0.0, 10.0, 20.0]).view(3, 1, 1, 1))
        network.bias.copy_(torch.tensor([0.0, 2.0, -2.0]))
    classes = ("background", "scar", "ulcer")
    predictor = Predictor(network, replace(preprocessing, classes=classes, label_values=(0, 1, 2)))
    config.dataset.labels = {"background": 0, "scar": 128, "ulcer": 255}
    dataset = open_dataset(config.dataset)
    rows, summary = score_cases(predictor, dataset, dataset.cases[:2])
    assert list(rows[0])[:9] == [
        "id", "dice", "jaccard", "precision", "recall", "hd95", "assd", "surface_dice", "distance_unit",
    ]  # fmt: skip
    assert list(rows[0])[9:13] == ["dice_scar", "dice_ulcer", "jaccard_scar", "jaccard_ulcer"]
    for row in rows:
        image, mask = (
            np.asarray(Image.open(data_root / folder / f"{row['id']}.png")) for folder in ("images", "masks")
        )
        found, truth = image / 127.5 - 1 > 0.4, mask == 255
        assert row["dice_ulcer"] == pytest.approx(2 * (found & truth).sum() / (found.sum() + truth.sum()))
        assert row["dice_scar"] == 0  # there is no scar in the truth, but bright noise in the prediction
        assert row["dice"] == pytest.approx(row["dice_ulcer"] / 2)
    assert list(summary)[:3] == ["dice", "jaccard", "cases"]
    assert summary["dice"] == pytest.approx(mean([row["dice"] for row in rows]))
    assert summary["jaccard"] == pytest.approx(mean([row["jaccard"] for row in rows]))
    assert (summary["cases"], summary["undefined_distances"]) == (2, 2)
    assert summary["classes"]["ulcer"]["dice"] == pytest.approx(mean([row["dice_ulcer"] for row in rows]))


def test_progress_stays_off_standard_output(
    bright_run: Run, config: DictConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_dataset(bright_run.path, config.dataset)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "score folder" in printed.err


def test_phantoms_are_known_by_their_pixels(bright_run: Run) -> None:
    pytest.importorskip("genseg_betty.data.phantom")
    keys: dict[str, Any] = {"name": "phantom", "reader": "phantom", "kind": "lung", "domain": "source"}
    config = DictConfig({**keys, "size": 48, "count": 4, "seed": 0, "metric": "dice", "n_test": None})
    dataset = open_dataset(config)
    splits = bright_run.read_json("splits.json")
    seen = fingerprints(dataset, dataset.cases[:1])
    bright_run.write_json("splits.json", {**splits, "train": [*seen], "sha256": seen})
    rows = rows_of(evaluate_dataset(bright_run.path, config).per_case)
    assert [row["id"] for row in rows] == [case.id for case in dataset.cases[1:]]
