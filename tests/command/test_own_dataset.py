"""The dataset of the README: one YAML file in a folder of the user's own, no Python."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genseg_betty.cli import main
from genseg_betty.data.formats import read_colours, unpack
from genseg_betty.samples import PALETTE

README = Path(__file__).resolve().parents[2] / "README.md"
COLOURS = ((0, 0, 0), (255, 0, 0), (0, 0, 255))
SIDE = 48
TRAINING = [
    "backbone=unet_classic", "backbone.base_channels=4", "image_size=32", "device=cpu", "generator.base_channels=4",
    "generator.max_channels=8", "generator.discriminator.base_channels=4", "trainer.batch_size=2",
    "trainer.warmup_iterations=1", "trainer.iterations=3", "trainer.finetune_iterations=1",
]  # fmt: skip


def status_of(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    return int(caught.value.code or 0)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """The folder of configs that the README tells to write."""
    block = re.search(r"```yaml\n# my_conf/(dataset/wounds\.yaml)\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert block, "the README no longer shows a dataset of the user's own"
    file = tmp_path / "my_conf" / block[1]
    file.parent.mkdir(parents=True)
    file.write_text(block[2], encoding="utf-8")
    return tmp_path / "my_conf"


@pytest.fixture
def wounds(tmp_path: Path) -> Path:
    """Two photographs each of sixteen patients in two clinics: a red ulcer with a blue core in it."""
    random = np.random.default_rng(0)
    rows, columns = np.indices((SIDE, SIDE))
    for patient in range(16):
        for side in ("left", "right"):
            distance = np.hypot(rows - random.integers(16, 32), columns - random.integers(16, 32))
            classes = (distance < 12).astype(int) + (distance < 5)
            photo = np.array([(200, 160, 140), (190, 60, 50), (60, 40, 40)])[classes]
            photo = np.clip(photo + random.normal(0, 8, photo.shape), 0, 255).astype(np.uint8)
            name = f"P{patient:03d}_{side}"
            place = tmp_path / "wounds" / "photos" / f"clinic {'AB'[patient % 2]}" / f"{name}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo).save(place)
            mask = tmp_path / "wounds" / "labels" / f"{name}_mask.png"
            mask.parent.mkdir(exist_ok=True)
            Image.fromarray(np.array(COLOURS, np.uint8)[classes]).save(mask)
    return tmp_path / "wounds"


def test_check_and_show(conf: Path, wounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ("wounds", f"root={wounds}", "--config-dir", str(conf))
    assert status_of("data", "check", *named) == 0
    assert capsys.readouterr().out == f"wounds in {wounds}: 32 pairs\n0 errors, 0 warnings\n"
    assert status_of("data", "show", *named, "--out", str(conf / "sheet.png"), "--count", "6") == 0
    shown = np.asarray(Image.open(conf / "sheet.png"))
    for colour in PALETTE[1:3]:
        assert (shown == colour).all(axis=2).any()  # the outline of each class
    assert status_of("data", "list", "--config-dir", str(conf)) == 0
    assert re.search(r"^wounds .* not found", capsys.readouterr().out, re.M)


def test_faults_are_told_as_of_any_dataset(conf: Path, wounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = wounds / "labels" / "P003_left_mask.png"
    pixels = np.array(Image.open(mask))
    pixels[:2, :2] = (0, 200, 0)
    Image.fromarray(pixels).save(mask)
    (wounds / "labels" / "P004_left_mask.png").unlink()
    assert status_of("data", "check", "wounds", f"root={wounds}", "--config-dir", str(conf), "--json") == 1
    errors = json.loads(capsys.readouterr().out)["errors"]
    assert [(error["code"], error["file"]) for error in errors] == [
        ("missing_mask", "photos/clinic A/P004_left.jpg"),
        ("unexpected_label", "labels/P003_left_mask.png"),
    ]


def test_train_predict_and_evaluate(conf: Path, wounds: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["--config-dir", str(conf), "dataset=wounds", f"dataset.root={wounds}", f"run_dir={run}", *TRAINING]
    assert status_of(*words) == 0
    results = json.loads((run / "results.json").read_text())
    assert (results["dataset"], results["n_labelled"], results["test"]["wounds"]["cases"]) == ("wounds", 20, 10)
    parts = json.loads((run / "splits.json").read_text())
    patients = [{case[:4] for case in parts[part]} for part in ("train", "validation", "test")]
    assert sum(map(len, patients)) == len(set.union(*patients))
    assert json.loads((run / "fingerprint.json").read_text())["classes"].keys() == {"background", "ulcer", "necrosis"}
    photo = wounds / "photos" / "clinic A" / "P000_left.jpg"
    assert status_of("predict", str(run), str(photo), "--out", str(tmp_path / "masks")) == 0
    found = read_colours(tmp_path / "masks" / "P000_left.png")
    assert found.shape == (SIDE, SIDE)
    assert {unpack(value) for value in np.unique(found)} <= set(COLOURS)
    again = ("evaluate", str(run), "--dataset", "wounds", f"root={wounds}", "--config-dir", str(conf))
    assert status_of(*again) == 0
