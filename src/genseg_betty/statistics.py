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
        spread = "" if self.sd is None else f" ± {self.sd:.3f}"
        return f"{self.mean:.3f}{spread} (n = {self.n})"


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
        return f"{found}, {p} (two-sided paired t-test, t({self.n - 1}) = {self.t:.2f})"


def summarise(scores: Sequence[float]) -> Summary:
    """Mean ± standard deviation of one score per run; UserError without any run."""
    if not len(scores):
        raise UserError("found no scores to summarise: expected one or more finished runs.")
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    return Summary(mean=float(np.mean(scores)), sd=sd, n=len(scores))


def paired_t_test(ours: Sequence[float], theirs: Sequence[float]) -> PairedTest:
    """Test whether two methods differ over the same runs: ours[i] and theirs[i] share seed and split.

    Raises:
        UserError: the numbers of runs differ, or are zero.
    """
    if len(ours) != len(theirs) or not len(ours):
        raise UserError(
            f"found {len(ours)} and {len(theirs)} runs: a paired test expects as many of each, pair by pair; "
            "give both methods the same seeds."
        )
    differences = np.subtract(ours, theirs)
    difference = float(np.mean(differences))
    if len(ours) < 2:
        return PairedTest(difference, t=None, p=None, n=len(ours))
    if np.ptp(differences) == 0:
        # No spread: scipy divides by zero here. Equal scores say nothing against equal methods.
        t = math.copysign(math.inf, difference) if difference else 0.0
        return PairedTest(difference, t=t, p=0.0 if difference else 1.0, n=len(ours))
    from scipy import stats  # takes a second to import

    result = stats.ttest_rel(ours, theirs)
    return PairedTest(difference, t=float(result.statistic), p=float(result.pvalue), n=len(ours))
