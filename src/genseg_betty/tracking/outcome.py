"""What a finished Run has to show in a service: numbers, tables of cases, and which cases get a picture."""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from genseg_betty.files import file_label
from genseg_betty.run import Run
from genseg_betty.run.names import CLASSES, DISTANCE_UNIT
from genseg_betty.tracking.service import Row

TEXTS = ("id", DISTANCE_UNIT)
"""The columns of a table of cases that hold no numbers."""
NUMBERS = ("n_labelled", "n_train", "seed", "iterations", "seconds", "seconds_per_iteration", "peak_memory_bytes")
"""What else of results.json is a number worth a column."""


def summarise_results(results: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of results.json by name: test/nlm_mc/dice, test/fuseg/ulcer/dice, best/dice, best/step, seconds."""
    found: dict[str, Any] = {name: results.get(name) for name in NUMBERS}
    validation = results.get("validation") or {}
    found[f"best/{results['metric']}"] = validation.get("best")
    found["best/step"] = validation.get("step")
    for test_set, scores in results["test"].items():
        parts = {test_set: scores}
        for label, of_class in scores.get(CLASSES, {}).items():
            parts[f"{test_set}/{label}"] = of_class
        for place, values in parts.items():
            found |= {f"test/{place}/{score}": value for score, value in values.items()}
    return {name: value for name, value in found.items() if _is_number(value)}


def select_points(summary: Mapping[str, float], metric: str) -> dict[str, float]:
    """Of the summary the number of labelled images, and the scores that the test sets are judged by."""
    pattern = rf"n_labelled|test/[^/]+/{metric}"
    return {name: value for name, value in summary.items() if re.fullmatch(pattern, name)}


def list_tables(run: Run, results: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Test set -> the rows of its table of cases, which lies in the Run."""
    tables = {}
    for test_set in results["test"]:
        path = run.path / f"test-{file_label(test_set)}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            tables[test_set] = [_read_row(row) for row in csv.DictReader(file)]
    return tables


def choose_shown_cases(rows: Sequence[Row], metric: str, count: int) -> list[str]:
    """The ids of at most `count` cases, from the worst to the best one, evenly spread over the ranks between."""
    ranked = sorted(rows, key=lambda row: (row[metric], row["id"]))
    ranks = np.linspace(0, len(ranked) - 1, min(count, len(ranked)))
    return [ranked[rank]["id"] for rank in ranks.round().astype(int)]


def read_sample(path: Path) -> np.ndarray:
    """A picture of the Run as uint8 [H, W, 3]."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _read_row(row: Mapping[str, str]) -> Row:
    """A row with its numbers as numbers; None where a case has none, such as a distance to an empty mask."""
    read: Row = {}
    for column, text in row.items():
        value: Any = text
        if column not in TEXTS:
            value = float(text) if text else None
        read[column] = value
    return read


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
