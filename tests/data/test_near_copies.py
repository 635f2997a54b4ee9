"""Copies of one picture: one part of a drawn split, told where a given split parts them, looked for once."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from genseg_betty.config import load_dataset_config
from genseg_betty.data.cases import open_dataset, scan_dataset
from genseg_betty.data.inspect import near_copies as module
from genseg_betty.data.inspect import similar
from genseg_betty.data.inspect.check import check_dataset, split_or_note
from genseg_betty.data.inspect.near_copies import find_near_copies
from genseg_betty.data.inspect.parted_copies import find_parted_copies, warn_of_near_duplicates
from genseg_betty.data.phantom import draw_phantom
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.splits import Splits, TooFew, make_splits, unseen_cases

PICTURES = 12
ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "a": lambda picture: picture,
    "b": ImageOps.mirror,
    "c": ImageOps.flip,
    "d": lambda picture: ImageOps.flip(ImageOps.mirror(ImageOps.crop(picture, 3))),
}


def write(root: Path, name: str, picture: Image.Image) -> None:
    for folder, image in (("images", picture), ("masks", Image.new("L", picture.size, 255))):
        (root / folder).mkdir(parents=True, exist_ok=True)
        image.save(root / folder / f"{name}.png")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photographs in four mirrored copies each, x00_… to x47_…, the copies far apart."""
    root = tmp_path_factory.mktemp("mirrored")
    for index in range(PICTURES):
        picture = Image.fromarray(draw_phantom("lesion", "source", 96, 0, index).image.astype(np.uint8).squeeze())
        for place, change in enumerate(ALTERED.values()):
            write(root, f"x{place * PICTURES + index:02d}", change(picture))
    return root


@pytest.fixture
def mirrored(drawn: Path, tmp_path: Path) -> Path:
    return shutil.copytree(drawn, tmp_path / "mirrored")


def picture_of(id: str) -> int:
    return int(id[1:]) % PICTURES


def parts_of(splits: Splits) -> list[set[int]]:
    return [{picture_of(id) for id in part} for part in (splits.train, splits.validation, splits.test)]


def load(root: Path, dataset_yaml, **keys: object) -> Dataset:
    return open_dataset(dataset_yaml("folder", root=str(root), **keys))


def test_mirrored_copies_come_into_one_part(mirrored: Path, dataset_yaml) -> None:
    dataset = load(mirrored, dataset_yaml)
    every = [make_splits(dataset, n, None, seed) for n in (None, 9, 20) for seed in range(3)]
    for splits in every:
        train, validation, test = parts_of(splits)
        assert len(train) + len(validation) + len(test) == len(train | validation | test)
        assert all((train, validation, test))
    assert len({tuple(splits.test) for splits in every}) == 1
    assert len(every[0].test) == 12  # three pictures, as near to 30 % of 48 as four
    assert (
        every[0].notes[-1].startswith("images that look like the same picture are kept in one part (x00 beside x12, ")
    )


def test_so_do_the_copies_in_folds(mirrored: Path, dataset_yaml) -> None:
    tests = [
        {picture_of(id) for id in make_splits(load(mirrored, dataset_yaml, folds=3, fold=k), 9, None, 0).test}
        for k in range(3)
    ]
    assert sum(map(len, tests)) == len(set.union(*tests)) == PICTURES


def test_without_copies_the_parts_are_as_ever(folder: Path, dataset_yaml) -> None:
    splits = make_splits(load(folder, dataset_yaml), 9, None, 0)
    assert [int(id[4:]) for id in splits.test] == TEST
    assert [int(id[4:]) for id in splits.validation] == VALIDATION
    assert [int(id[4:]) for id in splits.train] == TRAIN
    assert splits.notes == []


TEST, VALIDATION, TRAIN = [9, 10, 12, 14, 16, 17], [0, 2], [4, 5, 6, 7, 11, 15, 19]  # before copies were looked for


def test_cases_like_those_trained_on_are_not_unseen(mirrored: Path, dataset_yaml) -> None:
    dataset = load(mirrored, dataset_yaml)
    splits = make_splits(dataset, 9, None, 0)
    learned = {picture_of(id) for id in splits.train + splits.validation}
    unseen = {case.id for case in unseen_cases(dataset, dataset, splits)}
    assert unseen >= set(splits.test)
    assert {picture_of(id) for id in unseen} == set(range(PICTURES)) - learned


