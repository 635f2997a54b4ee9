"""W&B offline, read back from its own file; online by a stand-in that remembers what it was sent."""

import base64
import hashlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genseg_betty.errors import UserError
from genseg_betty.tracking import Tracker
from tracking.tracked import CASES, TAGS, go_on, list_curves, log_steps, open_run, stop_after
from tracking.wandb_file import read_offline_run

KEY = "0123456789abcdef" * 2 + "01234567"
OFFLINE = {"name": "wandb", "project": "lungs", "group": "of the config", "overlays": 3}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    for name in ("WANDB_MODE", "WANDB_DATA_DIR", "GENSEG_SWEEP"):
        monkeypatch.delenv(name, raising=False)


def test_an_offline_run_holds_all_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("GENSEG_SWEEP", "sizes")
    run = go_on(tmp_path / "run", 0, 40, **OFFLINE)
    found = read_offline_run(run.path)

    # What it is and how it is found.
    started = found.run
    assert (started.project, started.run_group, started.job_type) == ("lungs", "sizes", "genseg")
    assert (list(started.tags), started.display_name, found.exit_code) == (TAGS, "run", 0)
    assert started.run_id == json.loads((run.path / "tracking.json").read_text())["wandb_id"]
    assert (found.config["seed"], found.config["method"]) == (3, {"name": "genseg"})

    # Curves are those of metrics.csv, each step once; α has one picture and no curve.
    assert found.steps == list(range(1, 41))
    for name, points in list_curves(run).items():
        assert found.find_points(name) == points
    assert not [name for row in found.history for name in row if "upconv" in name]
    assert [step for step, _ in found.find_points("alpha")] == [10, 20, 30, 40]
    pictures = found.find_points("synthetic")
    assert [step for step, _ in pictures] == [10, 20, 30, 40]
    with Image.open(found.read_media(pictures[1][1])) as picture:
        assert picture.getpixel((0, 0)) == (20, 0, 0)

    # Scores and best values; numbers that are none are left out.
    expected = {
        "test/phantom/dice": 0.625, "test/other/dice": 0.5, "test/other/ulcer/dice": 0.25, "test/phantom/cases": 4,
        "best/dice": 0.875, "best/step": 30, "n_labelled": 9, "seed": 3,
    }  # fmt: skip
    assert {name: found.summary[name] for name in expected} == expected
    assert "test/phantom/hd95" not in found.summary

    # A point of the curve of sample sizes, and no curve of whatever else is a number.
    points = {name: found.history[-1].get(name) for name in ("n_labelled", "test/phantom/dice", "test/phantom/cases")}
    assert points == {"n_labelled": 9, "test/phantom/dice": 0.625, "test/phantom/cases": None}


