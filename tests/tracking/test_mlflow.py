"""MLflow's run in a folder, read back by MLflow itself."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tracking.tracked import go_on, list_curves, stop_after

pytest.importorskip("mlflow", reason="needs the extra mlflow: pip install 'genseg-betty[mlflow]'")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("GENSEG_SWEEP", "sizes")


def read_runs(store: Path) -> tuple[Any, list[Any]]:
    """A client, and the runs of the experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store.as_uri())
    experiment = client.get_experiment_by_name("lungs")
    return client, list(client.search_runs([experiment.experiment_id]))


def test_a_continued_training_is_one_run_in_a_shared_folder(tmp_path: Path) -> None:
    logger = {"name": "mlflow", "project": "lungs", "dir": str(tmp_path / "store"), "overlays": 2}
    stop_after(tmp_path / "run", 25, checkpoint=20, **logger)
    _, (stopped,) = read_runs(tmp_path / "store")
    assert stopped.info.status == "FAILED"
    run = go_on(tmp_path / "run", 20, 40, **logger)
    client, (found,) = read_runs(tmp_path / "store")
    assert (found.info.run_name, found.info.status, found.data.tags["group"]) == ("run", "FINISHED", "sizes")
    assert found.data.tags["tags"] == "phantom, genseg, strong"
    for name, points in list_curves(run).items():
        history = client.get_metric_history(found.info.run_id, name)
        assert [(metric.step, metric.value) for metric in history] == points
    scores = {name: found.data.metrics[name] for name in ("test/phantom/dice", "test/other/ulcer/dice", "best/dice")}
    assert scores == {"test/phantom/dice": 0.625, "test/other/ulcer/dice": 0.25, "best/dice": 0.875}

    files = Path(found.info.artifact_uri.removeprefix("file://"))
    for name in ("report.html", "test-phantom.csv", "config.yaml"):
        assert (files / name).read_bytes() == (run.path / name).read_bytes()
    assert sorted(path.name for path in (files / "synthetic").iterdir()) == [f"0000{n}0.png" for n in range(1, 5)]
    with Image.open(files / "cases" / "phantom" / "000001.png") as picture:
        assert picture.getpixel((0, 0)) == (ord("d"),) * 3

    # Another Run beside it is another run, and one without a folder named has its own.
    go_on(tmp_path / "other", 0, 1, **logger)
    assert len(read_runs(tmp_path / "store")[1]) == 2
    alone = go_on(tmp_path / "alone", 0, 1, name="mlflow", project="lungs")
    assert len(read_runs(alone.path / "mlruns")[1]) == 1
