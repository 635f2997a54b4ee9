"""What a report knows of one Run. Every piece may be missing or damaged; `faults` says which."""

import csv
import json
import math
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from genseg_betty.config.keys import find_role
from genseg_betty.config.origins import find_idle_sections
from genseg_betty.errors import UserError
from genseg_betty.files import require_regular
from genseg_betty.lock import LOCK, is_alive, is_locked
from genseg_betty.run import Run
from genseg_betty.run.checksums import SUMS, damaged
from genseg_betty.run.migrations import rename_levels

NONE = "–"
LARGEST = 1e15  # of what a Run counts or measures: bytes, seconds, scores
MAX_PID = 2**31
MAX_CASES = 2**27  # bytes of one table of cases
SCORES = ("dice", "jaccard")
NOT_LOSSES = ("validation", "architecture", "system")  # phases of metrics.csv
NOT_SET = ("origins", "reduced")  # found out, and told elsewhere


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
    def has_generator(self) -> bool:
        """Whether the Run trains a generator: by its results, or while there are none by what it has logged."""
        if "generator" in self.results and not self.results["generator"]:
            return False
        if parameters := mapping(self.results.get("parameters")):  # all that earlier versions told
            return bool(parameters.get("generator"))
        losses = [row["name"] for row in self.metrics if row["phase"] not in NOT_LOSSES]
        return not losses or "generator" in losses

    @property
    def has_hypergradient(self) -> bool:
        """Whether an architecture is learned."""
        if "hypergradient" in self.results:
            found = self.results["hypergradient"]
        else:
            found = self.config.get("hypergradient", "exact")
        return self.has_generator and found not in (None, "none")

    @property
    def generator(self) -> str:
        """Name of the generator; a dash for a method that has none."""
        return self._choice("generator") if self.has_generator else NONE

    @property
    def used_config(self) -> dict[str, Any]:
        """The config without the keys that have no part in this Run, such as those of a generator that it lacks."""
        idle = find_idle_sections(self.config.get("method"), self.has_generator, self.has_hypergradient)
        return _without(self.config, NOT_SET + idle)

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
        return {key: value for key, value in flatten(self.used_config).items() if find_role(key).separates_methods}

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
            return state if is_locked(self.path / LOCK) else "killed"  # it may live in another container
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
        skipped = mapping(self.status.get("skipped")) or mapping(self.results.get("skipped"))
        if not skipped:  # of a Run of an earlier version
            latest = {row["name"]: row["value"] for row in self.metrics if row["phase"] == "system"}
            skipped = {k.removeprefix("skipped_"): v for k, v in latest.items() if k.startswith("skipped_")}
        skipped = rename_levels(skipped)
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
        except UserError as error:
            faults.append(f"{what} cannot be read: {error}")
            return otherwise
        return found

    tests = sorted(run.path.glob("test-*.csv"))
    status = attempt("status.json", run.read_status, {})
    results = attempt("results.json", lambda: run.read_results(checked=False), {})
    metrics = attempt("metrics.csv", run.metrics, [])
    cases = {file.stem[5:]: attempt(file.name, partial(_read_cases, file), []) for file in tests}
    trained_on = attempt("splits.json", lambda: run.read_json("splits.json", checked=False), {})
    return Record(
        path=run.path,
        config=OmegaConf.to_container(run.config),  # type: ignore[arg-type]
        status=status,
        results=results,
        metrics=metrics,
        cases=cases,
        samples=last_samples(run.path),
        faults=[*faults, *_contradictions(run, status, results, mapping(trained_on)), *_changes(run, faults)],
    )


def _contradictions(run: Run, status: dict[str, Any], results: dict[str, Any], splits: dict[str, Any]) -> list[str]:
    """What the files of a Run say against each other, although each can be read."""
    found = []
    if status.get("state") == "finished" and not (run.path / "results.json").exists():
        found.append("results.json is gone: give the training's command again, which makes it anew")
    digests = {str(part["data_sha256"]) for part in (results, splits) if part.get("data_sha256")}
    if len(digests) > 1:
        found.append("results.json and splits.json are of two trainings: their data_sha256 differ")
    return found


def _changes(run: Run, told: list[str]) -> list[str]:
    """At most one line, of the files that are not what the Run wrote, although they can be read."""
    try:
        changed = run.changed_files()
    except UserError as error:  # the checksums themselves
        return [str(error)]
    names = [name for name in changed if not any(line.startswith(name) for line in told)]
    return [f"not as the Run wrote them, by its {SUMS}, or gone: {', '.join(names)}"] if names else []


def last_samples(path: Path) -> list[Path]:
    """The pictures in samples/ of the latest step, which is the last number in their names."""
    files = sorted((path / "samples").glob("*.png"))
    numbers = [re.findall(r"\d+", file.stem) for file in files]
    steps = [int(found[-1]) if found else -1 for found in numbers]
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


def _without(tree: dict[str, Any], keys: Sequence[str], prefix: str = "") -> dict[str, Any]:
    """The tree without these dotted keys."""
    kept = {key: value for key, value in tree.items() if f"{prefix}{key}" not in keys}
    return {
        key: _without(value, keys, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in kept.items()
    }


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
    try:
        require_regular(file, MAX_CASES)
        with file.open(encoding="utf-8", newline="") as stream:
            rows = [{key: value for key, value in row.items() if key} for row in csv.DictReader(stream)]
    except (OSError, ValueError, csv.Error) as error:
        raise damaged(file, f"it cannot be read ({error})") from error
    return [{key: value if key == "id" else number(value) for key, value in row.items()} for row in rows]
