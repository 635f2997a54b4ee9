"""The table of test scores: one row a method, mean ± standard deviation over its seeds."""

from collections.abc import Sequence

from genseg_betty.report.elements import build_element, build_note, escape_text, frame_table
from genseg_betty.report.groups import Group, compare_seeds, find_best_groups, find_reference, list_test_sets
from genseg_betty.report.record import Record
from genseg_betty.report.values import NONE
from genseg_betty.run.names import SCORES
from genseg_betty.statistics import PairedTest, Summary

TABLE_NOTE = (
    "Mean ± standard deviation over seeds; ★ the highest mean on as many images of the same dataset. "
    "Below it the difference to the first method listed of the same dataset, number of images and backbone, "
    "and p of a two-sided paired t-test over the seeds that both have, not corrected for the number of tests."
)


def build_score_table(groups: Sequence[Group], records: Sequence[Record]) -> str:
    """The table, and a note that says what stands in it."""
    test_sets = list_test_sets(records)
    if not test_sets:
        return build_note("No test scores yet.", "missing")

    # Column by column, for the best of each column is marked.
    rows = [_build_head(group) for group in groups]
    for test_set in test_sets:
        for score in SCORES:
            best = find_best_groups(groups, test_set, score)
            for index, group in enumerate(groups):
                is_best = group in best
                rows[index] += _build_cell(group, groups, test_set, score, is_best)
    heads = _build_column_heads(test_sets, records)
    body = "".join(build_element("tr", row) for row in rows)
    return frame_table(heads, body) + build_note(TABLE_NOTE)


def _build_column_heads(test_sets: Sequence[str], records: Sequence[Record]) -> str:
    """Two rows: the test sets, and the scores of each."""
    trained_on = {record.dataset for record in records}
    heads = build_element("th", "method", rowspan=2)
    names = ""
    for test_set in test_sets:
        kind = "trained on" if test_set in trained_on else "out of domain"
        label = escape_text(test_set)
        label += build_element("small", kind)
        heads += build_element("th", label, "set", colspan=len(SCORES))
        for score in SCORES:
            names += build_element("th", score.title(), "score")
    return build_element("tr", heads) + build_element("tr", names)


def _build_head(group: Group) -> str:
    """The method of a row; below it on what it was trained, with which networks and seeds, and what it took beyond."""
    labels = group.labels
    networks = labels.backbone
    if labels.generator != NONE:
        networks = f"{labels.backbone} · {labels.generator}"
    seeds = [str(record.seed) for record in group.records]
    parts = [
        networks,
        f"{labels.n_labelled} of {labels.dataset}",
        f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(seeds)}",
    ]
    budget = group.first.results.get("budget")  # of a method that does not step as the others do
    if budget:
        parts.append(str(budget))
    note = escape_text(" · ".join(parts))
    content = escape_text(group.title)
    content += build_element("small", note)
    if group.first.beyond:
        beyond = ", ".join(group.first.beyond)
        content += build_element("small", escape_text(f"beyond supervised training: {beyond}"))
    return build_element("th", content, scope="row")


def _build_cell(group: Group, groups: Sequence[Group], test_set: str, score: str, is_best: bool) -> str:
    """The mean of one score, and how it differs from that of the method it is compared with."""
    summary = group.summarise_scores(test_set, score)
    if summary is None:
        return build_element("td", NONE, "score")
    content = _format_summary(summary)
    css = "score"
    if is_best:
        content += " ★"
        css = "score best"
    reference = find_reference(group, groups)
    if reference is not None:
        test = compare_seeds(group, reference, test_set, score)
        content += _describe_test(test)
    return build_element("td", content, css)


def _format_summary(summary: Summary) -> str:
    """Mean ± standard deviation; the mean alone where there is one seed."""
    if summary.sd is None:
        return f"{summary.mean:.3f}"
    return f"{summary.mean:.3f} ± {summary.sd:.3f}"


def _describe_test(test: PairedTest | None) -> str:
    """The difference and its p; nothing where too few seeds can be compared."""
    if test is None or test.p is None:
        return ""
    p = f"p = {test.p:.3f}"
    if test.p < 0.001:
        p = "p &lt; 0.001"
    difference = f"{test.difference:+.3f}".replace("-", "−")
    return build_element("small", f"{difference}, {p}")
