"""Against worked numbers, SciPy, and every outcome counted: spreads, tests, intervals and corrections."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from genseg_betty.errors import UserError
from genseg_betty.statistics import (
    Interval,
    Numbers,
    bootstrap_difference,
    bootstrap_mean,
    compare_signed_ranks,
    correct_by_holm,
    paired_t_test,
    summarise,
)


def test_summary() -> None:
    summary = summarise([0.90, 0.92, 0.94])
    assert (summary.mean, summary.sd, summary.n) == (pytest.approx(0.92), pytest.approx(0.02), 3)
    assert str(summary) == "0.920 ± 0.020 (n = 3)"


def test_one_run_has_no_deviation() -> None:
    assert summarise([0.5]).sd is None
    assert str(summarise([0.5])) == "0.500 (n = 1)"
    with pytest.raises(UserError, match="no scores"):
        summarise([])


def test_paired_t_test_worked() -> None:
    ours, theirs = [0.90, 0.93, 0.95], [0.80, 0.85, 0.83]
    # Differences 0.10, 0.08, 0.12: mean 0.10, sd 0.02. With 2 degrees of freedom p = 1 - t / sqrt(t² + 2).
    t = 0.10 / (0.02 / math.sqrt(3))
    test = paired_t_test(ours, theirs)
    assert test.difference == pytest.approx(0.10)
    assert test.t == pytest.approx(t)
    assert test.p == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    assert test.n == 3
    assert str(test) == "difference +0.100, p = 0.013 (two-sided paired t-test, t(2) = 8.66)"
    mirrored = paired_t_test(theirs, ours)
    assert (mirrored.t, mirrored.p) == (pytest.approx(-t), pytest.approx(test.p))


def test_small_p_is_bounded() -> None:
    ours = [0.90 + 1e-4 * step for step in range(8)]
    assert "p < 0.001" in str(paired_t_test(ours, [0.5 - 1e-4 * (step % 2) for step in range(8)]))


def test_one_pair_cannot_be_tested() -> None:
    test = paired_t_test([0.9], [0.8])
    assert (test.t, test.p) == (None, None)
    assert "needs 2 or more" in str(test)


@pytest.mark.filterwarnings("error")
def test_no_spread() -> None:
    same = paired_t_test([0.5, 0.75], [0.5, 0.75])
    assert (same.difference, same.t, same.p) == (0.0, 0.0, 1.0)
    constant = paired_t_test([0.5, 0.75], [0.25, 0.5])
    assert (constant.t, constant.p) == (math.inf, 0.0)


@pytest.mark.filterwarnings("error")
def test_rounding_errors_are_no_spread() -> None:
    ours, theirs = [0.1 + 0.2, 0.7 + 0.1, 0.3], [0.3, 0.8, 0.1 + 0.1 + 0.1]
    assert ours != theirs
    assert paired_t_test(ours, theirs).p == 1.0


@pytest.mark.parametrize(("ours", "theirs"), [([0.1, 0.2], [0.1]), ([], [])])
def test_unpaired_runs(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(UserError, match="pair by pair"):
        paired_t_test(ours, theirs)


def test_bootstrap_against_every_resample_there_is() -> None:
    """27 draws of 3 seeds times 256 of 4 cases, all equally likely."""
    differences = np.random.default_rng(0).normal(0.02, 0.05, (3, 4))
    means = [
        differences[np.ix_(seeds, cases)].mean()
        for seeds in itertools.product(range(3), repeat=3)
        for cases in itertools.product(range(4), repeat=4)
    ]
    found = bootstrap_difference(differences, 50_000)
    assert (found.low, found.high) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.03 * np.ptp(means))


def test_bootstrap_of_one_seed_against_scipy() -> None:
    differences = np.random.default_rng(1).gamma(1.0, 0.05, (1, 60)) - 0.03
    found = bootstrap_difference(differences)
    expected = stats.bootstrap(
        (differences[0],), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=6e-4)
    assert bootstrap_difference(differences) == found
    assert bootstrap_difference(-differences).high == pytest.approx(-found.low)


def test_bootstrap_in_chunks_covers_every_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal cases leave the spread of the seeds alone, however the resamples are cut."""
    monkeypatch.setattr("genseg_betty.statistics.CHUNK", 700)
    differences = np.repeat([[0.0], [1.0]], 50, axis=1)
    found = bootstrap_difference(differences, 1_001)
    assert (found.low, found.high) == (0.0, 1.0)  # a quarter of the draws holds one seed alone
    assert not found.excludes_zero
    assert bootstrap_difference(differences + 0.5, 1_001).excludes_zero


