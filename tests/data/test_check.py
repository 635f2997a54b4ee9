"""The dataset check: every fault under its code and file, and nothing said about sound data."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genseg_betty.data.cases import open_dataset
from genseg_betty.data.inspect import check
from genseg_betty.data.inspect.check import check_dataset, faults_before_training
from genseg_betty.errors import UserError


def mask_of(folder: Path, name: str = "case00") -> np.ndarray:
    return np.asarray(Image.open(folder / "masks" / f"{name}.png"))


def save(folder: Path, array: np.ndarray, name: str = "case00", part: str = "masks") -> None:
    Image.fromarray(array).save(folder / part / f"{name}.png")


def truncate(folder: Path) -> None:
    path = folder / "images" / "case00.png"
    path.write_bytes(path.read_bytes()[:300])


def one_pixel(folder: Path) -> None:
    save(folder, np.pad(np.full((1, 1), 255, np.uint8), (40, 40)))
    save(folder, np.zeros((81, 81), np.uint8), part="images")


def as_jpeg(folder: Path) -> None:
    Image.open(folder / "masks" / "case00.png").save(folder / "masks" / "case00.jpg")
    (folder / "masks" / "case00.png").unlink()


FAULTS: dict[str, tuple[str, str, Callable[[Path], None]]] = {
    "text as image": ("unreadable", "images/case00.png", lambda f: (f / "images/case00.png").write_text("x")),
    "empty mask file": (
        "unreadable",
        "masks/case00.png",
        lambda f: (f / "masks/case00.png").write_bytes(b""),
    ),
    "truncated": ("unreadable", "images/case00.png", truncate),
    "no mask": ("missing_mask", "images/case00.png", lambda f: (f / "masks/case00.png").unlink()),
    "no image": ("missing_image", "masks/case00.png", lambda f: (f / "images/case00.png").unlink()),
    "cropped": ("size_mismatch", "masks/case00.png", lambda f: save(f, mask_of(f)[:, :-1])),
    "third label": (
        "unexpected_label",
        "masks/case00.png",
        lambda f: save(f, np.where(mask_of(f), 2, 0).astype(np.uint8)),
    ),
    "colours": (
        "unexpected_label",
        "masks/case00.png",
        lambda f: save(f, np.stack([mask_of(f)] * 2 + [255 - mask_of(f)], 2)),
    ),
    "photograph": (
        "unexpected_label",
        "masks/case00.png",
        lambda f: shutil.copy(f / "images/case00.png", f / "masks/case00.png"),
    ),
    "link": (
        "unsafe",
        "masks/case00.png",
        lambda f: ((f / "masks/case00.png").unlink(), (f / "masks/case00.png").symlink_to("/etc/hostname")),
    ),
}
WARNINGS: dict[str, tuple[str, str, Callable[[Path], None]]] = {
    "empty": ("empty_mask", "masks/case00.png", lambda f: save(f, mask_of(f) * 0)),
    "jpeg": ("lossy_mask", "masks/case00.jpg", as_jpeg),
    "copy": (
        "duplicate",
        "images/case01.png",
        lambda f: shutil.copy(f / "images/case00.png", f / "images/case01.png"),
    ),
    "one pixel": ("tiny_foreground", "masks/case00.png", one_pixel),
}


@pytest.mark.parametrize("name", FAULTS)
def test_errors(folder: Path, dataset_yaml, name: str) -> None:
    code, file, spoil = FAULTS[name]
    spoil(folder)
    report = check_dataset(dataset_yaml("folder", root=str(folder)))
    found = [(finding.code, finding.file) for finding in report.errors]
    assert (code, file) in found
    assert set(found) <= {
        (code, file),
        ("missing_mask", "images/case00.png"),
    }  # an unsafe mask is also no mask
    assert (report.pairs, report.warnings) == (19, [])


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings(folder: Path, dataset_yaml, name: str) -> None:
    code, file, spoil = WARNINGS[name]
    spoil(folder)
    report = check_dataset(dataset_yaml("folder", root=str(folder)))
    assert [(finding.code, finding.file) for finding in report.warnings] == [(code, file)]
    assert (report.pairs, report.errors) == (20, [])


def test_all_faults_come_in_one_report(folder: Path, dataset_yaml) -> None:
    (folder / "images" / "case01.png").write_text("x")
    (folder / "masks" / "case02.png").unlink()
    (folder / "images" / "case03.png").unlink()
    save(folder, mask_of(folder)[:-1], "case04")
    save(folder, np.full((40, 40), 9, np.uint8), "case05")
    save(folder, np.full((30, 30), 9, np.uint8), "case06")
    report = check_dataset(dataset_yaml("folder", root=str(folder), n_labelled=14))
    assert Counter(finding.code for finding in report.errors) == {
        "unreadable": 1,
        "missing_mask": 1,
        "missing_image": 1,
        "size_mismatch": 2,
        "unexpected_label": 2,
        "too_few": 1,
    }
    assert report.pairs == 14
    assert all(len(finding.message) > 20 for finding in report.errors)


def test_sound_data_is_not_faulted_and_the_report_is_json(folder: Path, dataset_yaml) -> None:
    report = check_dataset(dataset_yaml("folder", root=str(folder)))
    assert json.loads(json.dumps(report.to_dict())) == {
        "dataset": "folder",
        "root": str(folder),
        "pairs": 20,
        "errors": [],
        "warnings": [],
    }


def test_the_fault_is_a_plain_object(folder: Path, dataset_yaml) -> None:
    (folder / "masks" / "case02.png").unlink()
    (error,) = check_dataset(dataset_yaml("folder", root=str(folder))).to_dict()["errors"]
    assert error == {
        "code": "missing_mask",
        "file": "images/case02.png",
        "message": "has no mask; expected masks/case02.* or masks/case02_mask.* or "
        "masks/case02_segmentation.*. Add it or remove the image",
    }


@pytest.mark.parametrize(("n_labelled", "few"), [(None, False), (14, False), (15, True)])
def test_too_few_for_what_is_asked(folder: Path, dataset_yaml, n_labelled: int | None, few: bool) -> None:
    report = check_dataset(dataset_yaml("folder", root=str(folder), n_labelled=n_labelled))
    assert [finding.code for finding in report.errors] == ["too_few"] * few


def test_an_empty_folder_is_too_few_and_no_folder_a_user_error(tmp_path: Path, dataset_yaml) -> None:
    report = check_dataset(dataset_yaml("folder", root=str(tmp_path)))
    assert [finding.code for finding in report.errors] == ["too_few"]
    with pytest.raises(UserError, match="no folder at"):
        check_dataset(dataset_yaml("folder", root=str(tmp_path / "absent")))


def test_declared_labels_are_the_only_ones(folder: Path, dataset_yaml) -> None:
    keys = {"root": str(folder), "labels": {"background": 0, "ulcer": 255}}
    assert check_dataset(dataset_yaml("folder", **keys)).errors == []
    save(folder, (mask_of(folder) // 255).astype(np.uint8))
    (error,) = check_dataset(dataset_yaml("folder", **keys)).errors
    assert (error.code, error.file) == ("unexpected_label", "masks/case00.png")
    assert "holds the values 1; expected 0, 255" in error.message


def test_too_large(folder: Path, dataset_yaml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1600)
    save(folder, np.zeros((60, 60), np.uint8), part="images")
    codes = [finding.code for finding in check_dataset(dataset_yaml("folder", root=str(folder))).errors]
    assert codes == ["too_large"]


def test_a_large_dataset_is_read_in_part_before_training(
    folder: Path, dataset_yaml, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers always; pixels of everything while that is quick, later of the cases in use."""
    truncate(folder)
    save(folder, mask_of(folder)[1:], "case01")
    dataset = open_dataset(dataset_yaml("folder", root=str(folder)))
    assert [f.file for f in faults_before_training(dataset, [])] == ["images/case00.png", "masks/case01.png"]
    monkeypatch.setattr(check, "READ_ALL", 1000)
    assert [f.file for f in faults_before_training(dataset, ["case02"])] == ["masks/case01.png"]
    assert len(faults_before_training(dataset, ["case00"])) == 2


