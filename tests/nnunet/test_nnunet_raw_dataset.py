"""What nnU-Net is given: kinds of files, channels, spacing, names; each read back by another library."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image

from genseg_betty.nnunet.raw_dataset import (
    FileForm,
    RawDataset,
    choose_form,
    find_kind,
    fit_kind,
    name_cases,
    name_labels,
)

U8, U16, F32 = (np.dtype(kind) for kind in (np.uint8, np.uint16, np.float32))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.0, 255.0], U8),
        ([0.0, 256.0], U16),
        ([0.0, 65535.0], U16),
        ([0.0, 65536.0], F32),
        ([-1.0, 3.0], F32),
        ([0.0, 0.5], F32),
    ],
)
def test_the_smallest_kind_holds_every_value(values: list[float], kind: np.dtype) -> None:
    assert find_kind(np.array(values, dtype=np.float32)) == kind


def test_values_that_do_not_fit_are_rounded_and_cut() -> None:
    found = fit_kind(np.array([-3.0, 0.4, 0.6, 254.6, 300.0]), U8)
    assert (found.dtype, found.tolist()) == (U8, [0, 0, 1, 255, 255])


@pytest.mark.parametrize(
    ("kinds", "channels", "dims", "modality", "expected"),
    [
        ([U8, U8], 1, 2, "x-ray", FileForm(".png", U8, ("gray",))),
        ([U8], 3, 2, "photograph", FileForm(".png", U8, ("R", "G", "B"))),
        ([U8, U16], 1, 2, "ct", FileForm(".png", U16, ("gray",))),
        ([U16], 3, 2, "", FileForm(".tif", U16, ("R", "G", "B"))),  # no PNG writer of ours has 16 bits in colour
        ([U8, F32], 1, 2, "", FileForm(".tif", F32, ("gray",))),
        ([U8], 1, 3, "CT", FileForm(".nii.gz", F32, ("CT",))),  # by this name nnU-Net knows Hounsfield units
        ([U8], 1, 3, "mri", FileForm(".nii.gz", F32, ("gray",))),
    ],
)
def test_one_form_holds_all_images(
    kinds: list[np.dtype], channels: int, dims: int, modality: str, expected: FileForm
) -> None:
    assert choose_form(kinds, channels, dims, modality) == expected


def raw_dataset(root: Path, form: FileForm, classes: tuple[str, ...] = ("background", "a", "b")) -> RawDataset:
    return RawDataset(root, "Dataset007_Test", form, classes)


@pytest.mark.parametrize(
    "form",
    [FileForm(".png", U8, ("R", "G", "B")), FileForm(".tif", U16, ("R", "G", "B")), FileForm(".tif", F32, ("gray",))],
)
def test_a_picture_is_one_file(tmp_path: Path, form: FileForm) -> None:
    image = np.arange(2 * 3 * len(form.channels)).reshape(2, 3, -1).astype(np.float32)
    labels = np.array([[0, 1, 2], [2, 1, 0]])
    raw_dataset(tmp_path, form).write_pair("x", image, labels)
    folder = tmp_path / "nnUNet_raw" / "Dataset007_Test"
    read = tifffile.imread if form.ending == ".tif" else lambda path: np.asarray(Image.open(path))
    found = read(folder / "imagesTr" / f"x_0000{form.ending}")
    assert found.dtype == form.kind
    np.testing.assert_array_equal(found, image.squeeze(-1) if len(form.channels) == 1 else image)
    stored = read(folder / "labelsTr" / f"x{form.ending}")
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, labels)


def test_a_volume_is_a_file_for_each_channel_with_its_spacing(tmp_path: Path) -> None:
    """SimpleITK, nnU-Net's own reader, has the array [D, H, W] and the spacing x, y, z."""
    form = FileForm(".nii.gz", F32, ("R", "G", "B"))
    image = np.random.default_rng(0).normal(size=(4, 5, 6, 3)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 3, (4, 5, 6))
    raw_dataset(tmp_path, form).write_pair("v", image, labels, spacing=(2.5, 1.0, 0.5))
    folder = tmp_path / "nnUNet_raw" / "Dataset007_Test"
    for channel in range(3):
        found = SimpleITK.ReadImage(folder / "imagesTr" / f"v_000{channel}.nii.gz")
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(found), image[..., channel])
        assert found.GetSpacing() == pytest.approx((0.5, 1.0, 2.5))
    stored = SimpleITK.ReadImage(folder / "labelsTr" / "v.nii.gz")
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(stored), labels)
    assert stored.GetSpacing() == pytest.approx((0.5, 1.0, 2.5))
    affine = nibabel.load(folder / "labelsTr" / "v.nii.gz").affine
    np.testing.assert_allclose(affine, nibabel.load(folder / "imagesTr" / "v_0000.nii.gz").affine)


def test_the_description_and_the_fold(tmp_path: Path) -> None:
    dataset = raw_dataset(tmp_path, FileForm(".png", U8, ("R", "G", "B")))
    dataset.describe_cases(["x", "y", "z"])
    dataset.write_split(["x", "z"], ["y"])
    described = json.loads((tmp_path / "nnUNet_raw" / "Dataset007_Test" / "dataset.json").read_text())
    assert described == {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "a": 1, "b": 2},
        "numTraining": 3,
        "file_ending": ".png",
    }
    split = json.loads((tmp_path / "nnUNet_preprocessed" / "Dataset007_Test" / "splits_final.json").read_text())
    assert split == [{"train": ["x", "z"], "val": ["y"]}]


def test_labels_are_consecutive_and_none_is_taken_for_nnunets_own() -> None:
    assert name_labels(["skin", "background", "ignore", "lesion"]) == [
        "background",
        "background_1",
        "ignore_2",
        "lesion",
    ]


def test_names_of_cases_are_plain_and_apart() -> None:
    ids = [("folder", "a b"), ("folder", "a/b"), ("folder", "A_B"), ("other", "a b")]
    assert list(name_cases(ids).values()) == ["folder-a_b", "folder-a_b-2", "folder-A_B-3", "other-a_b"]