GIVEN = {
    "patterns": {"test": ["images/x0?.png"]},
    "patients": {"test_groups": ["test.txt"]},
    "file": {"file": "mine.json"},
}


@pytest.fixture
def given(mirrored: Path) -> Path:
    """The first ten images are tested on, and so are copies of the last two of the twelve; two more are in no part."""
    (mirrored / "test.txt").write_text("".join(f"x{index:02d}\n" for index in range(10)))
    ids = [f"x{index:02d}" for index in range(48)]
    (mirrored / "mine.json").write_text(json.dumps({"test": ids[:10], "validation": ids[10:12], "train": ids[12:46]}))
    return mirrored


@pytest.mark.parametrize("kind", GIVEN)
def test_a_given_split_that_parts_copies_is_refused(given: Path, dataset_yaml, kind: str) -> None:
    config = dataset_yaml("folder", root=str(given), split=GIVEN[kind])
    [fault] = check_dataset(config).errors
    assert (fault.code, fault.file) == ("near_duplicate", "images/x12.png")
    count = {"patterns": 30, "patients": 30, "file": 34}[kind]  # three copies of each, which the file's end cuts
    place = "train" if kind == "file" else "train or validation"
    assert fault.message.startswith(
        f"{count} pairs of images look like the same picture and the split parts them: "
        f"images/x00.png (test) beside images/x12.png ({place}), "
    )
    assert f"and {count - 3} more; expected every picture in one part: move one of each" in fault.message
    assert fault.message.endswith("or accept it knowingly by dataset.copies=allow")
    findings: list = []
    dataset, _ = scan_dataset(config)
    split_or_note(dataset, config, 0, findings)  # as a training does
    assert findings == [fault]


@pytest.mark.parametrize("kind", GIVEN)
def test_it_is_told_where_that_is_allowed(given: Path, dataset_yaml, kind: str) -> None:
    config = dataset_yaml("folder", root=str(given), split=GIVEN[kind], copies="allow")
    report = check_dataset(config)
    assert report.errors == []
    assert {warning.code for warning in report.warnings} == {"near_duplicate"}
    splits = make_splits(open_dataset(config), None, None, 0)
    assert "dataset.copies=allow accepts it, and scores flatter" in splits.notes[-1]
    assert set.intersection(*parts_of(splits)[::2])


def test_a_publishers_split_stands_and_training_leaves_copies_out(given: Path, dataset_yaml) -> None:
    dataset = load(given, dataset_yaml, split={"published": True, **GIVEN["patterns"]})
    assert split_or_note(dataset, {}, 0, findings := []).test == [f"x0{index}" for index in range(10)]
    assert findings == []
    splits = make_splits(dataset, None, None, 0)
    train, validation, test = parts_of(splits)
    assert (train | validation, test) == ({10, 11}, set(range(10)))
    assert "The split is the publisher's, so it stands; those outside the test part are left out" in splits.notes[-1]
    dataset = load(given, dataset_yaml, split={"published": True, **GIVEN["file"]})
    assert "is the publisher's, so it stands; scores flatter" in make_splits(dataset, None, None, 0).notes[-1]


@pytest.mark.parametrize("name", ["isic", "fuseg", "covid_qu_ex", "fetreg", "etab_lv", "etab_myo", "hippocampus"])
def test_splits_of_the_catalogue_are_the_publishers_and_the_users_is_not(name: str) -> None:
    assert load_dataset_config(name).split.published is True
    assert load_dataset_config(name, overrides=["split={test: ['*.png']}"]).split.published is False


def test_byte_for_byte_copies_in_two_given_parts_are_refused(folder: Path, dataset_yaml, monkeypatch) -> None:
    """Also where nothing but their bytes says that they are one."""
    monkeypatch.setattr(similar, "find_near_duplicates", lambda *a, **k: [])
    shutil.copy(folder / "images" / "case00.png", folder / "images" / "case01.png")
    dataset = load(folder, dataset_yaml, split={"test": ["images/case00.png", "images/case02.png"]})
    assert [[case.id for case in pair] for pair in find_parted_copies(dataset)] == [["case00", "case01"]]


