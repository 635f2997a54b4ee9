"""Pictures of test cases: which are kept, that they are what was scored, and how a page shows them."""

import csv
import hashlib
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genseg_betty.reporting import build_report
from genseg_betty.reporting.panels import COLOURS, CONFUSED, MISSED, RIGHT, SURPLUS, draw_error, find_side
from genseg_betty.reporting.reading import read_record
from genseg_betty.run.pictures import PICTURES, choose_cases
from reporting.pictured import SIZE, DrawnDataset, add_pictures, keep
from reporting.test_page import Page

MakeRun = Callable[..., Path]


def read_rows(file: Path) -> dict[str, float]:
    with file.open(newline="") as table:
        return {row["id"]: float(row["dice"]) for row in csv.DictReader(table)}


# -- which are kept ----------------------------------------------------------------------------------------------------


def test_the_cases_that_are_kept() -> None:
    """By `printf a | sha256sum`: d begins with 18, c with 2e, b with 3e, e with 3f, a with ca."""
    chosen = choose_cases({"a": 0.3, "b": 0.9, "c": 0.1, "d": 0.5, "e": 0.9})
    assert [(case.name, case.id, case.roles) for case in chosen] == [
        ("best", "e", ("best",)),
        ("median", "d", ("median", "common-1")),
        ("worst", "c", ("worst", "common-2")),
        ("common-3", "b", ("common-3",)),
    ]
    assert choose_cases({"x": 0.5, "y": 0.4}) == choose_cases({"y": 0.4, "x": 0.5})
    assert [case.roles for case in choose_cases({"x": 0.5})] == [("best", "median", "worst", "common-1")]
    assert choose_cases({}) == []


def test_runs_that_know_nothing_of_each_other_keep_the_same_cases() -> None:
    """Also where one was tested on fewer cases, as long as these are among them."""
    ids = [f"case-{number}" for number in range(40)]
    smallest = sorted(ids, key=lambda id: hashlib.sha256(id.encode()).hexdigest())[:3]
    for seed, count in ((0, 40), (1, 40), (2, 25)):
        scores = np.random.default_rng(seed).random(count)
        tested = [*smallest, *(id for id in ids if id not in smallest)][:count]
        kept = choose_cases(dict(zip(tested, scores, strict=True)))
        assert {role: case.id for case in kept for role in case.roles if role.startswith("common")} == {
            f"common-{number}": id for number, id in enumerate(smallest, start=1)
        }


def test_a_training_keeps_pictures_of_what_it_scored(real_runs: dict[str, Path]) -> None:
    """Dice of the two masks in the pictures is that in the table of cases."""
    for run in real_runs.values():
        [(test_set, cases)] = json.loads((run / PICTURES).read_text()).items()
        scores = read_rows(run / f"test-{test_set}.csv")
        by_role = {role: scores[case["id"]] for case in cases for role in case["roles"]}
        assert (by_role["best"], by_role["worst"]) == (max(scores.values()), min(scores.values()))
        for case in cases:
            masks = []
            for panel in ("truth", "prediction"):
                with Image.open(run / "samples" / f"test-{test_set}-{case['name']}-{panel}.png") as picture:
                    masks.append(np.asarray(picture) > 0)
            truth, prediction = masks
            total = truth.sum() + prediction.sum()
            dice = 2 * (truth & prediction).sum() / total if total else 1.0
            assert dice == pytest.approx(scores[case["id"]], abs=1e-6)


def test_of_a_volume_the_slice_with_most_foreground(tmp_path: Path) -> None:
    """A large picture is made smaller, and what an earlier test kept is gone."""
    dataset = DrawnDataset(5, 3, 2048)
    (tmp_path / "test-set-common-3-truth.png").touch()
    (tmp_path / "test-set-2-best-truth.png").touch()
    [kept] = keep(tmp_path, "set", [{"id": "a", "dice": 0.5}], dataset)
    mask = dataset.load(type("Case", (), {"id": "a"})).mask  # type: ignore[arg-type]
    assert mask is not None
    areas = [int(part.sum()) for part in mask]
    assert kept["slice"] == areas.index(max(areas))
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "test-set-2-best-truth.png", "test-set-best-image.jpg", "test-set-best-prediction.png",
        "test-set-best-truth.png",
    ]  # fmt: skip
    with Image.open(tmp_path / "test-set-best-image.jpg") as picture:
        assert picture.size == (1024, 2)
    [whole] = keep(tmp_path, "set", [{"id": "b", "dice": 0.5}], DrawnDataset())
    assert whole["slice"] is None
    with Image.open(tmp_path / "test-set-best-image.jpg") as picture:
        assert picture.size == (SIZE, SIZE)


