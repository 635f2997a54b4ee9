"""What a service has to do that a training is tracked by, and what a Run ends with."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Row = dict[str, Any]
SWEEP = "GENSEG_SWEEP"
"""The environment variable that names the sweep of which a training is a cell."""


@dataclass(frozen=True)
class Outcome:
    """What a finished training ends with.

    Args:
        summary: numbers by name: test/<test set>/<score>, best/<score>, …
        points: those of them that curves over several trainings are made of: n_labelled, and of each test set the score
            that it is judged by.
        tables: test set -> a row for each case.
        overlays: test set -> id of a case -> its image with truth and prediction, uint8 [H, W, 3]; of some cases.
        report: the Run's page.
    """

    summary: dict[str, float]
    points: dict[str, float]
    tables: dict[str, list[Row]]
    overlays: dict[str, dict[str, np.ndarray]]
    report: Path


class Service(Protocol):
    """One service. Steps never fall; what a service had before a kill it is given again, and passes over.

    Its methods may raise whatever its package raises: the Tracker ends a service that fails.
    """

    def log_values(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers by name."""

    def log_picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Log a picture, uint8 [H, W, 3]."""

    def finish(self, outcome: Outcome | None, failed: bool) -> None:
        """Log the outcome, None where the training did not come to its end, and close."""


def find_sweep_name(config: Mapping[str, Any]) -> str | None:
    """What trainings are grouped by: the sweep that this one is a cell of, else what `logger.group` says."""
    return os.environ.get(SWEEP) or config.get("group")
