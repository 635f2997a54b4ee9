"""Which files become cases: pairing, names, groups, labels, roots, and what is said when they do not fit."""

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genseg_betty.data.cases import open_dataset, resolve_root, scan_dataset
from genseg_betty.data.source.case import Sample
from genseg_betty.errors import UserError


def codes(config) -> list[tuple[str, str]]:
    """The pairing faults as (code, file), sorted."""
    return sorted((finding.code, finding.file) for finding in scan_dataset(config)[1])


def test_folder_pairs_by_stem(folder: Path, dataset_yaml) -> None:
    dataset = open_dataset(dataset_yaml("folder", root=str(folder)))
    assert [case.id for case in dataset.cases] == [f"case{index:02d}" for index in range(20)]
    assert dataset.classes == ("background", "foreground")
    assert dataset.label_values == (0, 255)
    for case in dataset.cases:
        assert case.image.stem == case.masks[0].stem == case.id == case.group
    sample = dataset.load(dataset.cases[3])
    mask = np.asarray(Image.open(folder / "masks" / "case03.png"))
    np.testing.assert_array_equal(sample.mask, mask == 255)
    assert sample.mask.dtype == np.int64
    np.testing.assert_array_equal(sample.image[:, :, 0], np.asarray(Image.open(folder / "images" / "case03.png")))


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("case00.PNG", "case00.png"),
        ("case00.jpg", "case00.Png"),
        ("case00.tiff", "case00_mask.gif"),
        ("case00.bmp", "case00_segmentation.PNG"),
        ("ünï cödé.png", "ünï cödé.png"),
        (unicodedata.normalize("NFD", "é.png"), unicodedata.normalize("NFC", "é.png")),
        ("scan.v2.png", "scan.v2_mask.png"),
        ("what?*[a].png", "what?*[a].png"),
        ("{stem}.png", "{stem}.png"),
    ],
)
def test_names_and_formats_that_pair(folder: Path, dataset_yaml, image: str, mask: str) -> None:
    Image.open(folder / "images" / "case00.png").save(folder / "images" / image)
    Image.open(folder / "masks" / "case00.png").save(folder / "masks" / mask)
    for part, kept in (("images", image), ("masks", mask)):
        if kept != "case00.png":
            (folder / part / "case00.png").unlink()
    config = dataset_yaml("folder", root=str(folder))
    assert codes(config) == []
    stem = unicodedata.normalize("NFC", Path(image).stem)
    case = next(case for case in open_dataset(config).cases if case.id == stem)
    assert (case.image.name, [path.name for path in case.masks]) == (image, [mask])


def test_a_stem_is_never_taken_for_a_longer_one(folder: Path, dataset_yaml) -> None:
    """`a` must not claim the masks of `a.b` or `a1`."""
    for name in ("a", "a.b", "a1"):
        for part in ("images", "masks"):
            shutil.copy(folder / part / "case00.png", folder / part / f"{name}.png")
    dataset = open_dataset(dataset_yaml("folder", root=str(folder)))
    assert {case.id: [path.name for path in case.masks] for case in dataset.cases if case.id[:1] == "a"} == {
        name: [f"{name}.png"] for name in ("a", "a.b", "a1")
    }


def test_every_pairing_fault_comes_at_once(folder: Path, dataset_yaml) -> None:
    (folder / "masks" / "case03.png").unlink()
    (folder / "masks" / "case07.png").unlink()
    (folder / "images" / "case11.png").unlink()
    shutil.copy(folder / "images" / "case05.png", folder / "images" / "case05.bmp")
    config = dataset_yaml("folder", root=str(folder))
    assert codes(config) == [
        ("missing_image", "masks/case11.png"),
        ("missing_mask", "images/case03.png"),
        ("missing_mask", "images/case05.png"),
        ("missing_mask", "images/case07.png"),
    ]
    with pytest.raises(UserError) as caught:
        open_dataset(config)
    for file in (
        "masks/case11.png",
        "images/case03.png",
        "images/case05.png",
        "images/case07.png",
        str(folder),
    ):
        assert file in str(caught.value)


def test_hidden_and_foreign_files_are_passed_over(folder: Path, dataset_yaml) -> None:
    for name in ("._case00.png", ".DS_Store", "Thumbs.db", "notes.txt"):
        (folder / "images" / name).write_bytes(b"x")
        (folder / "masks" / name).write_bytes(b"x")
    (folder / "images" / "more").mkdir()
    shutil.copy(folder / "images" / "case00.png", folder / "images" / "more" / "deep.png")
    assert codes(dataset_yaml("folder", root=str(folder))) == []


