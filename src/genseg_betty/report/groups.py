"""Runs side by side: groups of those that differ in the seed alone, and how their scores compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from genseg_betty.report.record import Record, find_settings, find_test_scores
from genseg_betty.report.values import as_mapping, as_number
from genseg_betty.statistics import PairedTest, Summary, paired_t_test, summarise


class RowLabels(NamedTuple):
    """What the table of scores says of a group in its own columns."""

    dataset: str
    n_labelled: str
    method: str
    backbone: str
    generator: str


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
        method = self.first.method
        return f"{method} · {self.variant}" if self.variant else method

    def find_scores(self, test_set: str, score: str) -> dict[Any, float]:
        """Seed -> score, of the Runs that have it; of two Runs with one seed the first."""
        found: dict[Any, float] = {}
        for record in self.records:
            scores = as_mapping(find_test_scores(record).get(test_set))
            value = as_number(scores.get(score))
            if value is not None:
                found.setdefault(record.seed, value)
        return found

    def summarise_scores(self, test_set: str, score: str) -> Summary | None:
        """Mean and spread over the seeds; None where no Run has the score."""
        values = list(self.find_scores(test_set, score).values())
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


def list_test_sets(records: Sequence[Record]) -> list[str]:
    """Names of all test sets: those that Runs were trained on first."""
    names: dict[str, None] = {}
    for record in records:
        names |= dict.fromkeys(find_test_scores(record))
    trained_on = {record.dataset for record in records}
    return sorted(names, key=lambda name: name not in trained_on)


def find_best_groups(groups: Sequence[Group], test_set: str, score: str) -> list[Group]:
    """The groups with the highest mean among those trained on as many images of the same dataset."""
    means = []
    for group in groups:
        summary = group.summarise_scores(test_set, score)
        means.append(None if summary is None else summary.mean)
    best = []
    for group, mean in zip(groups, means, strict=True):
        rivals = [found for rival, found in zip(groups, means, strict=True) if _is_rival(rival, group)]
        known = [found for found in rivals if found is not None]
        if len(known) > 1 and mean == max(known):
            best.append(group)
    return best


def find_reference(group: Group, groups: Sequence[Group]) -> Group | None:
    """The first method of the same dataset, number of images and backbone; None for that one itself."""
    alike = (other for other in groups if _find_setting(other) == _find_setting(group))
    reference = next(alike)
    return None if reference is group else reference


def compare_seeds(group: Group, reference: Group, test_set: str, score: str) -> PairedTest | None:
    """t-test over the seeds that both have; None below two."""
    ours = group.find_scores(test_set, score)
    theirs = reference.find_scores(test_set, score)
    seeds = [seed for seed in ours if seed in theirs]
    if len(seeds) < 2:
        return None
    return paired_t_test([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])


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
    """Whether two Runs differ in the seed alone."""
    ours = find_labels(left)._replace(generator="")
    theirs = find_labels(right)._replace(generator="")
    return find_settings(left) == find_settings(right) and ours == theirs


def _is_rival(other: Group, group: Group) -> bool:
    """Whether both were trained on as many images of the same dataset."""
    ours, theirs = group.labels, other.labels
    return ours.dataset == theirs.dataset and ours.n_labelled == theirs.n_labelled


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
