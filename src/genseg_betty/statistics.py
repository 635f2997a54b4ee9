"""Scores over several runs: mean ± standard deviation, and the paper's two-sided paired t-test."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genseg_betty.errors import UserError


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
    if np.ptp(differences) == 0:
        return _test_without_spread(difference, n)
    from scipy import stats  # takes a second to import

    result = stats.ttest_rel(ours, theirs)
    t = float(result.statistic)
    p = float(result.pvalue)
    return PairedTest(difference, t, p, n)


def _test_without_spread(difference: float, n: int) -> PairedTest:
    """The limit of the test where all differences are equal: scipy would divide by zero."""
    if difference == 0:  # equal scores say nothing against equal methods
        return PairedTest(difference, t=0.0, p=1.0, n=n)
    t = math.copysign(math.inf, difference)
    return PairedTest(difference, t=t, p=0.0, n=n)
