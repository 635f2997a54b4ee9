"""method=nnunet from config to report, with stand-ins for nnU-Net's three commands."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genseg_betty import train
from genseg_betty.config import compose
from genseg_betty.errors import ConfigError, Interrupted, UserError
from genseg_betty.inference import load
from genseg_betty.methods import nnunet
from genseg_betty.nnunet.budget import choose_budget
from genseg_betty.nnunet.project import Project
from genseg_betty.nnunet.training_log import TrainingLog
from genseg_betty.reporting import build_report
from genseg_betty.reporting.reading import read_record
from nnunet.pairs import write_pictures

PLAN = {"configurations": {"2d": {"batch_size": 13, "patch_size": [48, 64], "architecture": {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
}}}}  # fmt: skip
LINES = """\
2026-01-01 00:00:00: Epoch 0
update 10
2026-01-01 00:00:01: train_loss -0.125
2026-01-01 00:00:01: val_loss nan
2026-01-01 00:00:01: Pseudo dice [np.float32(nan)]
2026-01-01 00:00:01: Epoch time: 1.0 s
2026-01-01 00:00:01: Epoch 1
2026-01-01 00:00:02: train_loss -0.5
2026-01-01 00:00:02: val_loss -0.25
2026-01-01 00:00:02: Epoch time: 1.0 s
"""


class StandIn:
    """What nnU-Net's commands do, in files: each validation image predicted rightly, each test image empty."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.called: list[str] = []
        self.fails: Exception | Interrupted | None = None
        monkeypatch.setattr(nnunet, "require_nnunet", lambda: "2.8.1")
        monkeypatch.setattr(Project, "plan_training", lambda project: self.plan(project))
        monkeypatch.setattr(Project, "train_network", lambda project, *given: self.train(project, *given))
        monkeypatch.setattr(Project, "predict_tests", lambda project: self.predict(project))

    def plan(self, project: Project) -> None:
        self.called.append("plan")
        project.plans.write_text(json.dumps(PLAN), encoding="utf-8")

    def train(self, project: Project, continuing: bool, follow: Callable[[str], object]) -> None:
        self.called.append("continue" if continuing else "train")
        for line in LINES.splitlines(keepends=True):
            follow(line)
        if self.fails:
            raise self.fails
        (fold,) = json.loads((project.plans.parent / "splits_final.json").read_text(encoding="utf-8"))
        project.validation.mkdir(parents=True)
        for name in fold["val"]:
            labels = project.root / "nnUNet_raw" / project.name / "labelsTr"
            shutil.copy(labels / f"{name}.png", project.validation)
        (project.validation / "summary.json").write_text("{}", encoding="utf-8")

    def predict(self, project: Project) -> None:
        self.called.append("predict")
        project.predictions.mkdir(parents=True)
        for path in (project.root / "nnUNet_raw" / project.name / "imagesTs").iterdir():
            empty = np.zeros_like(np.asarray(Image.open(path)))
            Image.fromarray(empty).save(project.predictions / path.name.replace("_0000", ""))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(monkeypatch)


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    write_pictures(tmp_path / "data", 9)
    return [
        "method=nnunet", "dataset=folder", f"dataset.root={tmp_path / 'data'}", "dataset.n_labelled=5", "device=cpu",
        "trainer.iterations=300", f"run_dir={tmp_path / 'run'}",
    ]  # fmt: skip


