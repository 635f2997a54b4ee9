"""Weights & Biases: a run with the training's numbers and pictures, and in the end its scores, cases and report.

W&B cannot go on with an offline run: each start with its id makes another folder, and `wandb sync` would send the steps
of both. So a Run has one such folder, and a Run that goes on writes it anew, from metrics.csv.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from genseg_betty.errors import UserError
from genseg_betty.run import Run
from genseg_betty.tracking.service import Outcome, Row, find_sweep_name

FOLDER = "wandb"
STAGING = "WANDB_DATA_DIR"
"""The environment variable that says where W&B lays the files of tables until they are sent."""
PATIENCE = 600
"""Seconds that the end of a training waits for W&B to take what is left."""
LONGEST_TAG = 64


class WandbService:
    """A run of W&B with one id, whatever was killed and resumed.

    Online it goes on where W&B says that it is; what W&B has already is not sent twice.
    """

    def __init__(
        self, package: ModuleType, run: Run, config: Mapping[str, Any], tags: Sequence[str], identity: str
    ) -> None:
        self._package = package
        self._folder = run.path / FOLDER
        self._identity = identity
        self._step = 0
        mode = config.get("mode") or "offline"
        if mode == "offline":
            _remove_offline_runs(self._folder)
        try:
            self._wandb = _start_run(package, run, {**config, "mode": mode}, tags, identity)
        except Exception as error:
            raise UserError(
                f"W&B did not start with logger.mode={mode}: {error}. Log in with `wandb login`, "
                "or use logger.mode=offline or logger=csv."
            ) from error
        self._first: int = self._wandb.starting_step  # W&B has the steps before it

    def log_values(self, step: int, values: Mapping[str, float]) -> None:
        self._step = max(step, self._first)
        if step >= self._first:
            self._wandb.log(dict(values), step=step)

    def log_picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        if step >= self._first:
            self._wandb.log({name: self._package.Image(pixels)}, step=step)

    def finish(self, outcome: Outcome | None, failed: bool) -> None:
        if outcome is not None:
            with _staged_below(self._folder):
                self._log_outcome(outcome)
        self._wandb.finish(exit_code=int(failed))

    def _log_outcome(self, outcome: Outcome) -> None:
        for test_set, rows in outcome.tables.items():
            table = self._make_table(rows, outcome.overlays[test_set])
            self._wandb.log({f"cases/{test_set}": table}, step=self._step)
        self._wandb.log(outcome.points, step=self._step)
        self._wandb.summary.update(outcome.summary)
        report = self._package.Artifact(f"report-{self._identity}", type="report")
        report.add_file(str(outcome.report), policy="immutable", skip_cache=True)
        self._wandb.log_artifact(report)

    def _make_table(self, rows: Sequence[Row], overlays: Mapping[str, np.ndarray]) -> Any:
        """A row for each case, and beside its scores its picture, if it has one."""
        columns = list(rows[0])
        table = self._package.Table(columns=[*columns, "overlay"])
        for row in rows:
            pixels = overlays.get(row["id"])
            picture = None if pixels is None else self._package.Image(pixels)
            values = [row[column] for column in columns]
            table.add_data(*values, picture)
        return table


def _start_run(package: ModuleType, run: Run, config: Mapping[str, Any], tags: Sequence[str], identity: str) -> Any:
    """Start the run, or go on with it online. Raises whatever W&B raises."""
    settings = package.Settings(
        console="off",
        quiet=True,
        finish_timeout=PATIENCE,
        reinit="create_new",  # a run of the user's own, or of another cell, stays what it is
        # Nothing of the machine, of git remotes or of the command line, any of which may hold a password.
        x_disable_meta=True,
        x_disable_machine_info=True,
        disable_git=True,
        save_code=False,
        x_save_requirements=False,
    )
    return package.init(
        project=config.get("project") or "genseg",
        entity=config.get("entity"),
        mode=config["mode"],
        id=identity,
        resume="allow" if config["mode"] == "online" else None,
        name=run.config.get("name") or run.path.name,
        group=find_sweep_name(config),
        job_type=(run.config.get("method") or {}).get("name"),
        tags=[tag[:LONGEST_TAG] for tag in tags],
        dir=str(run.path),
        config=OmegaConf.to_container(run.config),
        settings=settings,
    )


def _remove_offline_runs(folder: Path) -> None:
    """Delete what this Run has written before, all of which is written anew."""
    if folder.is_symlink():
        return
    for old in [*folder.glob("offline-run-*"), folder / "artifacts"]:
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _staged_below(folder: Path) -> Iterator[None]:
    """Let W&B lay the files of tables into the Run, unless the user has named a place for them."""
    if STAGING in os.environ:
        yield
        return
    os.environ[STAGING] = str(folder)
    try:
        yield
    finally:
        del os.environ[STAGING]
