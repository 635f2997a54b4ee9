"""A Run: one directory on disk that holds all there is to know about one training.

Everything but the appended metrics.csv is written to a temporary name and then renamed. What is not to change by itself
has a checksum in SHA256SUMS, and is looked at when it is read.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from omegaconf import DictConfig, OmegaConf

from genseg_betty.errors import UserError
from genseg_betty.lock import LOCK, Lock
from genseg_betty.run.checksums import UNLIKE, explain_damage
from genseg_betty.run.metrics_file import MetricsFile
from genseg_betty.run.resume import prepare_directory
from genseg_betty.run.run_files import RunFiles
from genseg_betty.run.saved_config import read_config, resolve_config
from genseg_betty.run.status_file import StatusFile


class Run(RunFiles):
    """One training on disk: its directory, its resolved config, and whether it continues from a checkpoint.

    `step` everywhere counts through the whole training and never falls, or a resume could not tell old rows.
    """

    def __init__(self, path: Path, config: DictConfig, resuming: bool = False, lock: Lock | None = None) -> None:
        super().__init__(path)
        self.config = config
        self.resuming = resuming
        self._lock = lock
        self._status = StatusFile(path, self._sums)
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
        lock = _lock_directory(path)
        try:
            resolved = resolve_config(config)
            resuming = prepare_directory(path, resolved, resume)
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
        file = path / "config.yaml"
        fault: UserError | None = None
        try:
            if not run._sums.matches(file):
                fault = explain_damage(file, UNLIKE)
        except UserError as error:  # the checksums cannot be read; what needs them will raise
            fault = error
        if fault is not None:
            warnings.warn(str(fault), stacklevel=2)
        return run

    def status(
        self, state: str, step: int | None = None, message: str = "", skipped: Mapping[str, int] | None = None
    ) -> None:
        """Write status.json; without `step` and `skipped` (steps that each level did not make) the last ones stay."""
        self._status.write(state, step, message, skipped)

    def read_status(self) -> dict[str, Any]:
        """What status.json says; {} where there is none. Raises UserError for a damaged one."""
        return self._status.read()

    def log(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        """Append one row per value to metrics.csv; `run/names.py` has the names. Equal floats give equal bytes."""
        self._metrics.add(step, phase, values)

    def drop_metrics_after(self, step: int) -> None:
        """Keep the rows of metrics.csv up to and with `step`, as they are; a line torn by a kill goes too."""
        self._metrics.drop_after(step)

    def metrics(self) -> list[dict[str, Any]]:
        """Rows of metrics.csv: step (int), phase, name (str), value (float); a torn last line is left out.

        Raises UserError where a row is damaged, naming it.
        """
        return self._metrics.read()

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


def _lock_directory(path: Path) -> Lock:
    """Make the directory and take its lock. Raises UserError where that cannot be, or another process has it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = Lock(path / LOCK)
        lock.acquire()
    except OSError as error:
        raise UserError(f"cannot write to the run directory {path}: {error.strerror}") from error
    return lock
