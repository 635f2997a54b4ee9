"""MLflow: a run in a folder, the Run's own mlruns/ or the one that `logger.dir` names, where Runs are compared.

A resumed training goes on in its run. MLflow tells the last step of each metric, and what it has is not logged twice.
"""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from genseg_betty.errors import UserError
from genseg_betty.run import Run
from genseg_betty.tracking.service import Outcome, find_sweep_name

FOLDER = "mlruns"
SETTINGS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # recent versions want to be told that a folder is meant, no database
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
IDENTITY = "genseg_id"
"""The tag by which the run of a Run is found again."""
FILES = ("config.yaml", "results.json", "report.html")
"""Of the Run, kept as artifacts."""


class MLflowService:
    """Writes as the training goes on."""

    def __init__(
        self, package: ModuleType, run: Run, config: Mapping[str, Any], tags: Sequence[str], identity: str
    ) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        self._package = package
        self._run = run
        self._step = 0
        folder = config.get("dir")
        store = Path(folder).expanduser().resolve() if folder else run.path / FOLDER
        if not folder and not run.resuming and not store.is_symlink():
            shutil.rmtree(store, ignore_errors=True)
        try:
            self._client: Any = package.MlflowClient(tracking_uri=store.as_uri())
            self._id = self._open_run(config, tags, identity)
            self._sent = self._find_last_steps()
        except Exception as error:
            raise UserError(
                f"MLflow did not start in {store}: {error}. Name another folder with logger.dir=…, or use logger=csv."
            ) from error

    def log_values(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        now = int(1000 * time.time())
        metrics = []
        for name, value in values.items():
            if step > self._sent.get(name, -1):
                metrics.append(self._package.entities.Metric(name, value, now, step))
        self._client.log_batch(self._id, metrics=metrics)

    def log_picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """A picture of a step that has one is replaced."""
        self._client.log_image(self._id, pixels, artifact_file=f"{name}/{step:06d}.png")

    def finish(self, outcome: Outcome | None, failed: bool) -> None:
        if outcome is not None:
            self._sent = {}  # scores may be those of a longer training
            self.log_values(self._step, outcome.summary)
            for test_set, overlays in outcome.overlays.items():
                for number, pixels in enumerate(overlays.values()):
                    self.log_picture(number, f"cases/{test_set}", pixels)
            tables = [path.name for path in self._run.path.glob("test-*.csv")]
            for name in [*FILES, *tables]:
                self._client.log_artifact(self._id, str(self._run.path / name))
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")

    def _open_run(self, config: Mapping[str, Any], tags: Sequence[str], identity: str) -> str:
        """The id of this Run's run: the one that it has, or a new one."""
        name = config.get("project") or "genseg"
        experiment = self._client.get_experiment_by_name(name)
        place = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        found = self._client.search_runs([place], f"tags.{IDENTITY} = '{identity}'")
        if found:
            known: str = found[0].info.run_id
            self._client.update_run(known, status="RUNNING")
            return known
        given = {IDENTITY: identity, "tags": ", ".join(tags), "group": find_sweep_name(config) or ""}
        label = self._run.config.get("name") or self._run.path.name
        new: str = self._client.create_run(place, tags=given, run_name=label).info.run_id
        return new

    def _find_last_steps(self) -> dict[str, int]:
        """Name of a metric -> the last step that MLflow has of it."""
        last = {}
        for name in self._client.get_run(self._id).data.metrics:
            history = self._client.get_metric_history(self._id, name)
            last[name] = max(metric.step for metric in history)
        return last
