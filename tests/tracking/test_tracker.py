"""Tracker: metrics.csv always, a service beside it that is given each step once and never gets in the way."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from genseg_betty import tracking
from genseg_betty.errors import UserError
from genseg_betty.tracking import Tracker
from genseg_betty.tracking.alpha_course import AlphaCourse
from genseg_betty.tracking.outcome import choose_shown_cases, select_points, summarise_results
from genseg_betty.tracking.service import Outcome
from genseg_betty.tracking.services import MODULES, find_identity, import_service
from tracking.tracked import RESULTS, go_on, list_curves, log_steps, open_run, stop_after


class Remembering:
    """A service that keeps what it is given."""

    def __init__(self) -> None:
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self.pictures: list[tuple[int, str, Any]] = []
        self.outcome: Outcome | None = None
        self.ends: list[bool] = []

    def log_values(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.curves.setdefault(name, []).append((step, value))

    def log_picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        self.pictures.append((step, name, pixels[0, 0].tolist()))

    def finish(self, outcome: Outcome | None, failed: bool) -> None:
        self.outcome = outcome
        self.ends.append(failed)


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> list[Remembering]:
    """The services of the trainings of a test, in their order."""
    opened: list[Remembering] = []

    def open_one(*_: Any) -> Remembering:
        opened.append(Remembering())
        return opened[-1]

    monkeypatch.setattr(tracking, "open_service", open_one)
    return opened


def test_csv_alone_needs_no_other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*MODULES.values(), "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    run = go_on(tmp_path / "run", 0, 20, name="csv")
    assert list_curves(run)["validation/dice"] == [(10, 0.1), (20, 0.2)]
    assert not (run.path / "tracking.json").exists()


@pytest.mark.parametrize("name", MODULES)
def test_a_missing_package_names_the_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    with pytest.raises(UserError, match=rf"pip install 'genseg-betty\[{name}\]'"):
        import_service(name)
    monkeypatch.setitem(sys.modules, MODULES[name], ModuleType(name))
    with pytest.raises(UserError, match="only a folder"):
        import_service(name)


def test_an_unknown_logger_is_refused() -> None:
    with pytest.raises(UserError, match="logger=paper: expected csv, wandb, tensorboard, mlflow"):
        import_service("paper")


def test_a_continued_training_gives_each_step_once(tmp_path: Path, services: list[Remembering]) -> None:
    """The second service sees what was logged before the checkpoint and after it, and nothing of what was undone."""
    stop_after(tmp_path / "run", 35, checkpoint=20, name="x")
    run = go_on(tmp_path / "run", 20, 40, name="x")
    stopped, found = services
    assert (stopped.outcome, stopped.ends, found.ends) == (None, [True], [False])
    assert found.curves == list_curves(run)
    synthetic = [(step, pixel) for step, name, pixel in found.pictures if name == "synthetic"]
    assert synthetic == [(step, [step, 0, 0]) for step in (10, 20, 30, 40)]
    assert found.outcome is not None
    assert [row["id"] for row in found.outcome.tables["phantom"]] == ["a", "b", "c", "d"]


def test_a_service_that_fails_with_the_past_is_told_once(
    tmp_path: Path, services: list[Remembering], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(tmp_path / "run", 25, checkpoint=20, name="x")

    def fail(*_: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(Remembering, "log_values", fail)
    with pytest.warns(UserWarning, match="ConnectionError: no route") as told:
        run = go_on(tmp_path / "run", 20, 40, name="x")
    assert len(told) == 1
    assert services[1].ends == [True]
    assert [step for step, _ in list_curves(run)["joint/generator"]] == list(range(1, 41))


def test_alphas_are_one_picture_and_no_curve(tmp_path: Path, services: list[Remembering]) -> None:
    go_on(tmp_path / "run", 0, 20, name="x")
    (found,) = services
    assert found.curves["architecture/gradient_norm"] == [(10, 10.0), (20, 20.0)]
    assert "architecture/up.0.upconv_421" not in found.curves
    assert [step for step, name, _ in found.pictures if name == "alpha"] == [10, 20, 20]  # and once more at the end


def test_the_map_of_alphas_has_a_row_for_each_operation() -> None:
    course = AlphaCourse()
    assert course.take_alphas(5, {"up.0.a": 0.0, "gradient_norm": 2.0, "up.0.b": 1.0}) == {"gradient_norm": 2.0}
    assert course.take_alphas(6, {"gradient_norm": 3.0}) == {"gradient_norm": 3.0}
    course.take_alphas(10, {"up.0.a": 0.25, "up.0.b": 0.75})
    assert course.steps == [5, 10]
    np.testing.assert_array_equal(course.list_values(), [[0.0, 0.25], [1.0, 0.75]])

    # Of α = 0 and α = 1 the picture has the ends of viridis.
    picture = course.draw_map()
    colours = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert {(68, 1, 84), (253, 231, 36)} <= colours


def test_cases_from_the_worst_to_the_best_get_a_picture() -> None:
    scores = [0.9, 0.1, 0.5, 0.7, 0.3]
    rows = [{"id": f"case{score}", "dice": score} for score in scores]
    assert choose_shown_cases(rows, "dice", 3) == ["case0.1", "case0.5", "case0.9"]
    assert choose_shown_cases(rows, "dice", 9) == [f"case{score}" for score in sorted(scores)]
    assert choose_shown_cases(rows, "dice", 0) == []


def test_the_summary_has_scores_by_test_set_and_class() -> None:
    assert summarise_results(RESULTS) == {
        "n_labelled": 9, "seed": 3, "iterations": 40, "seconds": 12.5, "best/dice": 0.875, "best/step": 30,
        "test/phantom/dice": 0.625, "test/phantom/cases": 4, "test/other/dice": 0.5, "test/other/cases": 1,
        "test/other/ulcer/dice": 0.25,
    }  # fmt: skip


def test_curves_over_trainings_are_of_the_score_that_counts() -> None:
    points = select_points(summarise_results(RESULTS), "dice")
    assert points == {"n_labelled": 9, "test/phantom/dice": 0.625, "test/other/dice": 0.5}


def test_a_case_that_cannot_be_drawn_costs_no_training(tmp_path: Path, services: list[Remembering]) -> None:
    warnings: list[str] = []

    def fail(*_: str) -> np.ndarray:
        raise UserError("the image is gone")

    with open_run(tmp_path / "run", name="x", overlays=1) as run, Tracker(run, run.config.logger) as tracker:
        tracker.warn = warnings.append
        log_steps(run, tracker, range(1, 3))
        run.write_test("phantom", [{"id": "a", "dice": 0.5}])
        run.write_test("other", [{"id": "b", "dice": 0.5}])
        tracker.add_results(RESULTS, fail)
    (told,) = warnings
    assert "UserError: the image is gone" in told
    assert services[0].ends == [True]


@pytest.mark.parametrize("stored", ['{"wandb_id": "../../elsewhere"}', '{"wandb_id": ["x"]}', "[1]", "{}"])
def test_what_a_stranger_calls_a_run_is_no_path(stored: str, tmp_path: Path) -> None:
    with open_run(tmp_path / "run", name="csv") as run:
        (run.path / "tracking.json").write_text(stored)
        identity = find_identity(run, "wandb")
    assert len(bytes.fromhex(identity)) == 8
    assert json.loads((run.path / "tracking.json").read_text()) == {"wandb_id": identity}
