"""The scores of several Runs as a CSV file."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genseg_betty.files import atomic_write
from genseg_betty.report.groups import group_runs
from genseg_betty.report.record import Record, find_test_scores
from genseg_betty.report.values import NONE, as_mapping
from genseg_betty.run.names import CASES, DISTANCE_UNIT, TEST_SCORES

COLUMNS_OF_RUN = (
    "run", "name", "state", "method", "dataset", "backbone", "generator", "variant", "n_labelled",
    "n_train", "n_validation", "seed", "iterations", "warmup_iterations", "beyond",
)  # fmt: skip
SCORE_COLUMNS = (CASES, *TEST_SCORES, DISTANCE_UNIT)
COLUMNS_OF_TEST = ("test_set", "out_of_domain", *SCORE_COLUMNS)
COLUMNS_OF_TRAINING = (
    "validation_best", "validation_step", "seconds", "seconds_per_iteration", "peak_memory_bytes", "device",
    "finished",
)  # fmt: skip
COLUMNS = (*COLUMNS_OF_RUN, *COLUMNS_OF_TEST, *COLUMNS_OF_TRAINING)


def write_scores(records: Sequence[Record], out: Path) -> None:
    """One row per Run and test set; a Run without test scores has one row with these left empty. Raises OSError."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    variants = _find_variants(records)
    for record in records:
        row = _describe_run(record) | {"variant": variants[id(record)]}
        for test_set, scores in _find_tests(record).items():
            of_test = {column: scores.get(column) for column in SCORE_COLUMNS}
            is_foreign = test_set != record.dataset
            writer.writerow(row | of_test | {"test_set": test_set, "out_of_domain": int(is_foreign)})
    atomic_write(out, text.getvalue().encode(errors="backslashreplace"))


def _find_variants(records: Sequence[Record]) -> dict[int, str]:
    """`id` of a record -> what sets its group apart from its likes."""
    variants = {}
    for group in group_runs(records):
        for record in group.records:
            variants[id(record)] = group.variant
    return variants


def _find_tests(record: Record) -> dict[str, dict[str, Any]]:
    """Test set -> its scores; one without a name where there are none."""
    return find_test_scores(record) or {"": {}}


def _describe_run(record: Record) -> dict[str, Any]:
    """The columns that all rows of a Run share: its results, and what the report found out itself."""
    validation = as_mapping(record.results.get("validation"))
    return {
        **record.results,
        "run": record.path.name,
        "name": record.name,
        "state": record.state,
        "method": record.method,
        "dataset": record.dataset,
        "backbone": record.backbone,
        "generator": record.generator.strip(NONE),
        "n_labelled": record.n_labelled,
        "seed": record.seed,
        "beyond": ", ".join(record.beyond),
        "validation_best": validation.get("best"),
        "validation_step": validation.get("step"),
    }
