"""A Run: one directory on disk that holds all there is to know about one training.

Everything but the appended metrics.csv is written to a temporary name and then renamed. PyTorch is imported where
checkpoints are: to say that there is no Run in a directory takes none.
"""

import csv
import io
import json
import os
import pickle
import platform
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from omegaconf import DictConfig, OmegaConf

from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, to_json, whole_lines
from genseg_betty.run.lock import LOCK, Lock
from genseg_betty.run.resume import STATES, prepare, read_config, resolve

METRIC_COLUMNS = ("step", "phase", "name", "value")


class Run:
    """One training on disk: its directory, its resolved config, and whether it continues from a checkpoint.

    `step` everywhere counts through the whole training and never falls, or a resume could not tell old rows.
    """

    def __init__(self, path: Path, config: DictConfig, resuming: bool = False, lock: Lock | None = None) -> None:
        self.path = path
        self.config = config
        self.resuming = resuming
        self._lock = lock
        self._metrics: IO[str] | None = None

    @classmethod
    def start(
        cls,
        path: str | Path,
        config: Mapping[str, Any] | DictConfig,
        resume: str = "auto",
        before_continuing: Callable[["Run"], None] | None = None,
    ) -> Self:
        """Lock the directory and begin or continue a training there.

        `auto` continues from checkpoints/last.pt if the config agrees, and starts anew where a killed run
        left no checkpoint; `never` wants an empty directory; `restart` deletes the Run's own files first.
        A larger `trainer.iterations` than before prolongs the Run; a smaller one is a difference like others.
        `before_continuing` is called before anything of a Run that goes on is written, and may refuse.
        Raises UserError if the directory is in use, not a Run, or its config differs (every key is named).
        """
        path = Path(path).expanduser().resolve()
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = Lock(path / LOCK)
            lock.acquire()
        except OSError as error:
            raise UserError(f"cannot write to the run directory {path}: {error.strerror}") from error
        try:
            resolved = resolve(config)
            resuming = prepare(path, resolved, resume)
            run = cls(path, resolved, resuming, lock)
            if resuming and before_continuing is not None:
                before_continuing(run)
            if not resuming:
                run.status("running", step=0)  # first of all files: it marks the directory as a Run's
            atomic_write(path / "config.yaml", OmegaConf.to_yaml(resolved).encode())
        except BaseException:
            lock.release()
            raise
        return run

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """An existing Run, to read: takes no lock. Raises UserError if there is none."""
        path = Path(path).expanduser().resolve()
        return cls(path, read_config(path))

    def status(self, state: str, step: int | None = None, message: str = "") -> None:
        """Write status.json; without `step` the one last written stays."""
        if state not in STATES:
            raise ValueError(f"state {state!r}: expected one of {STATES}")
        step = self.read_status().get("step", 0) if step is None else step
        now = datetime.now(UTC).isoformat(timespec="seconds")
        status = {"state": state, "step": step, "message": message, "pid": os.getpid()}
        self.write_json("status.json", {**status, "host": platform.node(), "updated": now})

    def read_status(self) -> dict[str, Any]:
        """What status.json says; {} where there is none."""
        return self.read_json("status.json") or {}

    def save_checkpoint(self, name: str, state: dict[str, Any]) -> Path:
        """Write checkpoints/<name>.pt. `state`: tensors, numbers, strings and containers of them."""
        import torch

        path = self._inside("checkpoints", f"{name}.pt")
        path.parent.mkdir(exist_ok=True)
        atomic_write(path, lambda file: torch.save(state, file))
        return path

    def load_checkpoint(self, name: str, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any] | None:
        """The state of checkpoints/<name>.pt, or None if there is none. UserError if the file is damaged.

        With `mmap` tensors are read when they are looked at: for what else the file says, however large it is.
        """
        import torch

        path = self._inside("checkpoints", f"{name}.pt")
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location=map_location, mmap=mmap, weights_only=True)
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
            reason = str(error).strip().split("\n")[0]
            raise UserError(
                f"the checkpoint {path} cannot be read ({reason}): the file is damaged, or not ours. Put "
                "back a copy of it, or train again with resume=restart."
            ) from error

    def log(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        """Append one row per value to metrics.csv. Equal floats give equal bytes."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows((step, phase, name, repr(float(value))) for name, value in values.items())
        if self._metrics is None:
            self._metrics = (self.path / "metrics.csv").open("a", encoding="utf-8", newline="")
            if self._metrics.tell() == 0:
                self._metrics.write(",".join(METRIC_COLUMNS) + "\n")
        self._metrics.write(text.getvalue())
        self._metrics.flush()

    def drop_metrics_after(self, step: int) -> None:
        """Keep the rows of metrics.csv up to and with `step`, as they are; a line torn by a kill goes too."""
        self._close_metrics()
        path = self.path / "metrics.csv"
        if path.exists():
            header, *rows = whole_lines(path) or [",".join(METRIC_COLUMNS) + "\n"]
            kept = [row for row in rows if int(row.partition(",")[0]) <= step]
            atomic_write(path, "".join([header, *kept]).encode())

    def metrics(self) -> list[dict[str, Any]]:
        """Rows of metrics.csv: step (int), phase, name (str), value (float); a torn last line is left out."""
        path = self.path / "metrics.csv"
        rows = csv.DictReader(whole_lines(path)) if path.exists() else ()
        return [{**row, "step": int(row["step"]), "value": float(row["value"])} for row in rows]

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file of the Run. Numbers that JSON cannot hold (nan, inf) become null."""
        path = self._inside(name)
        atomic_write(path, to_json(value).encode())
        return path

    def read_json(self, name: str) -> Any:
        """The content of a JSON file of the Run; None where there is none."""
        path = self._inside(name)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def write_test(self, dataset: str, rows: list[dict[str, Any]]) -> Path:
        """Write test-<dataset>.csv, one row a case."""
        return self.write_table(f"test-{dataset}.csv", rows)

    def write_table(self, name: str, rows: list[dict[str, Any]]) -> Path:
        """Write a CSV file of the Run; the columns are the keys in the order they appear."""
        path = self._inside(name)
        text = io.StringIO()
        columns = dict.fromkeys(key for row in rows for key in row)
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        atomic_write(path, text.getvalue().encode())
        return path

    @property
    def samples_dir(self) -> Path:
        """The folder of the sample pictures, made on first use."""
        folder = self.path / "samples"
        folder.mkdir(exist_ok=True)
        return folder

    def close(self) -> None:
        """Close the metrics and release the lock."""
        self._close_metrics()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _close_metrics(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None

    def _inside(self, *parts: str) -> Path:
        """A path in this directory; names that could lead out of it raise UserError."""
        for part in parts:
            if not re.fullmatch(r"\w[\w.+-]*", part):
                raise UserError(f"{part!r} cannot name a file of a Run: expected letters, digits and . _ + -")
        return self.path.joinpath(*parts)
