"""Commands that read a Run: killed while they write, with streams that take nothing, of a Run for reading alone."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig
from PIL import Image

from genseg_betty.cli import main
from genseg_betty.errors import UserError
from genseg_betty.files import TEMPORARY
from genseg_betty.inference import evaluate_dataset, evaluate_folders, generate, predict_paths
from genseg_betty.run import Run
from surroundings import KILLED, MOMENTS, call, killed, killed_by_length, with_streams

MakeRun = Callable[..., Run]


@pytest.fixture
def commands(run: Run, data_root: Path, tmp_path: Path) -> dict[str, list[str]]:
    """Each command that writes, by its name; what it writes lies in out/."""
    out, pages = tmp_path / "out", tmp_path / "out" / "pages"
    lone = str(run.path)
    folders = ["--images", str(data_root / "images"), "--masks", str(data_root / "masks")]
    return {
        "predict": ["predict", lone, str(data_root / "images"), "--out", str(out)],
        "generate": ["generate", lone, "--count", "3", "--out", str(out)],
        "evaluate": ["evaluate", lone, *folders],
        "evaluate --json": ["evaluate", lone, *folders, "--json"],
        "report": ["report", lone, "--out", str(pages / "page.html")],
        "data show": ["data", "show", "folder", f"root={data_root}", "--out", str(pages / "sheet.png")],
    }


def read_whole(path: Path) -> None:
    """Raises where a file is half a file."""
    if path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
    elif path.suffix == ".html":
        assert path.read_text().endswith("</html>\n")
    elif path.suffix == ".csv":
        text = path.read_text()
        assert text.endswith("\n")
        assert len({len(row) for row in csv.reader(text.splitlines())}) == 1
    else:
        raise AssertionError(f"what is {path}?")


def visible(*places: Path) -> list[Path]:
    files = [file for place in places for file in place.rglob("*") if file.is_file()]
    return [file for file in files if TEMPORARY not in file.name and file.name != ".lock"]


def products(run: Run, tmp_path: Path) -> list[Path]:
    return visible(tmp_path / "out") + list(run.path.glob("evaluate-*.csv"))


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", ["predict", "generate", "evaluate", "report", "data show"])
def test_killed_at_a_write_no_half_file_is_there(
    name: str, moment: str, commands: dict[str, list[str]], run: Run, tmp_path: Path
) -> None:
    number = {"predict": 2, "generate": 3, "report": 2}.get(name, 1)
    assert call(killed, moment, number, main, commands[name]) == KILLED
    left = products(run, tmp_path)
    for file in left:
        read_whole(file)
    done = number if moment == "after" else number - 1
    assert len(left) == done
    if name == "generate":  # an image first, its mask last
        images, masks = ([file.name for file in left if file.parent.name == part] for part in ("images", "masks"))
        assert set(masks) <= set(images)
        with pytest.raises(UserError, match=r"is not empty .*cut short there, delete the folder"):
            generate(run.path, 3, tmp_path / "out")
        return
    assert call(with_streams, "full", commands[name]) == 0
    hidden = [file for file in [*(tmp_path / "out").rglob(".*"), *run.path.glob(".*")] if TEMPORARY in file.name]
    assert hidden == []


def test_killed_by_the_system_within_a_mask_leaves_none(commands: dict[str, list[str]], tmp_path: Path) -> None:
    assert call(killed_by_length, 40, main, commands["predict"]) < 0
    assert visible(tmp_path / "out") == []


def test_a_generation_killed_before_its_first_pair_begins_again(
    commands: dict[str, list[str]], run: Run, tmp_path: Path
) -> None:
    assert call(killed, "within", 1, main, commands["generate"]) == KILLED
    generate(run.path, 2, tmp_path / "out")
    pairs = [f"{folder}/{number:04}.png" for folder in ("images", "masks") for number in range(2)]
    files = [file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert sorted(files) == sorted([*pairs, "pairs.csv", "sheet.png"])


@pytest.mark.parametrize("streams", ["closed", "full", "broken"])
@pytest.mark.parametrize("name", ["predict", "generate", "evaluate", "evaluate --json", "report", "data show"])
def test_streams_that_take_nothing_end_no_command(
    name: str, streams: str, commands: dict[str, list[str]], run: Run, tmp_path: Path
) -> None:
    lost = name.endswith("--json") and streams == "full"  # a script waits for what was printed
    assert call(with_streams, streams, commands[name]) == int(lost)
    assert products(run, tmp_path)


@pytest.mark.parametrize(("streams", "status"), [("closed", 0), ("full", 1), ("broken", 0)])
@pytest.mark.parametrize("words", [["data", "list"], ["data", "check", "phantom"]])
def test_what_is_only_printed_is_lost_in_silence_unless_a_disk_is_full(
    words: list[str], streams: str, status: int
) -> None:
    assert call(with_streams, streams, words) == status


@pytest.fixture
def for_reading_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A Run on a disk that cannot be written."""
    create = os.open

    def refuse(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if str(path).startswith(str(run.path)) and flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            raise OSError(30, "Read-only file system", str(path))
        return create(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", refuse)
    return run


def test_a_run_for_reading_alone_is_scored_and_used(
    for_reading_alone: Run, config: DictConfig, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, here = for_reading_alone, tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    before = {file: file.stat().st_mtime_ns for file in run.path.rglob("*")}
    with pytest.warns(UserWarning, match="Read-only file system.*the scores of each case are in"):
        found = evaluate_dataset(run.path, config.dataset)
    assert found.per_case == here / f"evaluate-run-folder-{found.per_case.stem[-8:]}.csv"
    assert len(found.per_case.read_text().splitlines()) == 1 + found.cases
    assert json.loads(json.dumps(found.to_dict()))["per_case"] == str(found.per_case)
    assert len(predict_paths(run.path, [data_root / "images"], tmp_path / "masks")) == 6
    generate(run.path, 1, tmp_path / "pairs")
    assert {file: file.stat().st_mtime_ns for file in run.path.rglob("*")} == before


def test_scores_that_can_be_written_nowhere_are_told(
    for_reading_alone: Run, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(for_reading_alone.path)
    with pytest.raises(UserError, match=r"can be written nowhere: .*give the command in a folder of yours"):
        evaluate_folders(for_reading_alone.path, data_root / "images", data_root / "masks")


@pytest.mark.parametrize("name", ["predictor", "generator"])
def test_one_flipped_bit_of_a_checkpoint_is_named(name: str, run: Run, data_root: Path, tmp_path: Path) -> None:
    path = run.path / "checkpoints" / f"{name}.pt"
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    content[len(content) // 2] ^= 1
    path.write_bytes(content.tobytes())
    with pytest.raises(UserError, match=rf"{name}\.pt cannot be read .*Put back a copy"):
        generate(run.path, 1, tmp_path / "out")


def test_damaged_splits_are_named_by_who_needs_them(run: Run, config: DictConfig, tmp_path: Path) -> None:
    file = run.path / "splits.json"
    file.write_text(file.read_text().replace("case_3", "case_7"))
    for use in (lambda: evaluate_dataset(run.path, config.dataset), lambda: generate(run.path, 1, tmp_path / "out")):
        with pytest.raises(UserError, match=r"splits\.json is damaged: .*Put back a copy of it"):
            use()
