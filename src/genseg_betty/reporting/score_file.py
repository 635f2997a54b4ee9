"""The scores of several Runs as a CSV file."""

from collections.abc import Sequence
from typing import Any

from genseg_betty.reporting.contrasts import Contrast, find_contrast
from genseg_betty.reporting.groups import Group
from genseg_betty.reporting.record import Record, find_test_scores
from genseg_betty.reporting.score_columns import digest_cases
from genseg_betty.reporting.values import NONE, as_mapping
from genseg_betty.run.names import CASES, CONSTANT, DISTANCE_UNIT, TEST_SCORES
from genseg_betty.run.tables import encode_table

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
COLUMNS_OF_CONTRAST = (
    "cases_sha256", "metric", "compared_with", "seeds_in_common", "cases_in_common", "cases_left_out",
    "cases_left_out_of_other", "difference", "interval_low", "interval_high", "p_t", "p_wilcoxon", "p_holm", "marked",
)  # fmt: skip
"""Behind the first two the same in all rows of a method on a test set: how it compares, as the page says."""
COLUMNS = (*COLUMNS_OF_RUN, *COLUMNS_OF_TEST, *COLUMNS_OF_TRAINING, *COLUMNS_OF_CONTRAST, CONSTANT)


def encode_scores(records: Sequence[Record], groups: Sequence[Group], contrasts: Sequence[Contrast]) -> bytes:
    """One row per Run and test set; a Run without test scores has one row with these left empty."""
    rows: list[dict[str, Any]] = []
    group_of = {id(record): group for group in groups for record in group.records}
    for record in records:
        group = group_of[id(record)]
        row = _describe_run(record) | {"variant": group.variant}
        for test_set, scores in _find_tests(record).items():
            row_of_test = row | _describe_test(record, test_set, scores)
            contrast = find_contrast(contrasts, group, test_set)
            if contrast is not None:
                row_of_test |= _describe_contrast(contrast)
            rows.append(row_of_test)
    return encode_table(rows, COLUMNS)


def _describe_test(record: Record, test_set: str, scores: dict[str, Any]) -> dict[str, Any]:
    """The columns of a Run on one test set."""
    of_test = {column: scores.get(column) for column in SCORE_COLUMNS}
    is_foreign = test_set != record.dataset
    return {
        **of_test,
        "test_set": test_set,
        "out_of_domain": int(is_foreign),
        "cases_sha256": digest_cases(record, test_set),
        "metric": record.metric,
        CONSTANT: scores.get(CONSTANT),
    }


def _describe_contrast(contrast: Contrast) -> dict[str, Any]:
    """The columns of a method's comparison with its reference."""
    paired, interval, test = contrast.paired, contrast.interval, contrast.t_test
    ours, theirs = paired.left_out
    return {
        "compared_with": contrast.reference,
        "seeds_in_common": len(paired.seeds),
        "cases_in_common": len(paired.cases),
        "cases_left_out": ours,
        "cases_left_out_of_other": theirs,
        "difference": contrast.difference,
        "interval_low": None if interval is None else interval.low,
        "interval_high": None if interval is None else interval.high,
        "p_t": None if test is None else test.p,
        "p_wilcoxon": contrast.p_cases,
        "p_holm": contrast.p_corrected,
        "marked": int(contrast.is_marked),
    }


def _find_tests(record: Record) -> dict[str, dict[str, Any]]:
    """Test set -> its scores; one without a name where there are none."""
    return find_test_scores(record) or {"": {}}


def _describe_run(record: Record) -> dict[str, Any]:
    """The columns that all rows of a Run share: its results, and what the report found out itself."""
    if record.is_broken:
        return {"run": record.path.name, "name": record.name, "state": record.state}
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
