"""Tracker: metrics.csv always, W&B beside it and never in the way."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from genseg_betty.errors import UserError
from genseg_betty.run import Run
from genseg_betty.tracking import Tracker


class FakeRun:
    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.finished = False
        self.broken = False

    def define_metric(self, *_: Any, **__: Any) -> None:
        pass

    def log(self, values: dict[str, Any]) -> None:
        if self.broken:
            raise ConnectionError("no route")
        self.logged.append(values)

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def fake_wandb(monkeypatch: pytest.MonkeyPatch) -> Any:
    module: Any = ModuleType("wandb")
    module.started = []
    module.run = FakeRun()

    def init(**arguments: Any) -> FakeRun:
        module.started.append(arguments)
        return module.run

    module.init, module.Settings, module.Image = init, SimpleNamespace, lambda path: f"image of {path}"
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


@pytest.fixture
def run(tmp_path: Path) -> Any:
    with Run.start(tmp_path / "run", {"seed": 3, "name": None}) as run:
        yield run


def test_csv_alone_needs_no_other_package(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    tracker = Tracker(run, {"name": "csv"})
    tracker.log(1, "system", {"memory_bytes": 10})
    tracker.image(1, "samples", run.path / "missing.png")
    tracker.close()
    assert run.metrics() == [{"step": 1, "phase": "system", "name": "memory_bytes", "value": 10.0}]


def test_missing_wandb_names_the_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'genseg-betty\[wandb\]'"):
        Tracker(run, {"name": "wandb"})
    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))  # a folder of that name
    with pytest.raises(UserError, match="only a folder"):
        Tracker(run, {"name": "wandb"})


def test_an_unknown_logger_is_refused(run: Run) -> None:
    with pytest.raises(UserError, match="logger=paper: expected csv or wandb"):
        Tracker(run, {"name": "paper"})


def test_wandb_is_offline_and_continues_the_same_run(run: Run, fake_wandb: Any) -> None:
    for step in (5, 6):
        tracker = Tracker(run, {"name": "wandb", "project": "lungs"})
        tracker.log(step, "joint", {"generator": 0.5})
        tracker.image(step, "samples", run.path / "a.png")
        tracker.close()
    first, second = fake_wandb.started
    assert first["id"] == second["id"] == json.loads((run.path / "tracking.json").read_text())["wandb_id"]
    assert (first["mode"], first["project"], first["name"]) == ("offline", "lungs", "run")
    assert first["config"] == {"seed": 3, "name": None}
    assert fake_wandb.run.logged[0] == {"step": 5, "joint/generator": 0.5}
    assert fake_wandb.run.logged[1] == {"step": 5, "samples": f"image of {run.path / 'a.png'}"}
    assert fake_wandb.run.finished
    assert [row["value"] for row in run.metrics()] == [0.5, 0.5]


@pytest.mark.parametrize("stored", ['{"wandb_id": "../../elsewhere"}', '{"wandb_id": ["x"]}', "[1]", "{}"])
def test_what_a_stranger_calls_a_run_of_wandb_is_no_path(stored: str, run: Run, fake_wandb: Any) -> None:
    (run.path / "tracking.json").write_text(stored)
    Tracker(run, {"name": "wandb"}).close()
    assert re.fullmatch(r"[0-9a-f]{16}", fake_wandb.started[0]["id"])


def test_a_failing_wandb_warns_once_and_the_training_goes_on(run: Run, fake_wandb: Any) -> None:
    warnings: list[str] = []
    tracker = Tracker(run, {"name": "wandb"})
    tracker.warn = warnings.append
    fake_wandb.run.broken = True
    for step in range(3):
        tracker.log(step, "joint", {"generator": 0.5})
    tracker.close()
    assert len(run.metrics()) == 3
    assert len(warnings) == 1
    assert "ConnectionError: no route" in warnings[0]


def test_a_wandb_that_does_not_start_is_told_before_training(run: Run, fake_wandb: Any) -> None:
    def init(**_: Any) -> None:
        raise RuntimeError("api_key not configured")

    fake_wandb.init = init
    with pytest.raises(UserError, match=r"mode=online: api_key not configured.*wandb login"):
        Tracker(run, {"name": "wandb", "mode": "online"})


def test_the_real_package_takes_it_all_offline(
    run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    picture = run.samples_dir / "a.png"
    Image.new("L", (4, 4)).save(picture)
    warnings: list[str] = []
    tracker = Tracker(run, {"name": "wandb", "mode": "offline"})
    tracker.warn = warnings.append
    tracker.log(2, "validation", {"dice": 0.5})
    tracker.log(1, "validation", {"dice": 0.4})  # a continued Run may be behind what W&B has seen
    tracker.image(2, "samples", picture)
    tracker.close()
    assert warnings == []
    assert list(run.path.glob("wandb/offline-run-*/run-*.wandb"))
    assert capfd.readouterr().out == ""