def test_a_run_of_nnunet_is_a_run(stand_in: StandIn, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run = train([*words, "trainer=quick"])
    assert stand_in.called == ["plan", "train", "predict"]
    results = run.read_results()
    assert (results["iterations"], results["n_train"], results["n_validation"]) == (300, 4, 1)
    assert results["validation"] == {"best": 1.0, "step": 300, "last": {"dice": 1.0, "jaccard": 1.0}}
    assert results["test"]["folder"]["dice"] == 0.0
    told = "300 updates in 2 epochs (budget equal), 13 patches of 48×64 a step"
    assert results["budget"] == told
    assert results["nnunet"]["patch_size"] == [48, 64]
    assert told in (run.path / "report.html").read_text(encoding="utf-8")
    assert read_record(run.path).state == "finished"
    rows = [(row["step"], row["value"]) for row in run.metrics() if row["name"] == "segmenter"]
    assert rows == [(250, -0.125), (300, -0.5)]
    screen = capsys.readouterr().err
    assert "nnunet: a network, augmentation and training of its own, on folder" in screen
    assert "other networks than usual" not in screen


def test_the_row_of_a_comparison_says_the_budget(stand_in: StandIn, words: list[str], tmp_path: Path) -> None:
    paths = []
    for seed in (0, 1):
        paths.append(train([*words, f"seed={seed}", f"run_dir={tmp_path / str(seed)}"]).path)
    page = tmp_path / "page.html"
    build_report(paths, page)
    told = "nnU-Net · 5 of folder · seeds 0, 1 · 300 updates in 2 epochs (budget equal), 13 patches of 48×64 a step"
    assert told in page.read_text(encoding="utf-8")


def test_nnunet_goes_on_where_it_was_stopped(stand_in: StandIn, words: list[str]) -> None:
    stand_in.fails = Interrupted(2)
    with pytest.raises(Interrupted):
        train(words)
    stand_in.fails = None
    run = train(words)
    assert stand_in.called == ["plan", "train", "continue", "predict"]
    steps = [row["step"] for row in run.metrics() if row["name"] == "segmenter"]
    assert steps == [250, 300]  # those of the first try are dropped
    assert train(words).read_results() == run.read_results()
    assert len(stand_in.called) == 4  # it is finished
    with pytest.raises(UserError, match=r"for 300 updates.*cannot be prolonged to 500"):
        train([*words, "trainer.iterations=500"])
    assert train(words).read_results() == run.read_results()  # the refusal has changed nothing


def test_a_restart_begins_with_new_files(stand_in: StandIn, words: list[str], tmp_path: Path) -> None:
    train(words)
    stale = tmp_path / "run" / "nnUNet_raw" / "Dataset001_folder" / "imagesTr" / "stale_0000.png"
    stale.touch()
    other = tmp_path / "run" / "nnUNet_raw" / "Dataset002_mine"
    other.mkdir()
    train([*words, "resume=restart", "seed=1"])
    assert not stale.exists()
    assert other.exists()
    assert stand_in.called == ["plan", "train", "predict"] * 2


def test_budgets() -> None:
    """nnU-Net's own is 1000 epochs of 250 updates by its own trainer."""
    own, equal = choose_budget("own", None, 5), choose_budget("equal", None, 501)
    assert (own.updates, own.epochs, own.trainer) == (250_000, 1000, "nnUNetTrainer")
    assert (equal.updates, equal.epochs, equal.trainer) == (501, 3, "nnUNetTrainerEqualUpdates")
    short = choose_budget("own", 2, 5)
    assert (short.updates, short.epochs, short.trainer) == (500, 2, "nnUNetTrainerEqualUpdates")
    with pytest.raises(UserError, match=r"trainer\.iterations=0 gives nnU-Net no update"):
        choose_budget("equal", None, 0)


def test_its_own_budget_is_finished_whatever_iterations_say(stand_in: StandIn, words: list[str]) -> None:
    run = train([*words, "method.budget=own"])
    assert run.read_results()["iterations"] == 250_000
    train([*words, "method.budget=own"])
    assert len(stand_in.called) == 3
    assert read_record(run.path).state == "finished"


def test_wrong_keys_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        compose(["method=nnunet", "method.budget=half", "method.epochs=0", "method.resize=maybe"])
    told = str(caught.value)
    assert all(key in told for key in ("method.budget=half", "method.epochs=0", "method.resize=maybe"))


def test_the_log_of_a_training_that_goes_on() -> None:
    """It begins at its checkpoint's epoch; the last epoch is shorter."""
    log = TrainingLog(updates=600, full_epoch=250)
    seen = []
    for line in ("Using device: cpu\n", "x: Epoch 2\n", "update 510\n", "x: train_loss -0.5\n", "x: Epoch time: 3 s\n"):
        seen.append((log.read_line(line), log.started, log.done))
    assert seen == [(False, None, 0), (False, 2, 500), (False, 2, 510), (False, 2, 510), (True, 2, 600)]
    assert log.losses == {"train_loss": -0.5}


def test_the_command_of_a_strangers_run_is_quoted(stand_in: StandIn, words: list[str]) -> None:
    """What its checkpoint says stands in a line that the user may paste into a shell."""
    run = train(words)
    with pytest.raises(UserError, match=r"nnUNetv2_predict -i IMAGES -o MASKS -d Dataset001_folder -c 2d -f 0 -tr nnU"):
        load(run.path)
    run.save_checkpoint("predictor", {"nnunet": ["-d", "x; touch here"]})
    with pytest.raises(UserError, match=r"MASKS -d 'x; touch here'$"):
        load(run.path)
