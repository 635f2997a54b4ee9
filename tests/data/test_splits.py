"""Counting, nesting, grouping, folds, a test part that never moves, and splits of the user's own."""

import json
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from genseg_betty.data.cases import open_dataset, scan_dataset
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.folds import Folds, held_out_groups
from genseg_betty.data.source.labels import LabelMap
from genseg_betty.data.splits import (
    Splits,
    TooFew,
    capped,
    fingerprints,
    make_splits,
    unseen_cases,
    validation_count,
)
from genseg_betty.errors import UserError


def toy(n: int, group: Callable[[int], str] = str, name: str = "toy", test: Sequence[str] = ()) -> Dataset:
    cases = [Case(f"c{i:03d}", Path(f"c{i:03d}.png"), (), group(i), name) for i in range(n)]
    return Dataset(name, Path("/data") / name, cases, [], LabelMap.declared(None, None), "dice", frozenset(test))


@pytest.mark.parametrize(
    ("n", "train", "validation"),
    [
        (2, 1, 1),
        (3, 2, 1),
        (5, 4, 1),
        (7, 6, 1),
        (8, 6, 2),
        (9, 7, 2),
        (10, 8, 2),
        (35, 28, 7),
        (40, 32, 8),
        (50, 40, 10),
    ],
)
def test_a_fifth_is_validation(n: int, train: int, validation: int) -> None:
    splits = make_splits(toy(100), n, None, seed=0)
    assert (len(splits.train), len(splits.validation)) == (train, validation)
    assert validation_count(n) == validation


@pytest.mark.parametrize("n", [10, 69, 400])
def test_parts_are_disjoint_and_the_test_part_is_30_percent(n: int) -> None:
    dataset = toy(n)
    splits = make_splits(dataset, 7, None, seed=1)
    parts = [set(splits.train), set(splits.validation), set(splits.test)]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert len(splits.test) == round(0.3 * n)
    assert set.union(*parts) <= {case.id for case in dataset.cases}


