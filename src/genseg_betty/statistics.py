"""Scores over several runs: their spread, the paper's two-sided paired t-test, and what the single cases say.

Few seeds say little, and the cases of a test set are many: a bootstrap interval of the difference between two methods
(Efron and Tibshirani 1993, chapter 13; Owen 2007 for two crossed factors), Wilcoxon's signed-rank test over cases
(Wilcoxon 1945), and Holm's correction for several comparisons (Holm 1979).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genseg_betty.errors import UserError

Numbers = NDArray[np.float64]
RESAMPLES = 10_000
BOOTSTRAP_SEED = 0
TAILS = (2.5, 97.5)
"""Percentiles between which 95 % of the resampled differences lie."""
CHUNK = 2_000_000
"""At most so many cases are drawn at once, over all resamples of a chunk."""
DECIMALS = 12
"""Of a difference; what is beyond is a rounding error."""


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (n - 1) of n runs; one run has no standard deviation: None."""

    mean: float
    sd: float | None
    n: int

    def __str__(self) -> str:
        mean = f"{self.mean:.3f}"
        if self.sd is None:
            return f"{mean} (n = {self.n})"
        return f"{mean} ± {self.sd:.3f} (n = {self.n})"


@dataclass(frozen=True)
class PairedTest:
    """Two-sided paired t-test; `difference` is the mean of ours - theirs. Below 2 pairs, t and p are None."""

    difference: float
    t: float | None
    p: float | None
    n: int

    def __str__(self) -> str:
        found = f"difference {self.difference:+.3f}"
        if self.t is None or self.p is None:
            return f"{found} (n = {self.n}: a paired t-test needs 2 or more runs of each)"
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        freedom = self.n - 1
        t = f"t({freedom}) = {self.t:.2f}"
        return f"{found}, {p} (two-sided paired t-test, {t})"


def summarise(scores: Sequence[float]) -> Summary:
    """Mean ± standard deviation of one score per run; UserError without any run."""
    n = len(scores)
    if n == 0:
        raise UserError("found no scores to summarise: expected one or more finished runs.")
    mean = float(np.mean(scores))
    sd = float(np.std(scores, ddof=1)) if n > 1 else None
    return Summary(mean, sd, n)


def paired_t_test(ours: Sequence[float], theirs: Sequence[float]) -> PairedTest:
    """Test whether two methods differ over the same runs: ours[i] and theirs[i] share seed and split.

    Raises:
        UserError: the numbers of runs differ, or are zero.
    """
    n = len(ours)
    if n != len(theirs) or n == 0:
        raise UserError(
            f"found {n} and {len(theirs)} runs: a paired test expects as many of each, pair by pair; "
            "give both methods the same seeds."
        )
    differences = np.subtract(ours, theirs)
    difference = float(np.mean(differences))
    if n < 2:
        return PairedTest(difference, t=None, p=None, n=n)
    if np.ptp(np.round(differences, DECIMALS)) == 0:
        return _test_without_spread(difference, n)
    from scipy import stats  # takes a second to import

    result = stats.ttest_rel(ours, theirs)
    t = float(result.statistic)
    p = float(result.pvalue)
    return PairedTest(difference, t, p, n)


def _test_without_spread(difference: float, n: int) -> PairedTest:
    """The limit of the test where all differences are equal: scipy would divide by zero."""
    if round(difference, DECIMALS) == 0:  # equal scores say nothing against equal methods
        return PairedTest(difference, t=0.0, p=1.0, n=n)
    t = math.copysign(math.inf, difference)
    return PairedTest(difference, t=t, p=0.0, n=n)


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a mean, or of a difference of means."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def bootstrap_difference(differences: Numbers, resamples: int = RESAMPLES) -> Interval:
    """The percentile interval of the mean of `[seeds, cases]` differences, over resampled seeds and resampled cases.

    Each resample draws as many seeds with replacement, then as many cases, the same for all of its seeds: every run
    was tested on the same cases. The draws are seeded, so the same scores have the same interval.
    """
    random = np.random.default_rng(BOOTSTRAP_SEED)
    n_seeds, n_cases = differences.shape
    seed_weights = _draw_weights(random, n_seeds, resamples)

    # A chunk of resamples after the other, for all at once would take a number for each resample and case.
    chunk = max(1, CHUNK // n_cases)
    means = []
    for start in range(0, resamples, chunk):
        of_seeds = seed_weights[start : start + chunk]
        of_cases = _draw_weights(random, n_cases, len(of_seeds))
        of_resamples = of_seeds @ differences  # [resamples, cases]
        means.append(np.sum(of_resamples * of_cases, axis=1))
    found = np.percentile(np.concatenate(means), TAILS)
    low, high = np.round(found, DECIMALS)
    return Interval(float(low), float(high))


def bootstrap_mean(scores: Sequence[float]) -> Interval | None:
    """The percentile interval of the mean of some cases' scores, over resampled cases; None of fewer than two.

    The draws are seeded, so the same scores have the same interval. It tells how far another draw of as many cases
    could move the mean, and nothing of other hospitals or of another training. Of few cases it is too narrow.
    """
    if len(scores) < 2:
        return None
    return bootstrap_difference(np.array([scores], dtype=np.float64))


def _draw_weights(random: np.random.Generator, items: int, resamples: int) -> Numbers:
    """How often each of `items` is drawn in as many draws, as shares: `[resamples, items]`, each row adds up to 1."""
    drawn = random.integers(items, size=(resamples, items))
    drawn += items * np.arange(resamples)[:, None]  # each resample counts in a row of its own
    counts = np.bincount(drawn.ravel(), minlength=resamples * items)
    return counts.reshape(resamples, items) / items


def compare_signed_ranks(differences: Numbers) -> float:
    """p of the two-sided Wilcoxon signed-rank test of `[cases]` differences; those of 0 are left out.

    1 where all are 0. They are rounded to `DECIMALS`: equal differences tie although they were added up otherwise.
    """
    rounded = np.round(differences, DECIMALS)
    if not np.any(rounded):
        return 1.0
    from scipy import stats  # takes a second to import

    return float(stats.wilcoxon(rounded).pvalue)


def correct_by_holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value as it is after as many tests, in the order given, by Holm's step-down method."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        scaled = (len(p_values) - rank) * p_values[index]
        largest = max(largest, min(1.0, scaled))  # never below that of a smaller p-value
        corrected[index] = largest
    return corrected
