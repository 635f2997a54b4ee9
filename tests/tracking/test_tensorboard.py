"""TensorBoard's event file, read back by TensorBoard itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracking.tracked import go_on, list_curves, stop_after

pytest.importorskip("tensorboard", reason="needs the extra tensorboard: pip install 'genseg-betty[tensorboard]'")


def read_events(path: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(path / "tensorboard"), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    return found.Reload()


def test_a_continued_training_is_one_set_of_curves(tmp_path: Path) -> None:
    stop_after(tmp_path / "run", 25, checkpoint=20, name="tensorboard", overlays=2)
    run = go_on(tmp_path / "run", 20, 40, name="tensorboard", overlays=2)
    found = read_events(run.path)
    curves = list_curves(run)
    for name, points in curves.items():
        events = found.Scalars(name)
        assert [event.step for event in events] == [step for step, _ in points]
        np.testing.assert_allclose([event.value for event in events], [value for _, value in points], rtol=1e-6)
    others = {"test/phantom/dice": 0.625, "best/dice": 0.875, "test/other/ulcer/dice": 0.25}
    for name, value in others.items():
        (event,) = found.Scalars(name)
        assert (event.step, event.value) == (40, value)
    pictures = found.Tags()["images"]
    assert {"alpha", "synthetic", "cases/phantom/b", "cases/phantom/d", "cases/other/e"} == {*pictures}
    assert [event.step for event in found.Images("synthetic")] == [10, 20, 30, 40]
    assert len(list(run.path.glob("tensorboard/*"))) == 1