def test_roles_are_nested_in_n_labelled() -> None:
    dataset = toy(100, group=lambda i: str(i // 3))
    largest = make_splits(dataset, 60, None, seed=5)
    for n in range(2, 60):
        splits = make_splits(dataset, n, None, seed=5)
        assert set(splits.train) <= set(largest.train)
        assert set(splits.validation) <= set(largest.validation)
        assert len(splits.train) + len(splits.validation) == n


def test_the_test_part_depends_on_neither_seed_nor_n_labelled() -> None:
    dataset = toy(60)
    assert len({tuple(make_splits(dataset, n, None, seed).test) for n in (5, 9, 40) for seed in range(5)}) == 1
    assert len({tuple(make_splits(dataset, 9, None, seed).train) for seed in range(5)}) == 5


def test_the_same_arguments_give_the_same_splits_whatever_the_order_of_cases() -> None:
    dataset, reversed_ = toy(50), toy(50)
    reversed_.cases.reverse()
    first, second = (make_splits(each, 20, None, seed=3) for each in (dataset, reversed_))
    assert (first.train, first.validation, first.test) == (
        second.train,
        second.validation,
        sorted(second.test),
    )


@pytest.mark.parametrize("size", [2, 5, 20, 45])
@pytest.mark.parametrize("seed", range(3))
def test_groups_never_straddle(size: int, seed: int) -> None:
    dataset = toy(100, group=lambda i: str(i // size))
    group = {case.id: case.group for case in dataset.cases}
    pool = 100 - len(dataset.test_ids())
    for n in (2, 9, 40, pool):
        if n <= pool:
            splits = make_splits(dataset, n, None, seed)
            parts = [{group[id] for id in part} for part in (splits.train, splits.validation, splits.test)]
            assert sum(map(len, parts)) == len(set.union(*parts))
            assert len(splits.train) + len(splits.validation) == n
    assert 0 < len(splits.test) <= max(size, 30)


def test_counts_hold_where_groups_allow_them() -> None:
    dataset = toy(400, group=lambda i: str(i // 14))
    for seed in range(5):
        splits = make_splits(dataset, 40, None, seed)
        assert (len(splits.train), len(splits.validation)) == (32, 8)


def test_a_published_test_part_is_taken_and_its_groups_leave_the_pool() -> None:
    dataset = toy(30, group=lambda i: str(i // 2), test=["c000", "c002", "c003"])
    splits = make_splits(dataset, 26, None, seed=0)
    assert splits.test == ["c000", "c002", "c003"]
    assert "c001" not in {*splits.train, *splits.validation}


def test_n_test_caps_nested() -> None:
    dataset = toy(100)
    sizes = [set(make_splits(dataset, 9, n, seed=0).test) for n in (5, 10, 1000, None)]
    assert list(map(len, sizes)) == [5, 10, 30, 30]
    assert sizes[0] < sizes[1] < sizes[2] == sizes[3]
    with pytest.raises(UserError, match="expected 0 or more"):
        capped(["a"], -1)


def test_without_a_test_part_all_may_be_labelled_but_published_ones() -> None:
    splits = make_splits(toy(20), 20, 0, seed=0)
    assert (len(splits.train), len(splits.validation), splits.test) == (16, 4, [])
    with pytest.raises(TooFew, match=r"between 2 and 14; or dataset\.n_test=0"):
        make_splits(toy(20), 20, None, seed=0)
    published = toy(20, test=["c000", "c002"])
    splits = make_splits(published, 18, 0, seed=0)
    assert splits.test == []
    assert not {"c000", "c002"} & {*splits.train, *splits.validation}
    with pytest.raises(TooFew, match=r"2 are the fixed test part and 18 are left(?!.*n_test=0)"):
        make_splits(published, 20, 0, seed=0)
    folds = replace(toy(20), folds=Folds(5, 0))
    assert len(make_splits(folds, 16, 0, seed=0).train) == 13
    with pytest.raises(TooFew):
        make_splits(folds, 17, 0, seed=0)


def test_default_is_40_or_all() -> None:
    for n, expected in ((100, 40), (40, 28), (10, 7)):
        splits = make_splits(toy(n), None, None, seed=0)
        assert len(splits.train) + len(splits.validation) == expected


@pytest.mark.parametrize(("n", "n_labelled"), [(0, None), (1, None), (2, None), (10, 8), (10, 1), (10, 0), (10, -3)])
def test_too_few(n: int, n_labelled: int | None) -> None:
    with pytest.raises(TooFew, match="labelled cases") as caught:
        make_splits(toy(n), n_labelled, None, seed=0)
    assert re.search("set dataset.n_labelled between 2 and 7|add labelled images", str(caught.value))


def test_one_group_leaves_nothing_to_train_on_or_to_test() -> None:
    with pytest.raises(TooFew, match="0 are the fixed test part"):
        make_splits(toy(10, group=lambda _: "patient"), 5, None, seed=0)


def test_unseen_cases_leave_out_training_and_validation_alone() -> None:
    dataset = toy(20)
    splits = make_splits(dataset, 9, 3, seed=0)
    unseen = {case.id for case in unseen_cases(dataset, dataset, splits)}
    assert unseen == {case.id for case in dataset.cases} - {*splits.train, *splits.validation}
    assert len(unseen_cases(dataset, dataset, splits, 4)) == 4
    assert len(unseen_cases(toy(20, name="other"), dataset, splits)) == 20


def test_unseen_cases_know_a_moved_dataset_by_name_and_a_folder_by_root() -> None:
    dataset, moved = toy(20), toy(20)
    moved.root = Path("/elsewhere")
    splits = make_splits(dataset, 9, None, seed=0)
    assert len(unseen_cases(moved, dataset, splits)) == 11
    mine, other = toy(20, name="folder"), toy(20, name="folder")
    other.root = Path("/elsewhere")
    assert len(unseen_cases(mine, mine, splits)) == 11
    assert len(unseen_cases(other, mine, splits)) == 20


def test_unseen_cases_leave_out_all_of_a_learned_group() -> None:
    dataset = toy(60, group=lambda i: str(i // 6))
    splits = make_splits(dataset, 9, None, seed=0)
    groups = {case.id: case.group for case in dataset.cases}
    learned = {groups[id] for id in splits.train + splits.validation}
    unseen = unseen_cases(dataset, dataset, splits)
    assert {case.group for case in unseen} == set(groups.values()) - learned
    assert {case.id for case in unseen} >= set(splits.test)


def test_the_cap_counts_cases_that_are_left(folder: Path, dataset_yaml) -> None:
    """Copies of training images are no part of n_test."""
    dataset = open_dataset(dataset_yaml("folder", root=str(folder)))
    all_cases = unseen_cases(dataset, toy(1), Splits([], [], []))
    contents = fingerprints(
        dataset, [case for case in all_cases if case.id in capped(fingerprints(dataset, all_cases), 3)]
    )
    left = unseen_cases(dataset, toy(1), Splits([], [], []), 3, contents.values())
    assert len(left) == 3
    assert not {case.id for case in left} & contents.keys()


def test_copies_of_one_image_stay_in_one_part(folder: Path, dataset_yaml) -> None:
    for index in range(10):  # case00 and case10 are one image, case01 and case11, ...
        shutil.copy(folder / "images" / f"case{index:02d}.png", folder / "images" / f"case{index + 10}.png")
    dataset = open_dataset(dataset_yaml("folder", root=str(folder)))
    for seed in range(5):
        splits = make_splits(dataset, 9, None, seed)
        parts = [{int(id[4:]) % 10 for id in part} for part in (splits.train, splits.validation, splits.test)]
        assert sum(map(len, parts)) == len(set.union(*parts))


def test_a_folder_of_copies_alone_is_split_and_said(folder: Path, dataset_yaml) -> None:
    for path in (folder / "images").iterdir():
        shutil.copy(folder / "images" / "case00.png", folder / "moved.png")
        (folder / "moved.png").rename(path)
    splits = make_splits(open_dataset(dataset_yaml("folder", root=str(folder))), 9, None, 0)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (7, 2, 6)
    assert splits.notes == [
        "copies of one image stand in several parts, too many to keep them together; scores flatter"
    ]


def test_a_test_part_that_no_file_matches_is_a_fault(folder: Path, dataset_yaml) -> None:
    for index in range(6):
        for part in ("images", "masks"):
            path = folder / "test" / part / f"case{index:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            (folder / part / path.name).rename(path)
    keys = {
        "root": str(folder),
        "images": ["images/*.png", "test/images/*.png"],
        "masks": ["{dir}/../masks/{stem}.png"],
    }
    dataset, findings = scan_dataset(dataset_yaml("folder", split={"test": ["test/images/*.png"]}, **keys))
    assert not findings
    assert make_splits(dataset, None, None, 0).test == [f"case{index:02d}" for index in range(6)]
    dataset, findings = scan_dataset(dataset_yaml("folder", split={"test": ["Test/images/*.png"]}, **keys))
    assert [(finding.code, finding.message) for finding in findings] == [
        (
            "too_few",
            "dataset.split: Test/images/*.png finds no labelled image to test on; mend it, upper and lower case too",
        )
    ]
    split = {"test": ["Test/images/*.png"], "optional": True}
    dataset, findings = scan_dataset(dataset_yaml("folder", split=split, **keys))
    assert not findings
    assert dataset.notes == [
        "no labelled image of the published test part is there (Test/images/*.png), so 30 % are set aside instead"
    ]


def test_published_split_of_fuseg_is_used_where_it_is_there(tmp_path: Path, dataset_yaml, write_pair) -> None:
    for part in ("train", "validation"):
        for index in range(4):
            write_pair(tmp_path / part, f"{index:04d}", seed=index)
        (tmp_path / part / "masks").rename(tmp_path / part / "labels")
    write_pair(tmp_path / "test", "0001")
    (tmp_path / "test" / "masks" / "0001.png").unlink()
    dataset = open_dataset(dataset_yaml("fuseg", root=str(tmp_path)))
    assert [path.name for path in dataset.unlabelled] == ["0001.png"]
    splits = make_splits(dataset, 4, None, seed=0)
    assert splits.test == [f"validation/images/{index:04d}" for index in range(4)]


@pytest.mark.parametrize(("name", "test"), [("nlm_sz", 120), ("nlm_mc", 21)])
def test_real_lungs_split_7_and_2(genseg_data: Path, dataset_yaml, name: str, test: int) -> None:
    config = dataset_yaml(name, root=str(genseg_data / name))
    splits = make_splits(open_dataset(config), config.n_labelled, config.n_test, seed=0)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (7, 2, test)


CVC_STARTS = [
    *(1, 26, 51, 68, 79, 104, 127, 152, 178, 200, 206, 228, 253, 278, 298, 318, 343, 364, 384, 409, 429, 448, 467, 479),
    *(504, 529, 547, 572, 592),
]  # fmt: skip


def cvc_like(cases: int = 612) -> Dataset:
    """Consecutive frames of 29 sequences of 6 to 26 frames each."""
    return toy(cases, group=lambda i: str(sum(start <= i + 1 for start in CVC_STARTS)))


def parts_of(dataset: Dataset, n: int | None, seed: int) -> list[list[str]]:
    splits = make_splits(dataset, n, None, seed)
    return [splits.train, splits.validation, splits.test]


@pytest.mark.parametrize("cases", [612, 400])
@pytest.mark.parametrize("seed", range(3))
def test_sequences_never_straddle(cases: int, seed: int) -> None:
    dataset = cvc_like(cases)
    group = {case.id: case.group for case in dataset.cases}
    for n in (9, 40, 250, cases - len(dataset.test_ids())):
        parts = parts_of(dataset, n, seed)
        assert [len(parts[0]) + len(parts[1]), *map(bool, parts)] == [n, True, True, True]
        assert max(Counter(g for part in parts for g in {group[id] for id in part}).values()) == 1
    assert abs(len(parts[2]) - 0.3 * cases) <= 13  # half a sequence
    assert [len(part) for part in parts_of(dataset, 40, seed)[:2]] == [32, 8]


def test_roles_of_sequences_are_nested() -> None:
    splits = [parts_of(cvc_like(), n, seed=1) for n in range(2, 300, 7)]
    for smaller, larger in pairwise(splits):
        assert set(smaller[0]) < set(larger[0])
        assert set(smaller[1]) <= set(larger[1])
        assert smaller[2] == larger[2]


@pytest.mark.parametrize(
    ("sizes", "held_out"),
    [
        ([19, 19, 19, 19, 24], 38),  # 30 wanted: 38 is nearer than 19
        ([20] * 5, 20),  # 30 wanted: 20 and 40 are as near
        ([45, 45, 10], 10),  # 30 wanted: 10 is nearer than 55
        ([90, 2, 2, 2, 2, 2], 8),  # 30 wanted: two groups are left for training and validation
        ([5, 5], 5),
        ([50, 1], 1),
        ([7], 0),
        ([], 0),
    ],
)
def test_the_test_part_comes_near_to_30_percent(sizes: list[int], held_out: int) -> None:
    groups = {f"g{index}": size for index, size in enumerate(sizes)}
    assert sum(groups[group] for group in held_out_groups(groups)) == held_out


def test_inexact_counts_are_said() -> None:
    dataset = toy(100, group=lambda i: str(i // 20))
    notes = make_splits(dataset, 50, None, seed=0).notes
    assert notes[0] == "the test part holds 20 cases where 30 % are 30: groups are kept whole"
    coarse = toy(30, group=lambda i: str(i // 10))
    splits = make_splits(coarse, 20, None, seed=0)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (10, 10, 10)
    assert splits.notes[-1] == "10 train and 10 validation cases, not 16 and 4: groups are kept whole"
    assert make_splits(toy(100), 40, None, seed=0).notes == []


def test_one_group_for_training_and_validation_is_too_few() -> None:
    with pytest.raises(TooFew, match="training and validation may not share one"):
        make_splits(toy(20, group=lambda i: str(i // 10)), 5, None, seed=0)


@pytest.mark.parametrize("count", [2, 3, 5, 7])
@pytest.mark.parametrize("dataset", [toy(30), toy(61, group=lambda i: str(i // 3)), cvc_like()])
def test_folds_partition_the_cases_by_group(dataset: Dataset, count: int) -> None:
    tested = []
    group = {case.id: case.group for case in dataset.cases}
    for index in range(count):
        dataset.folds = Folds(count, index)
        parts = parts_of(dataset, 9, seed=0)
        assert parts[2] == parts_of(dataset, 25 if len(dataset.cases) > 60 else 12, seed=4)[2]
        groups = [{group[id] for id in part} for part in parts]
        assert sum(map(len, groups)) == len(set.union(*groups))
        tested.append(parts[2])
    dataset.folds = None
    assert sorted(id for part in tested for id in part) == [case.id for case in dataset.cases]
    sizes = [len(part) for part in tested]
    assert max(sizes) - min(sizes) <= max(Counter(group.values()).values())


def test_leave_one_out_tests_every_case_once() -> None:
    dataset = toy(12)
    tested = []
    for index in range(12):
        dataset.folds = Folds("all", index)
        train, validation, test = parts_of(dataset, None, seed=0)
        assert (len(train), len(validation), len(test)) == (9, 2, 1)
        assert {*train, *validation, *test} == {case.id for case in dataset.cases}
        tested += test
    assert tested == [case.id for case in dataset.cases]


def test_leave_one_group_out() -> None:
    dataset = toy(12, group=lambda i: "abc"[i % 3])
    dataset.folds = Folds("all", 1)
    assert parts_of(dataset, None, seed=0)[2] == ["c001", "c004", "c007", "c010"]


def test_folds_leave_the_published_test_part_alone() -> None:
    dataset = toy(24, group=lambda i: str(i // 2), test=["c000", "c002"])
    seen: set[str] = set()
    for index in range(4):
        dataset.folds = Folds(4, index)
        parts = parts_of(dataset, 12, seed=index)
        seen |= {id for part in parts for id in part}
        assert len(parts[2]) in (4, 6)
    assert seen <= {case.id for case in dataset.cases} - {"c000", "c001", "c002", "c003"}


@pytest.mark.parametrize(
    ("groups", "folds", "message"),
    [
        (3, Folds(4, 0), "has 3 groups to cut into dataset.folds=4; .*set dataset.folds between 2 and 3, or all"),
        (1, Folds("all", 0), "has 1 groups .*add labelled images"),
        (5, Folds("all", 5), "has 5 folds, and dataset.fold is 5; expected 0 to 4"),
        (2, Folds(2, 0), "training and validation may not share one"),
    ],
)
def test_folds_that_the_groups_do_not_allow(groups: int, folds: Folds, message: str) -> None:
    dataset = toy(20, group=lambda i: str(i % groups))
    dataset.folds = folds
    with pytest.raises(TooFew, match=message):
        make_splits(dataset, 4, None, seed=0)


def test_folds_of_a_yaml(folder: Path, dataset_yaml) -> None:
    config = dataset_yaml("folder", root=str(folder), folds=4, fold=3, group=r"case\d(\d)")
    dataset = open_dataset(config)
    assert dataset.folds == Folds(4, 3)
    assert len(dataset.test_ids()) in (4, 6)
    phantom = open_dataset(dataset_yaml("phantom", count=12, folds="all", fold=2, ood=[]))
    assert make_splits(phantom, 9, None, seed=0).test == ["lung_source_0002"]


OWN = {"train": ["case03", "case01", "case02"], "validation": ["case00"], "test": ["case09", "case08"]}


def own(folder: Path, dataset_yaml, content: object, **keys: object) -> tuple[Dataset, list[tuple[str, str, str]]]:
    (folder / "mine.json").write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    dataset, findings = scan_dataset(dataset_yaml("folder", root=str(folder), split={"file": "mine.json"}, **keys))
    return dataset, [(finding.code, finding.file, finding.message) for finding in findings]


def test_a_split_of_ones_own_is_taken_as_it_is(folder: Path, dataset_yaml) -> None:
    recorded = OWN | {"sha256": {"case01": "…"}, "dataset": "folder", "root": None}  # as a Run writes it
    dataset, faults = own(folder, dataset_yaml, recorded)
    assert faults == []
    for seed, n in ((0, None), (5, 4), (7, 40)):
        splits = make_splits(dataset, n, None, seed)
        assert (splits.train, splits.validation, splits.test) == tuple(sorted(OWN[part]) for part in OWN)
        assert splits.notes == []
    assert dataset.test_ids() == ["case08", "case09"]
    assert make_splits(dataset, None, 1, 0).test == capped(OWN["test"], 1)


def test_a_split_file_is_found_below_the_root_or_here(folder: Path, tmp_path: Path, dataset_yaml, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.json").write_text(json.dumps(OWN))
    for file in ("here.json", str(tmp_path / "here.json")):
        dataset, findings = scan_dataset(dataset_yaml("folder", root=str(folder), split={"file": file}))
        assert (findings, dataset.test_ids()) == ([], ["case08", "case09"])
    (folder / "here.json").write_text(json.dumps(OWN | {"test": ["case11"]}))
    dataset = open_dataset(dataset_yaml("folder", root=str(folder), split={"file": "here.json"}))
    assert dataset.test_ids() == ["case11"]
    _, (finding,) = scan_dataset(dataset_yaml("folder", root=str(folder), split={"file": "absent.json"}))
    assert finding.code == "unreadable"
    assert f"looked at {folder / 'absent.json'} and {tmp_path / 'absent.json'}" in finding.message


def test_fewer_labelled_images_of_a_split_keep_its_proportion_and_nest(folder: Path, dataset_yaml) -> None:
    ids = [f"case{index:02d}" for index in range(20)]
    parts = {"train": ids[:10], "validation": ids[10:15], "test": ids[15:]}
    dataset, _ = own(folder, dataset_yaml, parts)
    before = None
    for n in range(2, 16):
        splits = make_splits(dataset, n, None, seed=3)
        assert len(splits.train) + len(splits.validation) == n
        assert abs(len(splits.validation) - n / 3) <= 0.5 or n < 3
        assert set(splits.train) <= set(parts["train"])
        assert set(splits.validation) <= set(parts["validation"])
        assert splits.test == parts["test"]
        assert before is None or set(before.train) <= set(splits.train)
        assert before is None or set(before.validation) <= set(splits.validation)
        assert bool(splits.notes) == (n < 15)
        before = splits
    assert make_splits(dataset, 6, None, seed=3).train != make_splits(dataset, 6, None, seed=4).train


def test_every_fault_of_a_split_file_comes_at_once(folder: Path, dataset_yaml) -> None:
    content = {"train": ["case01", "case02", "nobody"], "validation": [], "test": ["case02", "case05", "case05"]}
    _, faults = own(folder, dataset_yaml, content)
    assert faults == [
        (
            "missing_image",
            "mine.json",
            "names cases that are not there: nobody; expected ids of labelled images, such as case00",
        ),
        (
            "unreadable",
            "mine.json",
            "names cases more than once: case02 (train, test) and case05 (test, test); expected each in one part",
        ),
        ("too_few", "mine.json", "names no case for validation; expected one or more in each part"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read .*; expected JSON with the keys train, validation, test, each a list of case ids"),
        ("[" * 100_000, "cannot be read .*; expected JSON"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "cannot be read .*; expected JSON"),
        ("[1]", "it holds no keys"),
        (OWN | {"test": "case01"}, "test: missing, or no list of text"),
        ({"train": [1], "validation": ["case01"]}, "train, test: missing, or no list of text"),
    ],
)
def test_what_is_no_split_file(folder: Path, dataset_yaml, content: object, message: str) -> None:
    _, faults = own(folder, dataset_yaml, content)
    assert [fault[:2] for fault in faults] == [("unreadable", "mine.json")]
    assert re.search(message, faults[0][2])


def test_a_split_file_may_spell_names_in_either_unicode_form(folder: Path, dataset_yaml, write_pair) -> None:
    write_pair(folder, unicodedata.normalize("NFD", "é"))
    dataset, faults = own(folder, dataset_yaml, OWN | {"test": [unicodedata.normalize("NFD", "é")]})
    assert (faults, dataset.test_ids()) == ([], [unicodedata.normalize("NFC", "é")])


def test_groups_in_several_parts_of_a_split_file_are_said(folder: Path, dataset_yaml) -> None:
    dataset, faults = own(folder, dataset_yaml, OWN, group=r"case(\d)")
    assert faults == []
    notes = make_splits(dataset, None, None, seed=0).notes
    assert notes == ["dataset.split.file has cases of one group in several parts (0); scores may flatter"]


def test_real_polyps_split_by_sequence(genseg_data: Path, dataset_yaml) -> None:
    config = dataset_yaml("folder", root=str(genseg_data / "cvc_clinic"), group_starts=CVC_STARTS)
    config.images, config.masks = ["PNG/Original/*.png"], ["PNG/Ground Truth/{stem}.png"]
    dataset = open_dataset(config)
    assert len({case.group for case in dataset.cases}) == 19
    parts = parts_of(dataset, 40, seed=0)
    assert [len(part) for part in parts[:2]] == [32, 8]
    starts = [{max(start for start in CVC_STARTS if start <= int(id)) for id in part} for part in parts]
    assert not (starts[0] & starts[1] | starts[0] & starts[2] | starts[1] & starts[2])
