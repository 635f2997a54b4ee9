"""The columns of the table of scores: Runs share one only if they were tested on the same cases."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from genseg_betty.reporting.record import Record, find_case_ids, find_test_scores

DIGEST_LENGTH = 16
UNKNOWN = "cases unknown"


@dataclass(frozen=True)
class ScoreColumn:
    """The Runs that were tested on the same cases of a test set.

    Args:
        cases: the ids; none of Runs whose table of cases cannot be read.
        label: which cases of the test set these are, where Runs differ in that.
    """

    test_set: str
    cases: frozenset[str]
    label: str = ""

    @property
    def title(self) -> str:
        return f"{self.test_set} · {self.label}" if self.label else self.test_set

    def holds_run(self, record: Record) -> bool:
        """Whether a Run was tested on these cases."""
        is_tested = self.test_set in find_test_scores(record)
        return is_tested and find_case_ids(record, self.test_set) == self.cases


def list_test_sets(records: Sequence[Record]) -> list[str]:
    """Names of all test sets: those that Runs were trained on first."""
    names: dict[str, None] = {}
    for record in records:
        names |= dict.fromkeys(find_test_scores(record))
    trained_on = {record.dataset for record in records}
    return sorted(names, key=lambda name: name not in trained_on)


def list_columns(records: Sequence[Record]) -> list[ScoreColumn]:
    """All columns, test set by test set; of each in the order of the Runs, those with unknown cases last."""
    columns = []
    for test_set in list_test_sets(records):
        lists: dict[frozenset[str], None] = {}
        for record in records:
            if test_set in find_test_scores(record):
                lists[find_case_ids(record, test_set)] = None
        known = [cases for cases in lists if cases]
        for number, cases in enumerate(known, start=1):
            label = f"case list {number}" if len(known) > 1 else ""
            columns.append(ScoreColumn(test_set, cases, label))
        if len(known) < len(lists):
            columns.append(ScoreColumn(test_set, frozenset(), UNKNOWN))
    return columns


def describe_overlaps(columns: Sequence[ScoreColumn]) -> list[str]:
    """A sentence for each test set of which Runs were tested on different cases: how many these have in common."""
    sentences = []
    for test_set in dict.fromkeys(column.test_set for column in columns):
        listed = [column for column in columns if column.test_set == test_set and column.cases]
        if len(listed) > 1:
            counts = [f"{column.label} has {len(column.cases)} cases" for column in listed]
            common = frozenset.intersection(*(column.cases for column in listed))
            sentences.append(f"{test_set}: {', '.join(counts)}; {len(common)} of them are in common.")
    return sentences


def digest_cases(record: Record, test_set: str) -> str:
    """The beginning of the SHA-256 of the sorted ids of a Run's cases; nothing where they are unknown."""
    cases = find_case_ids(record, test_set)
    if not cases:
        return ""
    listed = "\n".join(sorted(cases))
    return hashlib.sha256(listed.encode(errors="backslashreplace")).hexdigest()[:DIGEST_LENGTH]