def test_blank_pictures_are_no_copies(folder: Path, dataset_yaml) -> None:
    """A video of each patient has its black frame, which makes the patients no one."""
    for index in range(0, 20, 2):
        Image.new("L", (40, 40)).save(folder / "images" / f"case{index:02d}.png")
    dataset = load(folder, dataset_yaml, group=r"case(\d)", split={"test": ["images/case0?.png"]})
    assert find_parted_copies(dataset) == []
    assert make_splits(load(folder, dataset_yaml), 9, None, 0).notes == []


@pytest.mark.parametrize(
    ("keys", "n_labelled", "message"),
    [
        ({}, 40, "set dataset.n_labelled between 2 and 36; .* copies of one picture count as one group"),
        ({"folds": 20, "fold": 3}, 9, "has 12 groups to cut into dataset.folds=20; .* count as one group"),
        ({"folds": "all", "fold": 12}, 9, "has 12 folds, and dataset.fold is 12; .* count as one group"),
    ],
)
def test_more_than_the_pictures_allow_parts_no_copies(
    mirrored: Path, dataset_yaml, keys: dict, n_labelled: int, message: str
) -> None:
    with pytest.raises(TooFew, match=message):
        make_splits(load(mirrored, dataset_yaml, **keys), n_labelled, None, 0)


@pytest.mark.parametrize(
    ("keys", "count", "message"),
    [
        ({}, 72, "looks like the same picture as images/x00.png; both are kept in one part, so remove one if it"),
        ({"copies": "allow"}, 72, "; the two may come into different parts, as dataset.copies=allow says"),
        ({"group_starts": [0, 24]}, 72 - 24, "; both are kept in one part"),  # x00 and x12 are one group
        ({"split": GIVEN["patterns"]}, 72, "(that one: test; this one: train or validation); expected a picture in"),
    ],
)
def test_every_pair_is_a_warning(given: Path, dataset_yaml, keys: dict, count: int, message: str) -> None:
    found = warn_of_near_duplicates(load(given, dataset_yaml, **keys))
    assert {finding.code for finding in found} == {"near_duplicate"}
    assert message in found[0].message
    assert len(found) == count


def warned(dataset: Dataset) -> set[tuple[str, str]]:
    found = warn_of_near_duplicates(dataset)
    return {(finding.message.split("images/")[1][:3], finding.file[7:10]) for finding in found}


def test_equal_pixels_and_one_given_part_are_no_warning(mirrored: Path, dataset_yaml) -> None:
    Image.open(mirrored / "images" / "x00.png").save(mirrored / "images" / "x12.png", compress_level=1)
    found = warned(load(mirrored, dataset_yaml))
    assert ("x00", "x24") in found
    assert ("x00", "x12") not in found
    test = {"test": ["images/x00.png", "images/x24.png"]}
    found = warned(load(mirrored, dataset_yaml, split=test))
    assert ("x00", "x24") not in found
    assert {("x00", "x36"), ("x12", "x24")} <= found


def test_the_search_is_done_once(mirrored: Path, dataset_yaml, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENSEG_CACHE", str(tmp_path / "cache"))
    searches = []
    monkeypatch.setattr(similar, "find_near_duplicates", lambda *a, **k: searches.append(1) or [(0, 12)])
    monkeypatch.setattr(module, "settled_now", lambda states: True)

    def found() -> list[list[str]]:
        return [[case.id for case in pair] for pair in find_near_copies(load(mirrored, dataset_yaml))]

    assert found() == found() == [["x00", "x12"]]
    assert len(searches) == 1
    os.utime(mirrored / "images" / "x07.png")
    assert found() == [["x00", "x12"]]
    assert len(searches) == 2


def test_a_large_search_is_announced(folder: Path, dataset_yaml, monkeypatch, capsys) -> None:
    monkeypatch.setattr(module, "MANY", 20)
    find_near_copies(load(folder, dataset_yaml))
    assert capsys.readouterr().err == "looking for copies among 20 images; what is found is kept\n"


def test_unreadable_images_are_left_to_the_check(mirrored: Path, dataset_yaml) -> None:
    (mirrored / "images" / "x00.png").write_text("x")
    dataset = load(mirrored, dataset_yaml)
    pairs = {tuple(case.id for case in pair) for pair in find_near_copies(dataset)}
    assert not any("x00" in pair for pair in pairs)
    assert ("x12", "x24") in pairs


def test_phantoms_are_not_searched(dataset_yaml, monkeypatch) -> None:
    monkeypatch.setattr(similar, "find_near_duplicates", None)
    assert find_near_copies(open_dataset(load_dataset_config("phantom"))) == []