def test_images_of_two_depths_are_told(folder: Path, dataset_yaml) -> None:
    deep = folder / "images" / "case03.png"
    Image.fromarray(np.asarray(Image.open(deep)).astype(np.uint16) * 200).save(deep)
    config = dataset_yaml("folder", root=str(folder))
    (finding,) = check_dataset(config).errors
    assert (finding.code, finding.file) == ("unreadable", "images/case03.png")
    assert "holds 16 bits a value, 19 of 20 images hold 8" in finding.message
    assert faults_before_training(open_dataset(config), ["case00"]) == [finding]


@pytest.mark.parametrize(
    ("name", "pairs", "empty"),
    [("nlm_sz", 400, 0), ("nlm_mc", 69, 0), pytest.param("isic", 1200, 0, marks=pytest.mark.slow), ("fuseg", 400, 19)],
)
def test_real_data_has_no_errors(genseg_data: Path, dataset_yaml, name: str, pairs: int, empty: int) -> None:
    report = check_dataset(dataset_yaml(name, root=str(genseg_data / name)))
    assert (report.pairs, report.errors) == (pairs, [])
    counts = Counter(finding.code for finding in report.warnings)
    assert counts["empty_mask"] == empty
    assert counts["lossy_mask"] == 0


def test_masks_as_published_in_rgb(genseg_data: Path, dataset_yaml) -> None:
    config = dataset_yaml("fuseg", root=str(genseg_data / "fuseg_original_size"), n_labelled=2)
    report = check_dataset(config)
    assert (report.pairs, report.errors) == (3, [])
    dataset = open_dataset(config)
    assert dataset.load(dataset.cases[0]).mask.max() == 1
