"""A Run: one directory on disk that holds all there is to know about one training.

Everything but the appended metrics.csv is written to a temporary name and then renamed. What is not to change by itself
has a checksum in SHA256SUMS, and is looked at when it is read. PyTorch is imported where checkpoints are: to say that
there is no Run in a directory takes none.
"""

import os
import platform
import re
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from omegaconf import DictConfig, OmegaConf

from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, bounded_json, to_json
from genseg_betty.lock import LOCK, Lock
from genseg_betty.run.checksums import UNLIKE, Checksums, damaged
from genseg_betty.run.metrics_file import MetricsFile
from genseg_betty.run.resume import STATES, prepare, read_config, resolve
from genseg_betty.run.tables import table

PARTS = ("train", "validation", "test")  # of splits.json
MAX_JSON = 2**26  # bytes of one file; a split of a hundred thousand cases takes a quarter


class Run:
    """One training on disk: its directory, its resolved config, and whether it continues from a checkpoint.

    `step` everywhere counts through the whole training and never falls, or a resume could not tell old rows.
    """

    def __init__(self, path: Path, config: DictConfig, resuming: bool = False, lock: Lock | None = None) -> None:
        self.path = path
        self.config = config
        self.resuming = resuming
        self._lock = lock
        self._sums = Checksums(path)
        self._metrics = MetricsFile(path / "metrics.csv")

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
            run._sums.write(path / "config.yaml", OmegaConf.to_yaml(resolved).encode())
        except BaseException:
            lock.release()
            raise
        return run

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """An existing Run, to read: takes no lock, writes nothing. Raises UserError if there is none."""
        path = Path(path).expanduser().resolve()
        run = cls(path, read_config(path))
        try:
            fault = None if run._sums.matches(path / "config.yaml") else damaged(path / "config.yaml", UNLIKE)
        except UserError as error:  # the checksums cannot be read; what needs them will raise
            fault = error
        if fault is not None:
            warnings.warn(str(fault), stacklevel=2)
        return run

    def status(
        self, state: str, step: int | None = None, message: str = "", skipped: Mapping[str, int] | None = None
    ) -> None:
        """Write status.json; without `step` and `skipped` (steps that each level did not make) the last ones stay."""
        if state not in STATES:
            raise ValueError(f"state {state!r}: expected one of {STATES}")
        before = self.read_status()
        status = {
            "state": state,
            "step": before.get("step", 0) if step is None else step,
            "message": message,
            "skipped": before.get("skipped", {}) if skipped is None else skipped,
            "pid": os.getpid(),
            "host": platform.node(),
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        changing = self.path / "status.json", self._metrics.path
        self._sums.forget(*changing)
        atomic_write(changing[0], to_json(status).encode())
        if state == "finished":
            self._sums.keep(*changing)

    def read_status(self) -> dict[str, Any]:
        """What status.json says; {} where there is none. Raises UserError for a damaged one."""
        status = self.read_json("status.json", checked=False)  # it changes all the time
        if status is None:
            return {}
        if not isinstance(status, dict) or status.get("state") not in STATES:
            found = status.get("state") if isinstance(status, dict) else status
            raise damaged(self.path / "status.json", f"its state is {found!r}, expected one of {', '.join(STATES)}")
        if not isinstance(status.get("step"), int):
            raise damaged(self.path / "status.json", f"its step is {status.get('step')!r}, expected a number")
        return status

    def read_splits(self) -> dict[str, Any]:
        """What splits.json says. Raises UserError where it is damaged, or gone: what was trained on is unknown then."""
        splits = self.read_json("splits.json")
        file = self.path / "splits.json"
        if splits is None:
            raise UserError(
                f"{file} is gone, which alone says which cases were trained on. Put back a copy of it, or train again "
                "with resume=restart (deletes the Run)."
            )
        parts = [splits.get(part) for part in PARTS] if isinstance(splits, dict) else [None]
        if not all(isinstance(ids, list) and all(isinstance(id, str) for id in ids) for ids in parts):
            raise damaged(file, f"it holds no lists of the cases of {', '.join(PARTS)}")
        return splits

    def read_results(self, checked: bool = True) -> dict[str, Any]:
        """What results.json says; {} where there is none. Raises UserError for a damaged one."""
        results = self.read_json("results.json", checked)
        if results is None:
            return {}
        if not isinstance(results, dict):
            raise damaged(self.path / "results.json", f"it holds a {type(results).__name__}, expected a mapping")
        return results

    def save_checkpoint(self, name: str, state: dict[str, Any]) -> Path:
        """Write checkpoints/<name>.pt. `state`: tensors, numbers, strings and containers of them.

        Raises UserError where the disk is full; the file of before stays as it was.
        """
        from genseg_betty.run.checkpoints import write_checkpoint

        path = self._inside("checkpoints", f"{name}.pt")
        write_checkpoint(path, state, self._sums)
        return path

    def load_checkpoint(self, name: str, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any] | None:
        """The state of checkpoints/<name>.pt, or None if there is none. UserError if the file is damaged or not ours.

        With `mmap` tensors are read when they are looked at: for what else the file says, however large it is. One
        flipped bit is not found then.
        """
        from genseg_betty.run.checkpoints import read_checkpoint

        return read_checkpoint(self._inside("checkpoints", f"{name}.pt"), self._sums, map_location, mmap)

    def log(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        """Append one row per value to metrics.csv. Equal floats give equal bytes."""
        self._metrics.add(step, phase, values)

    def drop_metrics_after(self, step: int) -> None:
        """Keep the rows of metrics.csv up to and with `step`, as they are; a line torn by a kill goes too."""
        self._metrics.drop_after(step)

    def metrics(self) -> list[dict[str, Any]]:
        """Rows of metrics.csv: step (int), phase, name (str), value (float); a torn last line is left out.

        Raises UserError where a row is damaged, naming it.
        """
        return self._metrics.read()

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file of the Run. Numbers that JSON cannot hold (nan, inf) become null."""
        path = self._inside(name)
        self._sums.write(path, to_json(value).encode())
        return path

    def read_json(self, name: str, checked: bool = True) -> Any:
        """The content of a JSON file of the Run; None where there is none. Raises UserError where it is damaged.

        Without `checked` a file is taken as it is, so long as it is JSON.
        """
        path = self._inside(name)
        if not path.exists():
            return None
        try:
            content = bounded_json(path, MAX_JSON)
        except (OSError, ValueError) as error:
            raise damaged(path, f"it cannot be read ({error})") from error
        if checked and not self._sums.matches(path):
            raise damaged(path, UNLIKE)
        return content

    def changed_files(self) -> list[str]:
        """Names of the Run's texts that are gone or hold something else than was written."""
        return self._sums.changed_texts()

    def write_test(self, dataset: str, rows: list[dict[str, Any]]) -> Path:
        """Write test-<dataset>.csv, one row a case."""
        path = self._inside(f"test-{dataset}.csv")
        self._sums.write(path, table(rows))
        return path

    @property
    def samples_dir(self) -> Path:
        """The folder of the sample pictures, made on first use."""
        folder = self.path / "samples"
        folder.mkdir(exist_ok=True)
        return folder

    def close(self) -> None:
        """Close the metrics and release the lock."""
        self._metrics.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _inside(self, *parts: str) -> Path:
        """A path in this directory; names that could lead out of it raise UserError."""
        for part in parts:
            if not re.fullmatch(r"\w[\w.+-]*", part):
                raise UserError(f"{part!r} cannot name a file of a Run: expected letters, digits and . _ + -")
        return self.path.joinpath(*parts)
