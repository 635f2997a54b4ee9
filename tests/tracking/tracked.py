"""A training of some steps without networks, written and tracked as a real one is, and stopped and continued."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from genseg_betty.reporting import build_report
from genseg_betty.run import Run
from genseg_betty.run.names import JOINT_PHASE, VALIDATION_PHASE, AlphaName
from genseg_betty.tracking import Tracker

TAGS = ["phantom", "genseg", "strong"]
CASES = [("a", 0.5), ("b", 0.25), ("c", 0.75), ("d", 1.0)]
RESULTS: dict[str, Any] = {
    "metric": "dice", "iterations": 40, "seed": 3, "n_labelled": 9, "seconds": 12.5,
    "validation": {"best": 0.875, "step": 30, "last": {"dice": 0.5}},
    "test": {
        "phantom": {"dice": 0.625, "cases": 4, "hd95": None, "distance_unit": "px", "classes": {}},
        "other": {"dice": 0.5, "cases": 1, "classes": {"ulcer": {"dice": 0.25}}},
    },
}  # fmt: skip


def open_run(path: Path, **logger: Any) -> Run:
    """A Run of a small config; it goes on if it is there."""
    sections = {"dataset": {"name": "phantom"}, "method": {"name": "genseg"}, "trainer": {"iterations": 40}}
    return Run.start(path, {"seed": 3, "name": None, "logger": logger, **sections})


def log_steps(run: Run, tracker: Tracker, steps: Iterable[int]) -> None:
    """What a training logs at these steps: a loss, and at each tenth step scores, α, pictures."""
    for step in steps:
        tracker.log(step, JOINT_PHASE, {"generator": 1 / step})
        if step % 10 == 0:
            tracker.log(step, VALIDATION_PHASE, {"dice": step / 100})
            tracker.log(step, "architecture", {"up.0.upconv_421": step / 100, "gradient_norm": float(step)})
            path = run.samples_dir / f"synthetic-{step:06d}.png"
            Image.new("RGB", (4, 3), (step, 0, 0)).save(path)
            tracker.image(step, "synthetic", path)
            tracker.show_alphas(step)


def stop_after(path: Path, last: int, checkpoint: int, **logger: Any) -> None:
    """Train until a step beyond the checkpoint, and stop without an end."""
    with open_run(path, **logger) as run:
        tracker = Tracker(run, run.config.logger, TAGS)
        log_steps(run, tracker, range(1, last + 1))
        run.save_checkpoint("last", {"step": checkpoint})
        tracker.close(failed=True)


def go_on(path: Path, checkpoint: int, last: int, **logger: Any) -> Run:
    """Go on from the checkpoint to the end, tests and report among it."""
    with open_run(path, **logger) as run, Tracker(run, run.config.logger, TAGS) as tracker:
        assert run.resuming == bool(checkpoint)
        run.drop_metrics_after(checkpoint)
        log_steps(run, tracker, range(checkpoint + 1, last + 1))
        end_training(run, tracker)
    return run


def end_training(run: Run, tracker: Tracker) -> None:
    run.write_test("phantom", [{"id": name, "dice": dice, "hd95": None} for name, dice in CASES])
    run.write_test("other", [{"id": "e", "dice": 0.5, "hd95": 2.0}])
    run.write_json("results.json", RESULTS)
    build_report([run.path], run.path / "report.html")
    tracker.add_results(RESULTS, draw_case)


def draw_case(test_set: str, case: str) -> np.ndarray:
    """A picture of one colour, by which the case is known."""
    return np.full((4, 4, 3), ord(case), dtype=np.uint8)


def list_curves(run: Run) -> dict[str, list[tuple[int, float]]]:
    """Name -> points of all that metrics.csv has, without α."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in run.metrics():
        name = f"{row['phase']}/{row['name']}"
        if AlphaName.parse_metric(row["name"]) is None:
            curves.setdefault(name, []).append((row["step"], row["value"]))
    return curves
