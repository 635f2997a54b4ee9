"""The same images as every other method, as nnU-Net takes them; and its masks, scored as those of others."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image

from genseg_betty.config import compose
from genseg_betty.data.loading import DataBundle, load_data
from genseg_betty.errors import UserError
from genseg_betty.inference.scoring import score_cases
from genseg_betty.nnunet.export import ExportedCases, export_cases
from genseg_betty.nnunet.predicted_masks import PredictedMasks
from nnunet.pairs import SIDE, write_pictures, write_volumes


def load(root: Path, *more: str) -> DataBundle:
    return load_data(compose(["dataset=folder", f"dataset.root={root}", "dataset.n_labelled=5", *more]))


def read_picture(path: Path) -> np.ndarray:
    return tifffile.imread(path) if path.suffix == ".tif" else np.asarray(Image.open(path))


def described(exported: ExportedCases) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((exported.dataset.folder / "dataset.json").read_text(encoding="utf-8"))
    return found


CHANNELS = {"0": "R", "1": "G", "2": "B"}


@pytest.mark.parametrize(
    ("kind", "ending", "channels"),
    [
        ("gray", ".png", {"0": "gray"}),
        ("rgb", ".png", CHANNELS),
        ("rgba", ".png", CHANNELS),  # without alpha, which nnU-Net would take for a fourth channel
        ("sixteen", ".png", {"0": "gray"}),
        ("float", ".tif", {"0": "gray"}),
    ],
)
def test_pictures_keep_their_values_and_size(kind: str, ending: str, channels: dict, tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", 8, kind)
    data = load(tmp_path / "data")
    exported = export_cases(data, tmp_path, "", resize=False)
    splits = data.splits
    for part, ids in (("imagesTr", [*splits.train, *splits.validation]), ("imagesTs", splits.test)):
        written = {path.name for path in (exported.dataset.folder / part).iterdir()}
        assert written == {f"folder-{id.replace(' ', '_')}_0000{ending}" for id in ids}
        for id in ids:
            found = read_picture(exported.dataset.folder / part / f"folder-{id.replace(' ', '_')}_0000{ending}")
            stored = read_picture(tmp_path / "data" / "images" / f"{id}{'.tif' if kind == 'float' else '.png'}")
            np.testing.assert_array_equal(found, stored[..., :3] if kind == "rgba" else stored)
    for id in [*splits.train, *splits.validation]:
        label = read_picture(exported.dataset.folder / "labelsTr" / f"folder-{id.replace(' ', '_')}{ending}")
        stored = np.asarray(Image.open(tmp_path / "data" / "masks" / f"{id}.png"))
        np.testing.assert_array_equal(label, stored // 255)
    assert len(list((exported.dataset.folder / "labelsTr").iterdir())) == 5
    assert described(exported) == {
        "channel_names": channels,
        "labels": {"background": 0, "foreground": 1},
        "numTraining": 5,
        "file_ending": ending,
    }


def test_several_classes_are_numbered_one_after_the_other(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", 8, "gray", values=(0, 90, 200))
    data = load(tmp_path / "data", "dataset.labels={skin: 0, ulcer: 90, necrosis: 200}")
    exported = export_cases(data, tmp_path, "", resize=False)
    assert described(exported)["labels"] == {"background": 0, "ulcer": 1, "necrosis": 2}
    labels = [read_picture(path) for path in (exported.dataset.folder / "labelsTr").iterdir()]
    assert set(np.unique(labels)) == {0, 1, 2}


def test_the_fold_is_the_split_of_every_other_method(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", 12)
    data = load(tmp_path / "data", "seed=3")
    exported = export_cases(data, tmp_path, "", resize=False)
    file = tmp_path / "nnUNet_preprocessed" / "Dataset001_folder" / "splits_final.json"
    train, validation = (
        [f"folder-{id.replace(' ', '_')}" for id in ids] for ids in (data.train.ids, data.validation.ids)
    )
    assert json.loads(file.read_text(encoding="utf-8")) == [{"train": train, "val": validation}]
    assert (exported.train, exported.validation, len(exported.test)) == (train, validation, len(data.splits.test))


def test_volumes_keep_voxels_and_spacing(tmp_path: Path) -> None:
    write_volumes(tmp_path / "data", 8, (0.7, 0.8, 2.0))
    data = load(tmp_path / "data")
    exported = export_cases(data, tmp_path, "mri", resize=False)
    assert described(exported)["channel_names"] == {"0": "gray"}
    for name in exported.train:
        image = SimpleITK.ReadImage(exported.dataset.folder / "imagesTr" / f"{name}_0000.nii.gz")
        label = SimpleITK.ReadImage(exported.dataset.folder / "labelsTr" / f"{name}.nii.gz")
        assert image.GetSpacing() == pytest.approx((0.7, 0.8, 2.0))
        assert label.GetSpacing() == pytest.approx((0.7, 0.8, 2.0))
        stored = nibabel.load(tmp_path / "data" / "images" / f"{name.removeprefix('folder-')}.nii.gz")
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), np.asarray(stored.dataobj).T)


@pytest.mark.parametrize("resize", [False, True])
def test_resized_images_are_of_the_size_that_others_see(tmp_path: Path, resize: bool) -> None:
    write_pictures(tmp_path / "data", 8)
    data = load(tmp_path / "data", "image_size=32")
    exported = export_cases(data, tmp_path, "", resize)
    side = 32 if resize else SIDE
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        for path in (exported.dataset.folder / part).iterdir():
            assert read_picture(path).shape == (side, side)
    # The masks are those that other methods learn from.
    if resize:
        for id, mask in zip(data.train.ids, data.train.masks, strict=True):
            label = read_picture(exported.dataset.folder / "labelsTr" / f"folder-{id.replace(' ', '_')}.png")
            np.testing.assert_array_equal(label, mask.numpy())


def write_predictions(data: DataBundle, exported: ExportedCases, folder: Path, masks: dict[str, np.ndarray]) -> None:
    folder.mkdir()
    for name in exported.test:
        Image.fromarray(masks[name].astype(np.uint8)).save(folder / f"{name}.png")


@pytest.mark.parametrize("classes", [2, 3])
def test_masks_are_scored_at_the_size_of_the_files(tmp_path: Path, classes: int) -> None:
    """A mask that is the truth scores 1 and an empty one 0; one that was predicted at half the size nearly 1."""
    labels = {"a": 0, "b": 90, "c": 200}
    chosen = dict(list(labels.items())[:classes])
    write_pictures(tmp_path / "data", 8, values=tuple(chosen.values()))
    declared = ", ".join(f"{name}: {value}" for name, value in chosen.items())
    data = load(tmp_path / "data", f"dataset.labels={{{declared}}}", f"image_size={SIDE * 2}")
    dataset, cases = data.test["folder"]
    truths = {f"folder-{case.id.replace(' ', '_')}": dataset.load(case).mask for case in cases}
    variants = {
        "truth": (truths, 1.0, 1.0),
        "empty": ({name: mask * 0 for name, mask in truths.items()}, 0.0, 0.0),
        "doubled": ({name: mask.repeat(2, 0).repeat(2, 1) for name, mask in truths.items()}, 0.97, 1.0),
    }
    exported = export_cases(data, tmp_path, "", resize=False)
    for variant, (masks, least, most) in variants.items():
        write_predictions(data, exported, tmp_path / variant, masks)
        files = {key: tmp_path / variant / f"{name}.png" for key, name in exported.keys.items()}
        rows, summary = score_cases(PredictedMasks(data.preprocessing, files), dataset, cases)
        assert least <= summary["dice"] <= most
        assert [row["id"] for row in rows] == [case.id for case in cases]


def test_masks_of_volumes_are_turned_back(tmp_path: Path) -> None:
    """One test volume is stored in another orientation than the training volumes: nnU-Net sees all alike."""
    write_volumes(tmp_path / "data", 8, (0.7, 0.8, 2.0))
    data = load(tmp_path / "data")
    turned = data.splits.test[0]
    for folder in ("images", "masks"):
        path = tmp_path / "data" / folder / f"{turned}.nii.gz"
        stored = nibabel.load(path)
        array = np.asarray(stored.dataobj)[::-1]
        nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array), np.diag([0.7, 0.8, 2.0, 1.0])), path)
    data = load(tmp_path / "data")
    assert turned in data.splits.test
    exported = export_cases(data, tmp_path, "", resize=False)

    # A prediction of nnU-Net on the voxels of what it was given: the bright ball.
    files = {}
    for key, name in exported.keys.items():
        if name in exported.test:
            image = nibabel.load(exported.dataset.folder / "imagesTs" / f"{name}_0000.nii.gz")
            files[key] = tmp_path / f"{name}.nii.gz"
            ball = (np.asarray(image.dataobj) > 100).astype(np.uint8)
            nibabel.save(nibabel.Nifti1Image(ball, image.affine), files[key])
    dataset, cases = data.test["folder"]
    _, summary = score_cases(PredictedMasks(data.preprocessing, files), dataset, cases)
    assert summary["dice"] == 1.0


def test_an_image_that_was_not_predicted_is_told(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", 8)
    data = load(tmp_path / "data")
    with pytest.raises(UserError, match="validation and test images alone"):
        PredictedMasks(data.preprocessing, {})(np.zeros((SIDE, SIDE, 1), np.float32))
