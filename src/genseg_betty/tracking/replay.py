"""What a Run has logged, in its order, for a service that lacks it."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from genseg_betty.run import Run
from genseg_betty.tracking.outcome import read_sample

LogValues = Callable[[int, str, Mapping[str, float]], object]
LogPicture = Callable[[int, str, np.ndarray], object]
Phases = dict[str, dict[str, float]]


def replay_run(run: Run, log_values: LogValues, log_picture: LogPicture, before: int | None = None) -> None:
    """Log the rows of metrics.csv and the sample pictures once more, step by step.

    Args:
        before: what was logged at this step or later is left out.
    """
    values = dict(_read_values(run))
    pictures = _find_pictures(run.path / "samples")
    for step in sorted({*values, *pictures}):
        if before is not None and step >= before:
            break
        for phase, row in values.get(step, {}).items():
            log_values(step, phase, row)
        for name, path in pictures.get(step, {}).items():
            log_picture(step, name, read_sample(path))


def _read_values(run: Run) -> Iterator[tuple[int, Phases]]:
    """Each step of metrics.csv, and phase -> name -> value of it."""
    for step, rows in groupby(run.metrics(), key=itemgetter("step")):
        phases: Phases = {}
        for row in rows:
            phases.setdefault(row["phase"], {})[row["name"]] = row["value"]
        yield step, phases


def _find_pictures(folder: Path) -> dict[int, dict[str, Path]]:
    """Step -> name -> picture, of pictures named <name>-<step>.png."""
    found: dict[int, dict[str, Path]] = {}
    for path in sorted(folder.glob("*.png")):
        parts = re.fullmatch(r"(\w+)-(\d{1,15})", path.stem)
        if parts:
            name, step = parts.groups()
            found.setdefault(int(step), {})[name] = path
    return found