def test_links_out_of_the_root_are_unsafe_and_not_followed(folder: Path, tmp_path: Path, dataset_yaml) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(folder / "images" / "case00.png", outside / "secret.png")
    (folder / "images" / "secret.png").symlink_to(outside / "secret.png")
    (folder / "masks" / "secret.png").symlink_to("../../outside/secret.png")
    (folder / "masks" / "elsewhere").symlink_to(outside)
    assert codes(dataset_yaml("folder", root=str(folder))) == [
        ("unsafe", "images/secret.png"),
        ("unsafe", "masks/elsewhere"),
        ("unsafe", "masks/secret.png"),
    ]
    dataset, _ = scan_dataset(dataset_yaml("folder", root=str(folder)))
    assert "secret" not in [case.id for case in dataset.cases]


def test_a_linked_root_and_links_within_it_are_fine(folder: Path, tmp_path: Path, dataset_yaml) -> None:
    (tmp_path / "link").symlink_to(folder)
    (folder / "images" / "again.png").symlink_to("case00.png")
    (folder / "masks" / "again.png").symlink_to(folder / "masks" / "case00.png")
    (folder / "images" / "loop").symlink_to(folder)
    assert len(open_dataset(dataset_yaml("folder", root=str(tmp_path / "link"))).cases) == 21


@pytest.mark.parametrize("pattern", ["../*.png", "/etc/*.png", "images/../../*.png"])
def test_patterns_stay_below_the_root(folder: Path, dataset_yaml, pattern: str) -> None:
    with pytest.raises(UserError, match="leads out of"):
        open_dataset(dataset_yaml("folder", root=str(folder), images=[pattern]))


def test_nested_patterns_with_dir_and_repeated_stems(folder: Path, tmp_path: Path, dataset_yaml) -> None:
    for part in ("a", "b/c"):
        shutil.copytree(folder / "images", tmp_path / "nested" / part / "images")
        shutil.copytree(folder / "masks", tmp_path / "nested" / part / "labels")
    config = dataset_yaml(
        "folder",
        root=str(tmp_path / "nested"),
        images=["**/images/*.png"],
        masks=["{dir}/../labels/{stem}.png"],
    )
    dataset = open_dataset(config)
    assert len(dataset.cases) == 40
    assert dataset.cases[0].id == "a/images/case00"
    assert dataset.cases[-1].masks == (tmp_path / "nested" / "b" / "c" / "labels" / "case19.png",)


def test_several_masks_in_the_folder_of_the_image_are_united(tmp_path: Path, dataset_yaml) -> None:
    """The layout of breast ultrasound: `X (1).png`, `X (1)_mask.png`, sometimes `X (1)_mask_1.png`."""
    left, right = np.zeros((2, 8, 8), dtype=np.uint8)
    left[:, :3], right[:, 6:] = 255, 255
    files = {"X (1)": right, "X (1)_mask": left, "X (1)_mask_1": right, "X (10)": left, "X (10)_mask": left}
    (tmp_path / "b").mkdir()
    for name, array in files.items():
        Image.fromarray(array).save(tmp_path / "b" / f"{name}.png")
    config = dataset_yaml("folder", root=str(tmp_path), images=["*/*.png"], masks=["{dir}/{stem}_mask*.png"])
    dataset = open_dataset(config)
    assert [(case.id, len(case.masks)) for case in dataset.cases] == [("X (1)", 2), ("X (10)", 1)]
    np.testing.assert_array_equal(dataset.load(dataset.cases[0]).mask, (left | right) > 0)
    (tmp_path / "b" / "X (10).png").unlink()
    assert codes(config) == [("missing_image", "b/X (10)_mask.png")]


def test_images_and_masks_in_one_folder_told_apart_by_suffix(tmp_path: Path, dataset_yaml) -> None:
    for name in ("a", "a_mask", "b", "b_mask", "c_mask"):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / f"{name}.png")
    keys = {"images": ["./*.*"], "masks": ["./{stem}.*", "./{stem}_mask.*"]}
    config = dataset_yaml("folder", root=str(tmp_path), **keys)
    assert codes(config) == [("missing_image", "c_mask.png")]
    assert [case.masks[0].name for case in scan_dataset(config)[0].cases] == ["a_mask.png", "b_mask.png"]


def test_all_masks_required(tmp_path: Path, dataset_yaml, write_pair) -> None:
    for index in range(3):
        write_pair(tmp_path, f"x{index}")
    shutil.copytree(tmp_path / "masks", tmp_path / "right")
    (tmp_path / "right" / "x1.png").unlink()
    keys = {"root": str(tmp_path), "masks": ["masks/{stem}.png", "right/{stem}.png"]}
    assert codes(dataset_yaml("folder", **keys, mask_required="all")) == [("missing_mask", "images/x1.png")]
    assert codes(dataset_yaml("folder", **keys, mask_required="any")) == []


