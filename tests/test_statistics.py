"""Mean, standard deviation and paired t-test against worked numbers."""

import math

import pytest

from genseg_betty.errors import UserError
from genseg_betty.statistics import paired_t_test, summarise


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


@pytest.mark.parametrize(("ours", "theirs"), [([0.1, 0.2], [0.1]), ([], [])])
def test_unpaired_runs(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(UserError, match="pair by pair"):
        paired_t_test(ours, theirs)
