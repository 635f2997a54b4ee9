"""The table of contrasts: each method against its reference, and a sentence on what each column says."""

from collections.abc import Sequence

from genseg_betty.faults import count_things
from genseg_betty.reporting.contrasts import LEVEL, MIN_CASES, MIN_SEEDS, Contrast
from genseg_betty.reporting.elements import build_note, build_table
from genseg_betty.reporting.values import NONE
from genseg_betty.reporting.wording import name_score
from genseg_betty.statistics import RESAMPLES, PairedTest

STAR = "★"
COLUMNS_OF_CONTRASTS = (
    "method", "compared with", "test set", "score", "in common", "difference", "95 % interval", "p over seeds",
    "p over cases",
)  # fmt: skip
REFERENCES = (
    "Compared with: the method asked for with --against, otherwise the first one listed of the same dataset, number of "
    "images and backbone. Score: the one asked for with --metric, otherwise the one that the dataset is judged by."
)
LONGEST_REFERENCE = 60
"""Characters of the title of a reference, which stands whole in the table of scores."""
SENTENCES = (
    "In common: the test cases that every Run of both methods scored, and the seeds that both have. All else in the "
    "row is of these alone; how many other cases either method was tested on stands in brackets.",
    "Difference: the mean of the method less that of the one it is compared with, over seeds and cases.",
    f"95 % interval: of the difference, by {RESAMPLES:,} bootstrap resamples of the seeds and of the cases. That of a "
    "single seed is of the cases alone.",
    "p over seeds: two-sided paired t-test of the means over cases, not corrected for the number of tests.",
    "p over cases: two-sided Wilcoxon signed-rank test of the means over seeds, corrected by Holm's method for the "
    "{tests} tests of this table.",
    f"{STAR}: at least {MIN_SEEDS} seeds, the interval excludes 0, and both p are below {LEVEL}. "
    f"With fewer than {MIN_CASES} cases there is no interval and no test over cases, for they could show nothing.",
)


def build_contrast_table(contrasts: Sequence[Contrast]) -> str:
    """The table and the sentences below it."""
    rows = [list_cells(contrast) for contrast in contrasts]
    table = build_table(COLUMNS_OF_CONTRASTS, rows)
    for sentence in (REFERENCES, *describe_columns(contrasts)):
        table += build_note(sentence)
    return table


def describe_columns(contrasts: Sequence[Contrast]) -> list[str]:
    """What the columns say, of a table of these contrasts."""
    tests = sum(contrast.p_cases is not None for contrast in contrasts)
    return [sentence.format(tests=tests) for sentence in SENTENCES]


def list_cells(contrast: Contrast) -> list[str]:
    """A row, in the order of the columns."""
    return [
        contrast.method,
        _shorten_title(contrast.reference),
        contrast.test_set,
        name_score(contrast.score),
        _describe_common(contrast),
        _describe_difference(contrast),
        _describe_interval(contrast),
        _describe_t_test(contrast.t_test),
        NONE if contrast.p_corrected is None else _format_p(contrast.p_corrected),
    ]


def _shorten_title(title: str) -> str:
    if len(title) <= LONGEST_REFERENCE:
        return title
    return f"{title[:LONGEST_REFERENCE]}…"


def _describe_common(contrast: Contrast) -> str:
    """How many cases and seeds there are in common, and how many cases either method has beside them."""
    paired = contrast.paired
    seeds = count_things(paired.seeds, "seed")
    ours, theirs = paired.left_out
    if not paired.cases and ours == theirs == 0:
        return f"cases unknown, {seeds}"
    others = f" ({ours} and {theirs} others)" if ours or theirs else ""
    return f"{count_things(paired.cases, 'case')}{others}, {seeds}"


def _describe_difference(contrast: Contrast) -> str:
    if contrast.difference is None:
        return NONE
    difference = _sign_number(contrast.difference)
    return f"{difference} {STAR}" if contrast.is_marked else difference


def _describe_interval(contrast: Contrast) -> str:
    interval = contrast.interval
    if interval is None:
        return NONE
    return f"{_sign_number(interval.low)} to {_sign_number(interval.high)}"


def _describe_t_test(test: PairedTest | None) -> str:
    if test is None or test.p is None:
        return NONE
    return _format_p(test.p)


def _format_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _sign_number(value: float) -> str:
    """Three decimals with a sign, a minus as it is typeset."""
    return f"{value:+.3f}".replace("-", "−")
