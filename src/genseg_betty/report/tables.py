"""Scores of several Runs side by side: one row a method, mean ± standard deviation over its seeds."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genseg_betty.files import atomic_write
from genseg_betty.report.record import NONE, SCORES, Record, mapping, number
from genseg_betty.statistics import PairedTest, Summary, paired_t_test, summarise

CSV_COLUMNS = (
    "run", "name", "state", "method", "dataset", "backbone", "generator", "variant", "n_labelled",
    "n_train", "n_validation", "seed", "iterations", "warmup_iterations", "test_set", "out_of_domain",
    "cases", "dice", "jaccard", "validation_best", "validation_step", "seconds", "seconds_per_iteration",
    "peak_memory_bytes", "device", "finished",
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Runs of one method that differ in the seed alone. `variant` names what sets it apart from its likes."""

    records: list[Record]
    variant: str = ""

    @property
    def first(self) -> Record:
        return self.records[0]

    @property
    def kind(self) -> tuple[str, ...]:
        """What the table's own columns say of the group."""
        record = self.first
        return (record.dataset, str(record.n_labelled), record.method, record.backbone, record.generator)

    @property
    def label(self) -> str:
        return f"{self.first.method} · {self.variant}" if self.variant else self.first.method

    def scores(self, test_set: str, score: str) -> dict[Any, float]:
        """Seed -> score, of the Runs that have it; of two Runs with one seed the first."""
        found: dict[Any, float] = {}
        for record in self.records:
            value = number(mapping(record.test.get(test_set)).get(score))
            if value is not None:
                found.setdefault(record.seed, value)
        return found

    def summary(self, test_set: str, score: str) -> Summary | None:
        values = list(self.scores(test_set, score).values())
        return summarise(values) if values else None


def group_runs(records: Sequence[Record]) -> list[Group]:
    """Groups in the order their first Run is given."""
    groups: list[list[Record]] = []
    for record in records:
        like = next((group for group in groups if _same_method(group[0], record)), None)
        if like is None:
            groups.append([record])
        else:
            like.append(record)
    plain = [Group(group) for group in groups]
    return [Group(group.records, _variant(group, plain)) for group in plain]


def test_sets(records: Sequence[Record]) -> list[str]:
    """Names of all test sets: those that Runs were trained on first."""
    names = dict.fromkeys(name for record in records for name in record.test)
    trained_on = {record.dataset for record in records}
    return sorted(names, key=lambda name: name not in trained_on)


def best_groups(groups: Sequence[Group], test_set: str, score: str) -> list[Group]:
    """The groups with the highest mean among those trained on as many images of the same dataset."""
    best = []
    for group in groups:
        rivals = [rival for rival in groups if rival.kind[:2] == group.kind[:2]]
        means = {id(rival): found.mean for rival in rivals if (found := rival.summary(test_set, score))}
        if len(means) > 1 and means.get(id(group)) == max(means.values()):
            best.append(group)
    return best


def compared_with(group: Group, groups: Sequence[Group]) -> Group | None:
    """The first method of the same dataset, number of images and backbone; None for that one itself."""
    alike = (other for other in groups if _setting(other) == _setting(group))
    reference = next(alike)
    return None if reference is group else reference


def paired(group: Group, reference: Group, test_set: str, score: str) -> PairedTest | None:
    """t-test over the seeds that both have; None below two."""
    ours, theirs = group.scores(test_set, score), reference.scores(test_set, score)
    seeds = [seed for seed in ours if seed in theirs]
    if len(seeds) < 2:
        return None
    return paired_t_test([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])


def write_csv(records: Sequence[Record], out: Path) -> Path:
    """One row per Run and test set; a Run without test scores has one row with these left empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    variants = {id(record): group.variant for group in group_runs(records) for record in group.records}
    for record in records:
        row = {**record.results, **{key: getattr(record, key) for key in CSV_COLUMNS if hasattr(Record, key)}}
        validation = mapping(record.results.get("validation"))
        row |= {
            "run": record.path.name,
            "variant": variants[id(record)],
            "generator": record.generator.strip(NONE),
        }
        row |= {"validation_best": validation.get("best"), "validation_step": validation.get("step")}
        for name, scores in (record.test or {"": {}}).items():
            ours = {key: scores.get(key) for key in ("cases", *SCORES)}
            writer.writerow(row | ours | {"test_set": name, "out_of_domain": int(name != record.dataset)})
    atomic_write(out, text.getvalue().encode(errors="backslashreplace"))
    return out


def _same_method(left: Record, right: Record) -> bool:
    return left.settings == right.settings and Group([left]).kind[:4] == Group([right]).kind[:4]


def _setting(group: Group) -> tuple[str, ...]:
    dataset, n_labelled, _, backbone, _ = group.kind
    return dataset, n_labelled, backbone


def _variant(group: Group, groups: Sequence[Group]) -> str:
    """The settings in which a group differs from others with the same row labels, as key=value."""
    likes = [other.first.settings for other in groups if other.kind == group.kind and other is not group]
    ours = group.first.settings
    keys = [key for key in ours if any(other.get(key) != ours[key] for other in likes)]
    return ", ".join(f"{key}={ours[key]}" for key in keys)