@pytest.mark.parametrize(
    ("unlabelled", "faults"),
    [
        (False, ["case01", "case02"]),
        (True, []),
        (["images/case01.png"], ["case02"]),
    ],
)
def test_unlabelled_images_are_no_fault_where_published(
    folder: Path, dataset_yaml, unlabelled: bool | list[str], faults: list[str]
) -> None:
    for name in ("case01", "case02"):
        (folder / "masks" / f"{name}.png").unlink()
    config = dataset_yaml("folder", root=str(folder), unlabelled=unlabelled)
    assert codes(config) == [("missing_mask", f"images/{name}.png") for name in faults]
    dataset, _ = scan_dataset(config)
    assert len(dataset.unlabelled) == 2 - len(faults)
    assert len(dataset.cases) == 18


def test_groups_come_from_the_path(folder: Path, dataset_yaml) -> None:
    dataset = open_dataset(dataset_yaml("folder", root=str(folder), group=r"case(\d)"))
    assert [case.group for case in dataset.cases] == ["0"] * 10 + ["1"] * 10
    with pytest.raises(UserError, match=r"finds no group for images/case00\.png"):
        open_dataset(dataset_yaml("folder", root=str(folder), group=r"patient(\d)"))


def test_root_is_given_or_found(folder: Path, tmp_path: Path, dataset_yaml, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENSEG_DATA", raising=False)
    with pytest.raises(UserError) as caught:
        resolve_root(dataset_yaml("folder"))
    for part in (
        str(tmp_path / "data" / "folder"),
        "images/*.*",
        "masks/{stem}.*",
        "dataset.root=DIR",
        "GENSEG_DATA",
    ):
        assert part in str(caught.value)
    assert resolve_root(dataset_yaml("folder", root="data")) == folder
    (folder / "folder").mkdir()
    assert resolve_root(dataset_yaml("folder")) == folder / "folder"
    (tmp_path / "elsewhere" / "folder").mkdir(parents=True)
    monkeypatch.setenv("GENSEG_DATA", str(tmp_path / "elsewhere"))
    assert resolve_root(dataset_yaml("folder")) == tmp_path / "elsewhere" / "folder"


def test_an_empty_folder_says_what_is_expected(tmp_path: Path, dataset_yaml) -> None:
    with pytest.raises(UserError, match=r"no image with its mask.*images/\*\.\*"):
        open_dataset(dataset_yaml("folder", root=str(tmp_path)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_may_not_be_listed(folder: Path, dataset_yaml) -> None:
    (folder / "images").chmod(0)
    try:
        assert ("unreadable", "images") in codes(dataset_yaml("folder", root=str(folder)))
    finally:
        (folder / "images").chmod(0o755)


@pytest.mark.parametrize(("high", "expected"), [(1, (0, 1)), (255, (0, 255))])
def test_label_values_are_those_of_the_files(folder: Path, dataset_yaml, high: int, expected: tuple) -> None:
    for path in (folder / "masks").iterdir():
        Image.fromarray((np.asarray(Image.open(path)) // 255 * high).astype(np.uint8)).save(path)
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(folder / "masks" / "case00.png")
    assert open_dataset(dataset_yaml("folder", root=str(folder))).label_values == expected


def test_phantom_cases_are_drawn_on_load(dataset_yaml, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw_phantom(kind: str, domain: str, size: int, seed: int, index: int) -> Sample:
        drawn.append((kind, domain, size, seed, index))
        return Sample(np.full((4, 4, 1), index, np.float32), np.zeros((4, 4), np.int64))

    monkeypatch.setattr("genseg_betty.data.phantom.draw_phantom", draw_phantom)
    keys = {
        "name": "p",
        "reader": "phantom",
        "kind": "lung",
        "domain": "source",
        "size": 96,
        "count": 12,
        "seed": 3,
    }
    dataset = open_dataset(keys)
    assert [dataset.cases[0].id, dataset.cases[11].id] == ["lung_source_0000", "lung_source_0011"]
    assert drawn == []
    assert dataset.load(dataset.cases[7]).image.max() == 7
    assert drawn == [("lung", "source", 96, 3, 7)]
    assert (dataset.root, dataset.label_values, len(dataset.test_ids())) == (None, (0, 255), 4)


@pytest.mark.parametrize(
    ("name", "pairs", "metric"),
    [("nlm_sz", 400, "dice"), ("nlm_mc", 69, "dice"), ("isic", 1200, "jaccard"), ("fuseg", 400, "dice")],
)
def test_real_layouts_pair_without_a_fault(genseg_data: Path, dataset_yaml, name: str, pairs: int, metric: str) -> None:
    dataset = open_dataset(dataset_yaml(name, root=str(genseg_data / name)))
    assert (len(dataset.cases), len(dataset.unlabelled), dataset.metric) == (pairs, 0, metric)
    assert len(dataset.cases[0].masks) == (2 if name == "nlm_mc" else 1)
