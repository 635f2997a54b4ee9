"""The rows of a Run's metrics.csv, asked for by phase and name. `run/names.py` says what they mean."""

import math
from dataclasses import dataclass, field
from typing import Any

from genseg_betty.run.names import MEASURED_PHASES, SKIPPED_PREFIX, SYSTEM_PHASE, WARMUP_PHASE

Points = list[tuple[float, float]]
"""(step, value), in the order written."""


@dataclass(frozen=True)
class MetricRows:
    """All rows: step (int), phase and name (text), value (float)."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def last_step(self) -> int:
        """The highest step of any row. Raises ValueError where there is none."""
        return max(row["step"] for row in self.rows)

    @property
    def loss_phases(self) -> list[str]:
        """The phases whose rows are losses, in their order."""
        phases = dict.fromkeys(row["phase"] for row in self.rows)
        return [phase for phase in phases if phase not in MEASURED_PHASES]

    @property
    def loss_names(self) -> list[str]:
        """The levels that have logged a loss, in the order of their phases."""
        names: dict[str, None] = {}
        for phase in self.loss_phases:
            names |= dict.fromkeys(self.find_names(phase))
        return list(names)

    @property
    def last_warmup_step(self) -> int | None:
        """The step of the last loss of the warm-up; None for a Run without one."""
        steps = [row["step"] for row in self.rows if row["phase"] == WARMUP_PHASE]
        return max(steps, default=None)

    def find_names(self, phase: str) -> list[str]:
        """Metric names of a phase, in the order they first appear."""
        rows = [row for row in self.rows if row["phase"] == phase]
        names = dict.fromkeys(row["name"] for row in rows)
        return list(names)

    def find_points(self, phase: str, name: str) -> Points:
        """The values of one metric; those that are not finite are left out."""
        points = []
        for row in self.rows:
            value = row["value"]
            is_asked = row["phase"] == phase and row["name"] == name
            if is_asked and math.isfinite(value):
                points.append((row["step"], value))
        return points

    def find_last_value(self, phase: str, name: str) -> float | None:
        """The last finite value of one metric; None where there is none."""
        points = self.find_points(phase, name)
        return points[-1][1] if points else None

    def find_skipped_steps(self) -> dict[str, float]:
        """Level -> steps that it had skipped at the last validation."""
        skipped = {}
        for row in self.rows:
            if row["phase"] == SYSTEM_PHASE and row["name"].startswith(SKIPPED_PREFIX):
                level = row["name"].removeprefix(SKIPPED_PREFIX)
                skipped[level] = row["value"]
        return skipped

    def count_nonfinite(self) -> dict[str, int]:
        """phase/name -> how many of its values are not finite, where there are any."""
        counts: dict[str, int] = {}
        for row in self.rows:
            if not math.isfinite(row["value"]):
                metric = f"{row['phase']}/{row['name']}"
                counts[metric] = counts.get(metric, 0) + 1
        return counts
