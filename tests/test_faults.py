"""Faults of one kind are one line: a count, three examples, the advice once."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genseg_betty.cli import main
from genseg_betty.config import load_dataset_config
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.source.files import Finding, merge_findings
from genseg_betty.errors import UserError
from genseg_betty.faults import list_examples, list_first, merge_alike


@pytest.mark.parametrize(
    ("names", "told"),
    [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c"), ("abcd", "a, b, c and 1 more")],
)
def test_examples(names: str, told: str) -> None:
    assert list_examples(list(names)) == told


@pytest.mark.parametrize(("names", "told"), [("", ""), ("a", "a"), ("abc", "a, b, c"), ("abcd", "a, b, c and 1 more")])
def test_first(names: str, told: str) -> None:
    assert list_first(list(names)) == told


ONE_KIND = [
    ["is 30 x 30 and its image 60 x 60; resize it", "is 31 x 30 and its image 8 x 60; resize it"],
    ["has no mask; expected masks/a.* or masks/a_x.*. Add", "has no mask; expected masks/b.* or masks/b_x.*. Add"],
    ["is the same image as a.png; remove one", "is the same image as scan b.1.tif; remove one"],
    ["cannot be read (no such file: '/x/y z')", "cannot be read (no such file: '/tmp/q')"],
    ["holds 1.5e-3 mm of dir/sub/x.nii.gz: mend it", "holds 2 mm of c.nii.gz: mend it"],
]
OTHERS = [["has no foreground", "has no mask"], ["expected masks/a.png", "expected images or masks/a.png"]]


@pytest.mark.parametrize("messages", ONE_KIND)
def test_names_and_numbers_make_no_other_kind(messages: list[str]) -> None:
    faults = list(zip(("a.png", "scan b.1.png"), messages, strict=True))
    [line] = merge_alike(faults * 20)
    assert line.startswith("40 files (a.png, scan b.1.png, a.png and 37 more); the first: ")
    assert line.endswith(messages[0])


@pytest.mark.parametrize("messages", OTHERS)
def test_other_words_make_another_kind(messages: list[str]) -> None:
    assert merge_alike(list(zip("ab", messages, strict=True))) == [f"a: {messages[0]}", f"b: {messages[1]}"]


def test_equal_messages_are_no_example() -> None:
    assert merge_alike([("a", "is empty"), ("b", "is empty")], "masks") == ["2 masks (a and b): is empty"]
    assert merge_alike([("a", "is empty")]) == ["a: is empty"]
    assert merge_alike([]) == []


def test_codes_stay_apart() -> None:
    files = {"a": "unreadable", "b": "unsafe", "c": "unsafe"}
    findings = [Finding(code, file, "is broken") for file, code in files.items()]
    assert merge_findings(findings) == ["unreadable: a: is broken", "unsafe: 2 files (b and c): is broken"]


def draw(root: Path, numbers: Iterable[int]) -> None:
    for number in numbers:
        for folder, side in (("images", 16), ("masks", 8 + number % 3)):
            (root / folder).mkdir(exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 2, (side, side)).astype(np.uint8) * 255
            Image.fromarray(pixels).save(root / folder / f"p{number}.png")


def check(root: Path, *flags: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["data", "check", "folder", f"root={root}", *flags])
    return int(end.value.code or 0)


def test_forty_masks_of_another_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path, range(40))
    assert check(tmp_path) == 1
    page = capsys.readouterr().out
    [line] = [line for line in page.splitlines() if "size_mismatch" in line]
    assert line.startswith("error: size_mismatch: 40 files (masks/p0.png, masks/p1.png, masks/p10.png and 37 more)")
    assert page.splitlines()[-1].startswith("40 errors, ")
    assert page.splitlines()[-1].endswith("(--all lists every file)")
    assert check(tmp_path, "--all") == 1
    assert capsys.readouterr().out.count("size_mismatch") == 40
    assert check(tmp_path, "--json") == 1
    errors = json.loads(capsys.readouterr().out)["errors"]
    assert len({error["file"] for error in errors if error["code"] == "size_mismatch"}) == 40


def test_a_training_is_told_each_kind_once(tmp_path: Path) -> None:
    draw(tmp_path, range(20))
    for number in range(5):
        (tmp_path / "masks" / f"p{number}.png").unlink()
    (tmp_path / "masks" / "more.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        open_dataset(load_dataset_config("folder", root=tmp_path))
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("6 faults")
    assert [line.split(":")[0].strip() for line in lines[1:3]] == ["missing_mask", "missing_image"]
    assert "5 files (images/p0.png, images/p1.png, images/p2.png and 2 more)" in lines[1]
    command = f"genseg data check folder root={tmp_path} --all"
    assert lines[3:] == [f"every file: {command}, with what else you set of dataset"]