# -- how they are shown ------------------------------------------------------------------------------------------------


def test_errors_pixel_by_pixel() -> None:
    pairs = list(itertools.product(range(3), repeat=2))
    truth = np.array([[left for left, _ in pairs]], np.uint8)
    prediction = np.array([[right for _, right in pairs]], np.uint8)
    drawn = draw_error(truth, prediction).convert("RGB")
    for column, (true, found) in enumerate(pairs):
        kind = 0
        if true and found:
            kind = RIGHT if true == found else CONFUSED
        elif true or found:
            kind = MISSED if true else SURPLUS
        assert drawn.getpixel((column, 0)) == COLOURS[kind]


@pytest.mark.parametrize(("cases", "side"), [(0, 1024), (8, 1024), (9, 512), (32, 512), (33, 256), (129, 128)])
def test_the_more_cases_the_smaller_their_pictures(cases: int, side: int) -> None:
    assert find_side(cases) == side


def test_a_run_shows_its_best_median_and_worst_case(make_run: MakeRun, tmp_path: Path) -> None:
    run = add_pictures(make_run())
    page = Page(build_report([run], tmp_path / "page.html"))
    for test_set in ("nlm_sz", "nlm_mc"):
        scores = read_rows(run / f"test-{test_set}.csv")
        ranked = sorted(scores, key=lambda id: (scores[id], id))
        shown = {"best": ranked[-1], "median": ranked[(len(ranked) - 1) // 2], "worst": ranked[0]}
        for role, id in shown.items():
            assert f"{test_set}, {role} case: {id}, Dice {scores[id]:.3f}" in page.words
            alts = {attributes.get("alt") for tag, attributes in page.tags if tag == "img"}
            assert {f"{panel} of {id}" for panel in ("image", "truth", "prediction", "error")} <= alts
    assert "validation 000450" in page.words  # the pictures of the training stay what they were


def test_methods_are_shown_on_the_same_cases(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [add_pictures(make_run("vanilla")), add_pictures(make_run("genseg", gain=0.03)), make_run("separate")]
    words = " ".join(Page(build_report(runs, tmp_path / "page.html")).words.split())
    part = words[words.index("The same cases") : words.index("Pictures")]
    assert "nlm_sz image truth vanilla genseg" in part  # separate has no pictures, as a Run of an earlier version
    vanilla, genseg = (read_rows(run / "test-nlm_mc.csv") for run in runs[:2])
    drawn = sorted(vanilla, key=lambda id: hashlib.sha256(id.encode()).hexdigest())[:3]
    for id in drawn:
        assert f"{id} {vanilla[id]:.3f} {genseg[id]:.3f}" in part
    alone = " ".join(Page(build_report([runs[0], runs[2]], tmp_path / "page.html")).words.split())
    assert "The same cases" not in alone


@pytest.mark.parametrize("damage", ["gone", "no picture", "link", "other size"])
def test_a_damaged_picture_is_left_out(make_run: MakeRun, tmp_path: Path, damage: str) -> None:
    run = add_pictures(make_run())
    file = run / "samples" / "test-nlm_sz-worst-prediction.png"
    other = file.rename(tmp_path / "other.png")
    if damage == "no picture":
        file.write_text("no picture")
    elif damage == "link":
        file.symlink_to(other)
    elif damage == "other size":
        Image.new("P", (3, 3)).save(file)
    words = Page(build_report([run], tmp_path / "page.html")).words
    assert "nlm_sz, best case" in words
    assert "nlm_sz, worst case" not in words


@pytest.mark.parametrize("content", [
    "[]", "{", '{"nlm_sz": 3, "../x": [{}]}', '{"nlm_sz": [1, {"name": "../../x", "id": "a", "roles": ["best"]}]}',
    '{"nlm_sz": [{"name": "best", "id": "<script>", "roles": ["best"], "slice": {}}]}',
])  # fmt: skip
def test_whatever_the_list_of_pictures_says_a_page_comes_of_it(make_run: MakeRun, tmp_path: Path, content: str) -> None:
    run = add_pictures(make_run())
    (run / PICTURES).write_text(content)
    for case in itertools.chain.from_iterable(read_record(run).pictures.values()):
        assert re.fullmatch(r"\w[\w.+-]*", case.name)
    page = Page(build_report([run, make_run("vanilla")], tmp_path / "page.html"))
    assert "script" not in {tag for tag, _ in page.tags}