def draw_differences(random: np.random.Generator, seeds: int, cases: int, spread: float) -> Numbers:
    """True difference 0.02; seeds and cases each shift it, and each single score has noise."""
    of_seeds = random.normal(0, spread, (seeds, 1))
    of_cases = random.normal(0, 0.03, (1, cases))
    return 0.02 + of_seeds + of_cases + random.normal(0, 0.05, (seeds, cases))


@pytest.mark.parametrize(("seeds", "cases", "spread"), [(5, 100, 0.01), (10, 40, 0.02), (1, 100, 0.0)])
def test_bootstrap_holds_the_true_difference_95_times_in_100(seeds: int, cases: int, spread: float) -> None:
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        found = bootstrap_difference(draw_differences(random, seeds, cases, spread), 500)
        hits += found.low <= 0.02 <= found.high
    assert 0.91 <= hits / 300 <= 0.98


@pytest.mark.parametrize(("cases", "share"), [(5, 0.83), (20, 0.92), (40, 0.94)])
def test_intervals_of_few_cases_are_too_narrow(cases: int, share: float) -> None:
    """How often they hold the true mean of skewed scores, as the documentation says."""
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        found = bootstrap_difference(random.beta(9, 2, (1, cases)), 500)
        hits += found.low <= 9 / 11 <= found.high
    assert hits / 400 == pytest.approx(share, abs=0.04)


def test_the_interval_of_a_mean_is_of_two_cases_or_more() -> None:
    assert bootstrap_mean([0.5]) is None
    assert bootstrap_mean([]) is None
    assert bootstrap_mean([0.5, 0.5, 0.5]) == Interval(0.5, 0.5)
    found = bootstrap_mean([0.2, 0.8])
    assert found == Interval(0.2, 0.8)  # a quarter of the resamples holds one case alone


def find_p_by_signs(differences: list[float]) -> float:
    """Signed-rank p from all 2ⁿ ways to give the ranks a sign."""
    ranks = stats.rankdata(np.abs(differences))
    positive = sum(ranks[np.array(differences) > 0])
    distance = abs(positive - sum(ranks) / 2)
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product((0, 1), repeat=len(ranks))]
    return float(np.mean([abs(found - sum(ranks) / 2) >= distance - 1e-9 for found in sums]))


def test_signed_ranks_against_all_signs() -> None:
    differences = [0.03, -0.01, 0.04, 0.012, 0.05, -0.02, 0.06, 0.07, 0.025]
    assert compare_signed_ranks(np.array(differences)) == pytest.approx(find_p_by_signs(differences))
    assert compare_signed_ranks(np.arange(1.0, 7.0)) == pytest.approx(2 / 64)  # six of one sign


def test_signed_ranks_worked() -> None:
    """Wilcoxon 1945 on Darwin's 15 pairs of maize, differences in eighths of an inch: p = 0.041."""
    darwin = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert compare_signed_ranks(np.array(darwin, float)) == pytest.approx(find_p_by_signs(darwin))
    assert compare_signed_ranks(np.array(darwin, float)) == pytest.approx(0.041, abs=5e-4)


@pytest.mark.filterwarnings("error")
def test_signed_ranks_of_equal_scores() -> None:
    assert compare_signed_ranks(np.zeros(20)) == 1.0
    assert compare_signed_ranks(np.full(20, 0.1 + 0.2) - 0.3) == 1.0


@pytest.mark.parametrize(("p_values", "expected"), [
    ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # the usual example: the first and the last are below 0.05
    ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),
    ([0.5, 0.9], [1.0, 1.0]), ([0.04], [0.04]), ([], []),
])  # fmt: skip
def test_holm_worked(p_values: list[float], expected: list[float]) -> None:
    assert correct_by_holm(p_values) == pytest.approx(expected)


def test_holm_is_the_closure_of_bonferroni() -> None:
    """The corrected p of a test is the largest Bonferroni p of all sets of tests that it is in."""
    p_values = np.random.default_rng(3).random(6) ** 3
    for index, corrected in enumerate(correct_by_holm(p_values.tolist())):
        sets = itertools.product((False, True), repeat=6)
        of_sets = [min(1, sum(chosen) * min(p_values[list(chosen)])) for chosen in sets if chosen[index]]
        assert corrected == pytest.approx(max(of_sets))
