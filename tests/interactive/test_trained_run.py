"""What a Python program gets of a training."""

import subprocess
import sys
from pathlib import Path

import pytest

import genseg_betty as gs
from genseg_betty.interactive import TrainedRun
from genseg_betty.run import Run

CONFIG = {
    "method": {"name": "vanilla"},
    "dataset": {"name": "scans", "n_labelled": 9},
    "backbone": {"name": "unet"},
    "seed": 3,
    "trainer": {"iterations": 2},
}


@pytest.fixture
def trained(tmp_path: Path) -> TrainedRun:
    """A Run of two steps, as a training leaves it."""
    with Run.start(tmp_path / "run", CONFIG) as run:
        run.log(1, "segmentation", {"segmenter": 0.75})
        run.log(2, "segmentation", {"segmenter": 0.5})
        run.log(2, "validation", {"dice": 0.625})
        run.write_json("results.json", {"test": {"scans": {"dice": 0.8125, "jaccard": 0.6875, "cases": 4}}})
        run.status("finished", step=2)
    return TrainedRun.open(run.path)


def test_results_are_those_of_the_file(trained: TrainedRun) -> None:
    assert trained.results["test"]["scans"]["dice"] == 0.8125


def test_a_run_without_results_has_none(tmp_path: Path) -> None:
    with Run.start(tmp_path / "run", CONFIG) as run:
        run.status("interrupted", step=1)
    begun = TrainedRun.open(run.path)
    assert begun.results == {}
    assert list(begun.history) == []
    with pytest.raises(gs.UserError, match="has logged nothing yet"):
        begun.figure("curves")


def test_history_gives_a_metric_over_its_steps(trained: TrainedRun) -> None:
    history = trained.history
    assert history.names == ["segmentation/segmenter", "validation/dice"]
    assert history["segmentation/segmenter"] == {1: 0.75, 2: 0.5}
    assert history[0] == {"step": 1, "phase": "segmentation", "name": "segmenter", "value": 0.75}
    assert len(history) == 3
    assert len(history[1:]) == 2


def test_a_metric_that_was_not_logged_is_told_with_those_that_were(trained: TrainedRun) -> None:
    with pytest.raises(gs.UserError, match=r"validation/dise.*segmentation/segmenter, validation/dice"):
        trained.history["validation/dise"]


def test_a_notebook_shows_scores_and_history(trained: TrainedRun) -> None:
    shown = trained._repr_html_()
    assert "0.812" in shown
    assert "scans" in shown
    assert "0.688" in shown
    assert "0.625" in trained.history._repr_html_()
    assert "finished" in repr(trained)


@pytest.mark.parametrize(("suffix", "beginning"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_curves_are_saved_in_each_format(trained: TrainedRun, tmp_path: Path, suffix: str, beginning: bytes) -> None:
    drawing = trained.figure("curves")
    first = drawing.save(tmp_path / f"first.{suffix}")
    second = drawing.save(str(tmp_path / f"second.{suffix}"))
    assert first.read_bytes().startswith(beginning)
    assert first.read_bytes() == second.read_bytes()


def test_figures_that_do_not_exist_are_refused(trained: TrainedRun, tmp_path: Path) -> None:
    with pytest.raises(gs.UserError, match="expected one of curves"):
        trained.figure("curve")
    with pytest.raises(gs.UserError, match=r"expected one of these suffixes"):
        trained.figure().save(tmp_path / "curves.jpeg")
    with pytest.raises(gs.UserError, match="cannot be written"):
        trained.figure().save(tmp_path / "no folder" / "curves.svg")


def test_curves_show_the_score_and_the_loss(trained: TrainedRun) -> None:
    drawn = trained.figure()._repr_svg_()
    assert "Validation" in drawn
    assert "Segmentation loss (stage II)" in drawn


def test_report_takes_paths_as_text(trained: TrainedRun, tmp_path: Path) -> None:
    page = gs.report([str(trained.path)], str(tmp_path / "page.html"))
    assert page == tmp_path / "page.html"
    assert page.read_bytes().startswith(b"<!DOCTYPE html>")


def test_the_package_is_light_to_import() -> None:
    heavy = "import sys, genseg_betty; print([name for name in ('torch', 'numpy', 'hydra') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"
