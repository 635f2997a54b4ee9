"""Regular expressions on file names: what they find, and that none goes on for ever."""

import time
from pathlib import Path

import pytest
from PIL import Image

from genseg_betty.config import load_dataset_config
from genseg_betty.data.cases import scan_dataset
from genseg_betty.data.source.expressions import ENDLESS, capture
from genseg_betty.errors import UserError

NAMES = ["images/P07_1.png", "images/ä b_2.png", "none"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"(P\d+)_", ["P07", None, None]),
        (r"((?:[^/]+/)+)", ["images/", "images/", None]),
        (r"/(.*)_.*", ["P07", "ä b", None]),
        (r"(?:x(a))?n", [None, None, None]),
        (r"(?:(?:(?:a+)+)+|(.*)_.*)", ["images/P07", "images/ä b", None]),
    ],
)
def test_the_first_parenthesis_is_found(pattern: str, found: list[str | None]) -> None:
    assert capture("group", pattern, NAMES) == found


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"((a|a)*)$", r"(.*.*.*.*.*.*.*)=", r"(?:(\w+\s?)+)="])
def test_an_expression_that_takes_endless_ways_is_stopped(pattern: str) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match=r"dataset\.group=.* still at work on 1 file names after 0\.5 s; a repetition"):
        capture("group", pattern, ["a" * 200 + "!"], seconds=0.5)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("pattern", [r"(P\d+)_", r"^(\w+)-(\d+)", r"(.+)_x", r"[^/]*/(.*)\.png"])
def test_usual_expressions_need_no_process(pattern: str) -> None:
    assert not ENDLESS.search(pattern)


def test_groups_and_stems_go_through_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / folder / f"{'a' * 60}!.png")
    monkeypatch.setattr("genseg_betty.data.source.expressions.capture.__defaults__", (0.5,))
    for keys in (["group='(a+)+$'"], ["stem='(a+)+$'"]):
        with pytest.raises(UserError, match="still at work"):
            scan_dataset(load_dataset_config("folder", root=tmp_path, overrides=keys))
