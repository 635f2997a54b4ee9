"""The scores of all cases of several Runs as a CSV file, for statistics of the reader's own."""

from collections.abc import Iterator, Sequence
from typing import Any

from genseg_betty.reporting.groups import Group
from genseg_betty.reporting.record import find_test_scores
from genseg_betty.reporting.values import NONE
from genseg_betty.run.names import DISTANCE_UNIT, TEST_SCORES
from genseg_betty.run.tables import encode_table

COLUMNS_OF_CASES = (
    "run", "id", "test_set", "method", "variant", "dataset", "n_labelled", "backbone", "generator", "seed",
    *TEST_SCORES, DISTANCE_UNIT,
)  # fmt: skip


def encode_cases(groups: Sequence[Group]) -> bytes:
    """One row per Run, test set and case."""
    return encode_table(_list_rows(groups), COLUMNS_OF_CASES)


def _list_rows(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    for group in groups:
        of_group = {**group.labels._asdict(), "generator": group.first.generator.strip(NONE), "variant": group.variant}
        for record in group.records:
            of_run = {**of_group, "run": record.path.name, "seed": record.seed}
            for test_set in find_test_scores(record):
                for case in record.cases.get(test_set, []):
                    yield {**case, **of_run, "test_set": test_set}
