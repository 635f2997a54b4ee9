"""TensorBoard: an event file in the Run's folder tensorboard/, which `tensorboard --logdir outputs` finds.

A Run that goes on writes its file anew, from metrics.csv: a reader never sees a step twice.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from genseg_betty.run import Run
from genseg_betty.tracking.service import Outcome

FOLDER = "tensorboard"


class TensorBoardService:
    """Writes as the training goes on."""

    def __init__(self, package: ModuleType, run: Run, tags: Sequence[str]) -> None:
        folder = run.path / FOLDER
        _remove_events(folder)
        self._writer: Any = package.SummaryWriter(str(folder))
        self._writer.add_text("tags", ", ".join(tags))
        self._step = 0

    def log_values(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def log_picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def finish(self, outcome: Outcome | None, failed: bool) -> None:
        """Scores of test sets are points at the last step."""
        if outcome is not None:
            self.log_values(self._step, outcome.summary)
            for test_set, overlays in outcome.overlays.items():
                for case, pixels in overlays.items():
                    self.log_picture(self._step, f"cases/{test_set}/{case}", pixels)
        self._writer.close()


def _remove_events(folder: Path) -> None:
    """Delete what this Run has written before."""
    if folder.is_symlink():
        return
    for file in folder.glob("events.out.tfevents.*"):
        file.unlink()
