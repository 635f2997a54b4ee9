"""`genseg generate --format nnunet`: two data sets; synthetic pairs are in one of them, and trained on alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from genseg_betty.inference import generate
from genseg_betty.run import Run

REAL, MIXED = "Dataset001_Real", "Dataset002_RealAndSynthetic"
TRAIN = ["real_train_0000", "real_train_0001", "real_train_0002"]
SYNTHETIC = ["synthetic_0000", "synthetic_0001"]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nnunet_validates_on_real_pairs_and_plans_by_them_alone(run: Run, tmp_path: Path) -> None:
    out = generate(run.path, 2, tmp_path / "out", format="nnunet").out
    validation = ["real_validation_0000"]
    for name, train in ((REAL, TRAIN), (MIXED, [*TRAIN, *SYNTHETIC])):
        cases = sorted([*train, *validation])
        folder = out / "nnUNet_raw" / name
        assert names(folder / "imagesTr") == [f"{case}_0000.png" for case in cases]
        assert names(folder / "labelsTr") == [f"{case}.png" for case in cases]
        assert read_json(folder / "dataset.json") == {
            "channel_names": {"0": "gray"},
            "labels": {"background": 0, "foreground": 1},
            "numTraining": len(cases),
            "file_ending": ".png",
        }
        assert read_json(out / "nnUNet_preprocessed" / name / "splits_final.json") == [
            {"train": train, "val": validation}
        ]
    commands = (out / "README.md").read_text(encoding="utf-8")
    assert "nnUNetv2_move_plans_between_datasets -s 1 -t 2" in commands
    assert f"`{REAL}` holds the 4 real pairs" in commands


def test_nnunet_gets_the_pairs_that_a_folder_gets(run: Run, data_root: Path, tmp_path: Path) -> None:
    """Real files of the size trained at come out as they are; labels are 0 and 1 where the files hold 0 and 255."""
    folder = generate(run.path, 2, tmp_path / "folder").out
    out = generate(run.path, 2, tmp_path / "out", format="nnunet").out / "nnUNet_raw" / MIXED
    pairs = {f"synthetic_000{index}": (folder, f"000{index}") for index in (0, 1)}
    pairs |= dict(zip(TRAIN, [(data_root, f"case_{index}") for index in (0, 3, 4)], strict=True))
    for case, (root, stem) in pairs.items():
        image = np.asarray(Image.open(out / "imagesTr" / f"{case}_0000.png"))
        np.testing.assert_array_equal(image, np.asarray(Image.open(root / "images" / f"{stem}.png")))
        label = Image.open(out / "labelsTr" / f"{case}.png")
        assert label.mode == "L"
        np.testing.assert_array_equal(np.asarray(label) * 255, np.asarray(Image.open(root / "masks" / f"{stem}.png")))
