"""Runs side by side: groups of those that differ in the seed alone, and which group each is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from genseg_betty.reporting.method_names import MethodKey, name_methods, require_method
from genseg_betty.reporting.record import Record, find_case_scores, find_settings, find_test_scores
from genseg_betty.reporting.score_columns import ScoreColumn
from genseg_betty.reporting.values import NONE, as_number
from genseg_betty.statistics import Summary, summarise


class RowLabels(NamedTuple):
    """What the table of scores says of a group in its own columns."""

    dataset: str
    n_labelled: str
    method: str
    backbone: str
    generator: str

    @property
    def networks(self) -> str:
        """The segmenter, and the generator of a method that has one."""
        return self.backbone if self.generator == NONE else f"{self.backbone} · {self.generator}"


@dataclass(frozen=True)
class Group:
    """Runs of one method that differ in the seed alone. `variant` names what sets it apart from its likes."""

    records: list[Record]
    variant: str = ""

    @property
    def first(self) -> Record:
        return self.records[0]

    @property
    def labels(self) -> RowLabels:
        return find_labels(self.first)

    @property
    def title(self) -> str:
        method = self.first.path.name if self.first.is_broken else self.first.method
        return f"{method} · {self.variant}" if self.variant else method

    @property
    def key(self) -> MethodKey:
        """What makes this method, as the tables have it."""
        labels = self.labels
        generator = labels.generator.strip(NONE)
        return MethodKey(labels.method, self.variant, labels.dataset, labels.n_labelled, labels.backbone, generator)

    @property
    def full_title(self) -> str:
        """The title, and on what and with which networks it was trained: no other group has the same."""
        labels = self.labels
        return f"{self.title} ({labels.n_labelled} of {labels.dataset}, {labels.networks})"

    @property
    def has_scores(self) -> bool:
        """Whether any Run was tested at all."""
        return any(find_test_scores(record) for record in self.records)

    def is_tested(self, test_set: str) -> bool:
        """Whether any Run was tested on it."""
        return any(test_set in find_test_scores(record) for record in self.records)

    def find_scores(self, column: ScoreColumn, score: str) -> dict[Any, float]:
        """Seed -> score, of the Runs that have it; of two Runs with one seed the first."""
        found: dict[Any, float] = {}
        for record in self.records:
            if column.holds_run(record):
                scores = find_test_scores(record)[column.test_set]
                value = as_number(scores.get(score))
                if value is not None:
                    found.setdefault(record.seed, value)
        return found

    def find_case_scores(self, test_set: str, score: str) -> dict[Any, dict[str, float]]:
        """Seed -> the scores of its cases, of the Runs that have any; of two Runs with one seed the first."""
        found: dict[Any, dict[str, float]] = {}
        for record in self.records:
            scores = find_case_scores(record, test_set, score)
            if scores:
                found.setdefault(record.seed, scores)
        return found

    def summarise_scores(self, column: ScoreColumn, score: str) -> Summary | None:
        """Mean and spread over the seeds; None where no Run has the score."""
        values = list(self.find_scores(column, score).values())
        return summarise(values) if values else None


def group_runs(records: Sequence[Record]) -> list[Group]:
    """Groups in the order their first Run is given."""
    groups: list[list[Record]] = []
    for record in records:
        like = next((group for group in groups if _is_same_method(group[0], record)), None)
        if like is None:
            groups.append([record])
        else:
            like.append(record)
    plain = [Group(group) for group in groups]
    return [Group(group.records, _name_variant(group, plain)) for group in plain]


def find_reference(group: Group, groups: Sequence[Group]) -> Group | None:
    """The first method with scores of the same dataset, number of images and backbone; None for that one itself."""
    alike = (other for other in groups if other.has_scores and _find_setting(other) == _find_setting(group))
    reference = next(alike, group)
    return None if reference is group else reference


def find_group(groups: Sequence[Group], name: str) -> Group:
    """The method with scores of this name, as `name_methods` has it. Raises UserError where there is none."""
    scored = {group.key: group for group in groups if group.has_scores}
    found = {method: scored[key] for key, method in name_methods(list(scored)).items()}
    require_method(name, list(found))
    return found[name]


def find_labels(record: Record) -> RowLabels:
    """The labels of a Run's row in the table of scores."""
    return RowLabels(
        dataset=record.dataset,
        n_labelled=str(record.n_labelled),
        method=record.method,
        backbone=record.backbone,
        generator=record.generator,
    )


def _is_same_method(left: Record, right: Record) -> bool:
    """Whether two Runs differ in the seed alone; of a broken one nobody knows."""
    if left.is_broken or right.is_broken:
        return False
    ours = find_labels(left)._replace(generator="")
    theirs = find_labels(right)._replace(generator="")
    return find_settings(left) == find_settings(right) and ours == theirs


def _find_setting(group: Group) -> tuple[str, str, str]:
    labels = group.labels
    return labels.dataset, labels.n_labelled, labels.backbone


def _name_variant(group: Group, groups: Sequence[Group]) -> str:
    """The settings in which a group differs from others with the same row labels, as key=value."""
    likes = [other for other in groups if other.labels == group.labels and other is not group]
    likes_settings = [find_settings(like.first) for like in likes]
    words = []
    for key, value in find_settings(group.first).items():
        if any(settings.get(key) != value for settings in likes_settings):
            words.append(f"{key}={value}")
    return ", ".join(words)
