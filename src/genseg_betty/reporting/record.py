"""What a report knows of one Run. Every piece may be missing or damaged; `faults` says which."""

import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genseg_betty.config.keys import find_role
from genseg_betty.config.origins import find_idle_sections
from genseg_betty.lock import LOCK, is_alive, is_locked
from genseg_betty.reporting.metric_rows import MetricRows
from genseg_betty.reporting.values import NONE, as_mapping, as_number, drop_keys, flatten_tree
from genseg_betty.run.beyond import describe_beyond
from genseg_betty.run.migrations import rename_levels
from genseg_betty.run.names import DICE, GENERATOR, JACCARD
from genseg_betty.run.pictures import PicturedCase

MAX_PID = 2**31
NOT_SET = ("origins", "reduced")  # found out, and told elsewhere


@dataclass(frozen=True)
class Record:
    """One Run, read once; numbers that are missing are None.

    Args:
        status: what status.json says.
        results: what results.json says.
        cases: test set -> the rows of its table of cases.
        samples: the sample pictures of the last step.
        pictures: test set -> the cases that there are pictures of.
        faults: what cannot be read, and what does not fit together, a sentence each.
        is_broken: the config cannot be read: nothing is known of the Run but its name and the reason.
    """

    path: Path
    config: dict[str, Any]
    status: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    metrics: MetricRows = field(default_factory=MetricRows)
    cases: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    samples: list[Path] = field(default_factory=list)
    pictures: dict[str, list[PicturedCase]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    is_broken: bool = False

    @property
    def name(self) -> str:
        given = self.results.get("name") or self.config.get("name")
        return str(given or self.path.name)

    @property
    def method(self) -> str:
        return self._find_choice("method")

    @property
    def dataset(self) -> str:
        return self._find_choice("dataset")

    @property
    def backbone(self) -> str:
        return self._find_choice("backbone")

    @property
    def generator(self) -> str:
        """Name of the generator; a dash for a method that has none."""
        return self._find_choice("generator") if self.has_generator else NONE

    @property
    def has_generator(self) -> bool:
        """Whether the Run trains a generator: by its results, or while there are none by what it has logged."""
        if "generator" in self.results and not self.results["generator"]:
            return False
        parameters = as_mapping(self.results.get("parameters"))
        if parameters:  # all that earlier versions told
            return bool(parameters.get(GENERATOR))
        losses = self.metrics.loss_names
        return not losses or GENERATOR in losses

    @property
    def has_hypergradient(self) -> bool:
        """Whether an architecture is learned."""
        configured = self.config.get("hypergradient", "exact")
        found = self.results.get("hypergradient", configured)
        return self.has_generator and found not in (None, "none")

    @property
    def seed(self) -> int | str:
        found = self.results.get("seed", self.config.get("seed"))
        return found if isinstance(found, int) else str(found)

    @property
    def n_labelled(self) -> Any:
        dataset = as_mapping(self.config.get("dataset"))
        return self.results.get("n_labelled") or dataset.get("n_labelled")

    @property
    def beyond(self) -> list[str]:
        """What the method took beyond supervised training, in a few words each."""
        counts = as_mapping(self.results.get("beyond"))
        return describe_beyond(counts)

    @property
    def metric(self) -> str:
        """The score that the dataset is judged by: dice or jaccard."""
        dataset = as_mapping(self.config.get("dataset"))
        found = self.results.get("metric") or dataset.get("metric")
        return JACCARD if found == JACCARD else DICE

    @property
    def iterations_asked(self) -> Any:
        """How many iterations the config asks for, unless the method has a count of its own."""
        trainer = as_mapping(self.config.get("trainer"))
        return self.results.get("iterations_asked") or trainer.get("iterations")

    @property
    def used_config(self) -> dict[str, Any]:
        """The config without the keys that have no part in this Run, such as those of a generator that it lacks."""
        idle = find_idle_sections(self.config.get("method"), self.has_generator, self.has_hypergradient)
        return drop_keys(self.config, NOT_SET + idle)

    @property
    def state(self) -> str:
        """finished, running, interrupted, failed, unknown, killed (says running; the process is gone) or broken."""
        if self.is_broken:
            return "broken"
        state = str(self.status.get("state", "unknown"))
        reached = self.results.get("iterations", self.iterations_asked)
        has_outcome = self.results.get("finished") and reached == self.iterations_asked
        if has_outcome and state in ("running", "finished", "unknown"):
            return "finished"
        if state == "running" and is_process_gone(self.status):
            return state if is_locked(self.path / LOCK) else "killed"  # it may live in another container
        return state

    def _find_choice(self, group: str) -> str:
        """Which member of a config group the Run was trained with."""
        section = as_mapping(self.config.get(group))
        found = self.results.get(group) or section.get("name")
        return str(found or "?")


def is_process_gone(status: dict[str, Any]) -> bool:
    """Whether the process that a status names was one of this machine, and has ended."""
    pid = status.get("pid")
    was_here = status.get("host") == platform.node()
    if not was_here or not isinstance(pid, int):
        return False
    is_possible = 0 < pid < MAX_PID
    return not (is_possible and is_alive(pid, None))


def find_test_scores(record: Record) -> dict[str, dict[str, Any]]:
    """Test set -> its scores, the training dataset's own first."""
    tests = as_mapping(record.results.get("test"))
    names = sorted(tests, key=lambda name: name != record.dataset)
    return {name: as_mapping(tests[name]) for name in names}


def find_case_ids(record: Record, test_set: str) -> frozenset[str]:
    """The ids of the cases that a Run was tested on; none where no table of cases can be read."""
    ids = [case.get("id") for case in record.cases.get(test_set, [])]
    return frozenset(name for name in ids if name)


def find_case_scores(record: Record, test_set: str, score: str) -> dict[str, float]:
    """Id -> score of the cases that have it; a case that the table names twice is left out."""
    scores: dict[str, float | None] = {}
    for case in record.cases.get(test_set, []):
        name = case.get("id")
        if name:
            scores[name] = None if name in scores else case.get(score)
    return {name: value for name, value in scores.items() if value is not None}


def find_settings(record: Record) -> dict[str, Any]:
    """Dotted key -> value of all that makes a method; equal for Runs that differ in the seed alone."""
    flat = flatten_tree(record.used_config)
    flat.pop("method.name", None)  # it has a label of its own
    settings = {key: value for key, value in flat.items() if find_role(key).separates_methods}
    recipe = record.config.get("recipe")
    if recipe is None or "augment" not in record.used_config:
        return settings

    # The name of the recipe says all that its keys do.
    others = {key: value for key, value in settings.items() if not key.startswith("augment.")}
    return {**others, "augment": recipe}


def count_nonfinite(record: Record) -> dict[str, int]:
    """What was not finite: steps skipped by each level, values of each metric; zeros left out."""
    skipped = as_mapping(record.status.get("skipped"))
    if not skipped:
        skipped = as_mapping(record.results.get("skipped"))
    if not skipped:  # of a Run of an earlier version
        skipped = record.metrics.find_skipped_steps()
    counts = {}
    for level, steps in rename_levels(skipped).items():
        counts[f"{level} steps skipped"] = int(as_number(steps) or 0)
    for name, values in record.metrics.count_nonfinite().items():
        counts[f"{name} values"] = values
    return {what: count for what, count in counts.items() if count}
