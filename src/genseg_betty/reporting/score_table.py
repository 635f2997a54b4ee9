"""The table of test scores: one row a method, mean ± standard deviation over its seeds."""

from collections.abc import Sequence

from genseg_betty.reporting.contrast_table import STAR
from genseg_betty.reporting.contrasts import Contrast, find_contrast
from genseg_betty.reporting.elements import build_element, build_heading, build_note, escape_text, frame_table
from genseg_betty.reporting.groups import Group
from genseg_betty.reporting.record import Record, find_test_scores
from genseg_betty.reporting.score_columns import UNKNOWN, ScoreColumn, describe_overlaps
from genseg_betty.reporting.states import explain_lack
from genseg_betty.reporting.values import NONE
from genseg_betty.reporting.wording import name_score
from genseg_betty.run.names import ASSD, CONSTANT, DICE, DISTANCE_UNIT, HD95, SCORES, TEST_SCORES
from genseg_betty.statistics import Summary

TABLE_NOTE = (
    "Mean ± standard deviation (n − 1) over seeds; below it their number. "
    f"{STAR} higher than the method that it is compared with, as the table of comparisons says."
)
FURTHER_NOTE = "Mean ± standard deviation over seeds of the Runs that have them; short distances are good."


def build_score_table(groups: Sequence[Group], columns: Sequence[ScoreColumn], contrasts: Sequence[Contrast]) -> str:
    """Dice and Jaccard of every method, and notes that say what stands in the table."""
    if not columns:
        return build_note("No test scores yet.", "missing")
    table = _build_table(groups, columns, SCORES, contrasts)
    for sentence in (*describe_overlaps(columns), TABLE_NOTE):
        table += build_note(sentence)
    return table


def build_further_scores(groups: Sequence[Group], columns: Sequence[ScoreColumn]) -> str:
    """The other scores of every method; nothing where no Run has any, as of earlier versions."""
    further = [score for score in TEST_SCORES if score not in SCORES]
    found = []
    for group in groups:
        for column in columns:
            found += [score for score in further if group.find_scores(column, score)]
    if not found:
        return ""
    heading = build_heading("Further scores")
    return heading + _build_table(groups, columns, further, []) + build_note(FURTHER_NOTE)


def _build_table(
    groups: Sequence[Group], columns: Sequence[ScoreColumn], scores: Sequence[str], contrasts: Sequence[Contrast]
) -> str:
    """A row a method, and below each column a cell for each of the scores."""
    body = ""
    for group in groups:
        row = _build_head(group)
        if not group.has_scores:
            lack = escape_text(explain_lack(group))
            row += build_element("td", lack, "lack", colspan=len(columns) * len(scores))
            body += build_element("tr", row)
            continue
        for column in columns:
            contrast = find_contrast(contrasts, group, column.test_set)
            for score in scores:
                is_higher = contrast is not None and contrast.score == score and contrast.is_higher
                row += _build_cell(group, column, score, is_higher)
        body += build_element("tr", row)
    records = [record for group in groups for record in group.records]
    return frame_table(_build_column_heads(columns, scores, records), body)


def _build_column_heads(columns: Sequence[ScoreColumn], scores: Sequence[str], records: Sequence[Record]) -> str:
    """Two rows: the test sets, and the scores of each."""
    trained_on = {record.dataset for record in records}
    heads = build_element("th", "method", rowspan=2)
    names = ""
    for column in columns:
        kind = "trained on" if column.test_set in trained_on else "out of domain"
        count = f"{len(column.cases)} cases" if column.cases else UNKNOWN
        label = escape_text(column.title)
        label += build_element("small", f"{kind}, {count}")
        heads += build_element("th", label, "set", colspan=len(scores))
        unit = _find_unit(column, records)
        for score in scores:
            name = name_score(score)
            if unit and score in (HD95, ASSD):
                name += f", {unit}"
            names += build_element("th", escape_text(name), "score")
    return build_element("tr", heads) + build_element("tr", names)


def _find_unit(column: ScoreColumn, records: Sequence[Record]) -> str:
    """The unit of the distances; nothing where there are none, or not in one unit."""
    units = set()
    for record in records:
        if column.holds_run(record):
            units.add(str(find_test_scores(record)[column.test_set].get(DISTANCE_UNIT) or ""))
    return units.pop() if len(units) == 1 else ""


def _build_head(group: Group) -> str:
    """The method of a row; below it on what it was trained, with which networks and seeds, and what it took beyond."""
    if group.first.is_broken:
        return build_element("th", escape_text(group.title), scope="row")
    labels = group.labels
    seeds = [str(record.seed) for record in group.records]
    parts = [
        labels.networks,
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


def _build_cell(group: Group, column: ScoreColumn, score: str, is_higher: bool) -> str:
    """The mean of one score, and below it over how many seeds."""
    summary = group.summarise_scores(column, score)
    if summary is None:
        return build_element("td", NONE, "score")
    content = _format_summary(summary)
    css = "score"
    if is_higher:
        content += f" {STAR}"
        css = "score best"
    content += build_element("small", f"n = {summary.n}")
    if score == DICE:
        for note in _list_constants(group, column):
            content += build_element("small", escape_text(note))
    return build_element("td", content, css)


def _list_constants(group: Group, column: ScoreColumn) -> list[str]:
    """What the predictions are where they are all one class, and of which seed."""
    notes = []
    for record in group.records:
        if column.holds_run(record):
            constant = find_test_scores(record)[column.test_set].get(CONSTANT)
            if constant:
                whose = "" if len(group.records) == 1 else f"seed {record.seed}: "
                notes.append(f"{whose}all {constant}")
    return notes


def _format_summary(summary: Summary) -> str:
    """Mean ± standard deviation; the mean alone where there is one seed."""
    if summary.sd is None:
        return f"{summary.mean:.3f}"
    return f"{summary.mean:.3f} ± {summary.sd:.3f}"
