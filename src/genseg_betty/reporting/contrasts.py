"""Each method against another one, by the seeds and test cases that both have in common, and which differences count.

A report compares each method with the one that is asked for, otherwise with the first one listed of the same dataset,
number of images and backbone: a reference that is chosen before the scores are known, as the best of the others would
not be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from genseg_betty.reporting.groups import Group, find_reference
from genseg_betty.reporting.paired_scores import PairedScores, pair_scores
from genseg_betty.reporting.score_columns import list_test_sets
from genseg_betty.statistics import (
    Interval,
    PairedTest,
    bootstrap_difference,
    compare_signed_ranks,
    correct_by_holm,
    paired_t_test,
)

LEVEL = 0.05
"""Below it a p-value counts."""
MIN_CASES = 6
"""Of fewer there is no test over cases: with 5, p of the signed-rank test cannot fall below 0.0625."""
MIN_SEEDS = 3
"""Of fewer no difference is marked. Of 3 resampled ones, one in nine draws holds a single seed: all must agree."""


@dataclass(frozen=True)
class Contrast:
    """One method against its reference on one test set, by one score.

    Args:
        difference: mean of the method less that of the reference, over seeds and cases in common; None without any.
        interval: of the difference, by bootstrap over seeds and cases; None below `MIN_CASES`.
        t_test: over the seeds in common, of the means over the cases in common; None below two seeds.
        p_cases: of the signed-rank test over the cases, each with its mean over the seeds; None below `MIN_CASES`.
        p_corrected: the same after as many tests as the table has.
    """

    method: str
    reference: str
    test_set: str
    score: str
    paired: PairedScores
    difference: float | None = None
    interval: Interval | None = None
    t_test: PairedTest | None = None
    p_cases: float | None = None
    p_corrected: float | None = None

    @property
    def is_marked(self) -> bool:
        """Whether the difference counts: seeds enough, an interval without 0, and a small p over seeds and over cases.

        The cases of a few seeds say nothing of other seeds, and an interval of 3 resampled seeds leaves out 0 as soon
        as all of them agree, which one difference in four does that is chance alone.
        """
        if self.interval is None or self.p_corrected is None or len(self.paired.seeds) < MIN_SEEDS:
            return False
        p_seeds = self.t_test.p if self.t_test else None
        if p_seeds is None or p_seeds >= LEVEL:
            return False
        return self.interval.excludes_zero and self.p_corrected < LEVEL

    @property
    def is_higher(self) -> bool:
        """Whether the difference counts, and the method's mean is the higher one."""
        return self.is_marked and self.difference is not None and self.difference > 0


def compare_groups(groups: Sequence[Group], against: Group | None = None, score: str | None = None) -> list[Contrast]:
    """All groups that have a reference, test set by test set.

    Args:
        against: the reference of all others; None: each has that of its setting.
        score: what is compared; None: the score of the dataset that a group was trained on.
    """
    records = [record for group in groups for record in group.records]
    contrasts = []
    for test_set in list_test_sets(records):
        for group in groups:
            reference = against or find_reference(group, groups)
            if reference is None or reference is group:
                continue
            if group.is_tested(test_set) and reference.is_tested(test_set):
                contrasts.append(_compare_pair(group, reference, test_set, score or group.first.metric))
    return correct_contrasts(contrasts)


def find_contrast(contrasts: Sequence[Contrast], group: Group, test_set: str) -> Contrast | None:
    """The contrast of a group on a test set; None of a reference."""
    for contrast in contrasts:
        if contrast.method == group.full_title and contrast.test_set == test_set:
            return contrast
    return None


def measure_contrast(contrast: Contrast) -> Contrast:
    """The contrast with all that can be said of its paired scores alone."""
    paired = contrast.paired
    if not paired.seeds or not paired.cases:
        return contrast
    differences = paired.differences
    measured = replace(contrast, difference=float(differences.mean()))
    if len(paired.seeds) > 1:
        ours, theirs = paired.ours.mean(axis=1), paired.theirs.mean(axis=1)
        measured = replace(measured, t_test=paired_t_test(ours.tolist(), theirs.tolist()))
    if len(paired.cases) < MIN_CASES:
        return measured
    interval = bootstrap_difference(differences)
    p_cases = compare_signed_ranks(differences.mean(axis=0))
    return replace(measured, interval=interval, p_cases=p_cases)


def correct_contrasts(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts of one table, with p-values as they are after so many tests."""
    p_values = [contrast.p_cases for contrast in contrasts if contrast.p_cases is not None]
    corrected = iter(correct_by_holm(p_values))
    found = []
    for contrast in contrasts:
        if contrast.p_cases is not None:
            contrast = replace(contrast, p_corrected=next(corrected))
        found.append(contrast)
    return found


def _compare_pair(group: Group, reference: Group, test_set: str, score: str) -> Contrast:
    ours = group.find_case_scores(test_set, score)
    theirs = reference.find_case_scores(test_set, score)
    paired = pair_scores(ours, theirs)
    contrast = Contrast(group.full_title, reference.full_title, test_set, score, paired)
    return measure_contrast(contrast)
