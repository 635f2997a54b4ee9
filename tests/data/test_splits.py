"""Counting, nesting, grouping, and a test part that never moves."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from genseg_betty.data.cases import Case, Dataset, open_dataset
from genseg_betty.data.labels import LabelMap
from genseg_betty.data.splits import TooFew, capped, make_splits, unseen_cases, validation_count
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
    with pytest.raises(UserError, match="expected 1 or more"):
        capped(["a"], 0)


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
