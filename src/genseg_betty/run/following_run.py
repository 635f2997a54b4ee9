"""The Run as it is seen by all processes of a training but the first: they read it, and the first one writes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genseg_betty.run import Run


class FollowingRun(Run):
    """Takes no lock, and leaves all writing to the first process."""

    def status(
        self, state: str, step: int | None = None, message: str = "", skipped: Mapping[str, int] | None = None
    ) -> None:
        """Leave status.json to the first process."""

    def log(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        """Leave metrics.csv to the first process."""

    def drop_metrics_after(self, step: int) -> None:
        """Leave metrics.csv to the first process."""

    def write_json(self, name: str, value: Any) -> Path:
        return self._find_file(name)

    def write_test(self, dataset: str, rows: list[dict[str, Any]]) -> Path:
        return self._find_file(f"test-{dataset}.csv")

    def save_checkpoint(self, name: str, state: dict[str, Any]) -> Path:
        return self._find_file("checkpoints", f"{name}.pt")