def test_an_offline_run_shows_the_cases_and_the_report(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    run = go_on(tmp_path / "run", 0, 10, **OFFLINE)
    found = read_offline_run(run.path)
    rows = found.read_table("cases/phantom")
    assert [(row["id"], row["dice"], row["hd95"]) for row in rows] == [(name, dice, None) for name, dice in CASES]
    shown, files = {}, found.list_table_files("cases/phantom")
    for row in rows:
        if row["overlay"] is not None:
            with Image.open(files[row["overlay"]["path"]]) as picture:
                shown[row["id"]] = np.asarray(picture)[0, 0].tolist()
    assert shown == {name: [ord(name)] * 3 for name in ("b", "c", "d")}  # the worst, one between, the best
    assert [row["hd95"] for row in found.read_table("cases/other")] == [2.0]

    (report,) = [artifact for artifact in found.artifacts.values() if artifact.type == "report"]
    (entry,) = report.manifest.contents
    digest = hashlib.md5((run.path / "report.html").read_bytes()).digest()
    assert (entry.path, entry.digest) == ("report.html", base64.b64encode(digest).decode())
    assert found.run.run_group == "of the config"

    # All of it lies in the Run, and no file there holds the key.
    places = [part.local_path for artifact in found.artifacts.values() for part in artifact.manifest.contents]
    assert all(Path(place).is_relative_to(run.path) for place in places)
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_a_stopped_and_continued_training_is_one_run(tmp_path: Path) -> None:
    """Steps 21 to 25 were made twice; a Run that W&B joins late has its beginning there as well."""
    pytest.importorskip("wandb")
    stop_after(tmp_path / "run", 25, checkpoint=20, **OFFLINE)
    before = read_offline_run(tmp_path / "run")
    assert (before.steps, before.exit_code) == (list(range(1, 26)), 1)
    run = go_on(tmp_path / "run", 20, 40, **OFFLINE)
    found = read_offline_run(run.path)
    assert found.run.run_id == before.run.run_id
    assert found.steps == list(range(1, 41))
    for name, points in list_curves(run).items():
        assert found.find_points(name) == points
    assert [step for step, _ in found.find_points("synthetic")] == [10, 20, 30, 40]
    assert found.exit_code == 0

    stop_after(tmp_path / "late", 25, checkpoint=20, name="csv")
    late = go_on(tmp_path / "late", 20, 40, **OFFLINE)
    assert read_offline_run(late.path).steps == list(range(1, 41))


class StandIn:
    """A run on a server that has the steps before `starting_step`."""

    def __init__(self, starting_step: int) -> None:
        self.starting_step = starting_step
        self.logged: list[tuple[int, list[str]]] = []
        self.finished: list[int] = []
        self.broken = False

    def log(self, values: dict[str, Any], step: int) -> None:
        if self.broken:
            raise ConnectionError("no route")
        self.logged.append((step, list(values)))

    def finish(self, exit_code: int) -> None:
        self.finished.append(exit_code)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    module: Any = ModuleType("wandb")
    module.started = []
    module.run = StandIn(0)

    def init(**arguments: Any) -> StandIn:
        module.started.append(arguments)
        return module.run

    module.init, module.Settings, module.Image = init, SimpleNamespace, lambda pixels: pixels.shape
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_online_what_was_sent_is_not_sent_twice(tmp_path: Path, stand_in: Any) -> None:
    online = {"name": "wandb", "mode": "online"}
    stop_after(tmp_path / "run", 25, checkpoint=20, **online)
    stand_in.run = StandIn(26)
    with open_run(tmp_path / "run", **online) as run, Tracker(run, run.config.logger) as tracker:
        run.drop_metrics_after(20)
        log_steps(run, tracker, range(21, 31))
    first, second = stand_in.started
    assert (first["id"], first["resume"], first["mode"]) == (second["id"], "allow", "online")
    assert [step for step, names in stand_in.run.logged if "joint/generator" in names] == [26, 27, 28, 29, 30]
    assert all(step >= 26 for step, _ in stand_in.run.logged)
    assert stand_in.run.finished == [0]


def test_a_failing_wandb_warns_once_and_the_training_goes_on(tmp_path: Path, stand_in: Any) -> None:
    warnings: list[str] = []
    with open_run(tmp_path / "run", name="wandb") as run:
        tracker = Tracker(run, run.config.logger)
        tracker.warn = warnings.append
        stand_in.run.broken = True
        log_steps(run, tracker, range(1, 21))
        tracker.close()
    assert [row["step"] for row in run.metrics() if row["phase"] == "joint"] == list(range(1, 21))
    (told,) = warnings
    assert told.startswith("W&B failed and is off from here on, metrics.csv goes on: ConnectionError: no route")
    assert stand_in.run.finished == [1]


def test_a_wandb_that_does_not_start_is_told_before_training(tmp_path: Path, stand_in: Any) -> None:
    def init(**_: Any) -> None:
        raise RuntimeError("api_key not configured")

    stand_in.init = init
    with (
        open_run(tmp_path / "run", name="wandb", mode="online") as run,
        pytest.raises(UserError, match=r"mode=online: api_key not configured.*wandb login"),
    ):
        Tracker(run, run.config.logger)
