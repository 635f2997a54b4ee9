"""What a report knows of one Run. Every piece may be missing or damaged; `faults` says which."""

import csv
import json
import math
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from genseg_betty.files import require_regular
from genseg_betty.run import Run
from genseg_betty.run.lock import is_alive

NONE = "–"
LARGEST = 1e15  # of what a Run counts or measures: bytes, seconds, scores
MAX_PID = 2**31
MAX_CASES = 2**27  # bytes of one table of cases
SCORES = ("dice", "jaccard")
# Keys that do not make two Runs different methods: the seed, names, and where and how a Run runs.
UNRELATED = re.compile(
    r"(seed|name|run_dir|config_dir|resume|device|ood|dataset\.(ood|root|title|task|modality)"
    r"|trainer\.(name|checkpoint_every|sample_every|warm_start|keep_warmup)|(logger|launcher|ood_roots|dataset\.about)\b.*)"
)


@dataclass(frozen=True)
class Record:
    """One Run, read once; numbers that are missing are None."""

    path: Path
    config: dict[str, Any]
    status: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    cases: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    samples: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.results.get("name") or self.config.get("name") or self.path.name)

    @property
    def method(self) -> str:
        return self._choice("method")

    @property
    def dataset(self) -> str:
        return self._choice("dataset")

    @property
    def backbone(self) -> str:
        return self._choice("backbone")

    @property
    def generator(self) -> str:
        """Name of the generator; a dash for a finished method that has none."""
        parameters = mapping(self.results.get("parameters"))
        return NONE if parameters and not parameters.get("generator") else self._choice("generator")

    @property
    def seed(self) -> int | str:
        found = self.results.get("seed", self.config.get("seed"))
        return found if isinstance(found, int) else str(found)

    @property
    def n_labelled(self) -> Any:
        return self.results.get("n_labelled") or mapping(self.config.get("dataset")).get("n_labelled")

    @property
    def test(self) -> dict[str, dict[str, Any]]:
        """Test set -> its scores, the training dataset's own first."""
        sets = {str(name): mapping(scores) for name, scores in mapping(self.results.get("test")).items()}
        return dict(sorted(sets.items(), key=lambda item: item[0] != self.dataset))

    @property
    def settings(self) -> dict[str, Any]:
        """Dotted key -> value of all that makes a method; equal for Runs that differ in the seed alone."""
        return {key: value for key, value in flatten(self.config).items() if not UNRELATED.fullmatch(key)}

    @property
    def state(self) -> str:
        """finished, running, interrupted, failed, unknown or killed (says running; the process is gone)."""
        state = str(self.status.get("state", "unknown"))
        asked = mapping(self.config.get("trainer")).get("iterations")
        reached = self.results.get("iterations", asked)
        if self.results.get("finished") and state in ("running", "finished", "unknown") and reached == asked:
            return "finished"
        here = self.status.get("host") == platform.node()
        pid = self.status.get("pid")
        if state == "running" and here and isinstance(pid, int) and not (0 < pid < MAX_PID and is_alive(pid, None)):
            return "killed"
        return state

    def series(self, phase: str, name: str) -> list[tuple[float, float]]:
        """(step, value) of one metric, in the order written; values that are not finite are left out."""
        return [
            (row["step"], row["value"])
            for row in self.metrics
            if row["phase"] == phase and row["name"] == name and math.isfinite(row["value"])
        ]

    def names(self, phase: str) -> list[str]:
        """Metric names of a phase, in the order they first appear."""
        return list(dict.fromkeys(row["name"] for row in self.metrics if row["phase"] == phase))

    def nonfinite(self) -> dict[str, int]:
        """What was not finite: steps skipped by each level, values of each metric; zeros left out."""
        skipped = mapping(self.results.get("skipped"))
        if not skipped:
            latest = {row["name"]: row["value"] for row in self.metrics if row["phase"] == "system"}
            skipped = {k.removeprefix("skipped_"): v for k, v in latest.items() if k.startswith("skipped_")}
        counts = {f"{level} steps skipped": int(number(count) or 0) for level, count in skipped.items()}
        for row in self.metrics:
            if not math.isfinite(row["value"]):
                key = f"{row['phase']}/{row['name']} values"
                counts[key] = counts.get(key, 0) + 1
        return {name: count for name, count in counts.items() if count}

    def _choice(self, group: str) -> str:
        return str(self.results.get(group) or mapping(self.config.get(group)).get("name") or "?")


def read_record(path: Path) -> Record:
    """Read a Run directory. Raises UserError if it is none (no config.yaml)."""
    run = Run.open(path)
    faults: list[str] = []

    def attempt(what: str, read: Callable[[], Any], otherwise: Any) -> Any:
        try:
            found = read()
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            faults.append(f"{what} cannot be read: {error}")
            return otherwise
        return found if isinstance(found, type(otherwise)) else otherwise

    tests = sorted(run.path.glob("test-*.csv"))
    return Record(
        path=run.path,
        config=OmegaConf.to_container(run.config),  # type: ignore[arg-type]
        status=attempt("status.json", run.read_status, {}),
        results=attempt("results.json", lambda: run.read_json("results.json"), {}),
        metrics=attempt("metrics.csv", run.metrics, []),
        cases={file.stem[5:]: attempt(file.name, partial(_read_cases, file), []) for file in tests},
        samples=last_samples(run.path),
        faults=faults,
    )


def last_samples(path: Path) -> list[Path]:
    """The pictures in samples/ of the latest step, which is the last number in their names."""
    files = sorted((path / "samples").glob("*.png"))
    steps = [int(re.findall(r"\d+", file.stem)[-1]) if re.search(r"\d", file.stem) else -1 for file in files]
    return [file for file, step in zip(files, steps, strict=True) if step == max(steps)]


def mapping(value: Any) -> dict[str, Any]:
    """`value` if it is a mapping, else {}."""
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """`value` as a float within ±LARGEST, else None."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if abs(found) <= LARGEST else None


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value; a list is one value, as JSON text."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return flat


def _read_cases(file: Path) -> list[dict[str, Any]]:
    require_regular(file, MAX_CASES)
    with file.open(encoding="utf-8", newline="") as stream:
        rows = [{key: value for key, value in row.items() if key} for row in csv.DictReader(stream)]
    return [{key: value if key == "id" else number(value) for key, value in row.items()} for row in rows]
