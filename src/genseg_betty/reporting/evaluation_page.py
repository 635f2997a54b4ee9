"""The page of an evaluation: mean scores with their intervals, how the cases are spread, the worst ones in pictures."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from genseg_betty.reporting.case_scores import describe_test_set
from genseg_betty.reporting.elements import build_element, build_heading, build_note, escape_text, frame_table
from genseg_betty.reporting.page_frame import frame_page
from genseg_betty.reporting.panels import LEGEND, draw_error, find_side, show_panels
from genseg_betty.reporting.values import NONE
from genseg_betty.reporting.wording import format_score, name_score
from genseg_betty.run import names

MOST_PICTURED = 6
"""So many of the worst cases are shown."""
FEW_CASES = 20
"""Of fewer the intervals are too narrow."""
FEW_NOTE = (
    "The intervals of so few cases are too narrow: on simulated scores those of 5 cases held the true mean in 83 of "
    "100 tables, of 10 in 87, of 20 in 93."
)
INTERVAL_NOTE = (
    "95 % intervals of the mean by bootstrap over the cases (10,000 resamples, seeded): how far another draw of as "
    "many cases could move it. They say nothing of other hospitals or of another training."
)

Span = tuple[float, float] | None


class EvaluatedScores(NamedTuple):
    """What a page tells of an evaluation.

    Args:
        subject: whose masks were scored, such as "Run outputs/a" or "masks in b".
        dataset: on what.
        summary: the means, as `summarise_cases` has them.
        rows: the table of cases.
        intervals: score -> the interval of its mean.
        class_intervals: the same of each of several classes.
        notes: what the reader should know of the cases, a sentence each.
    """

    subject: str
    dataset: str
    summary: Mapping[str, Any]
    rows: Sequence[dict[str, Any]]
    intervals: Mapping[str, Span]
    class_intervals: Mapping[str, Mapping[str, Span]]
    notes: Sequence[str]


class WorstCase(NamedTuple):
    """A case in pictures: masks are palette images of classes; `slice` counts from 0, None of an image."""

    id: str
    dice: float
    slice: int | None
    image: Image.Image | None
    truth: Image.Image
    prediction: Image.Image


def list_worst_cases(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the cases to show, the lowest Dice first."""
    scored = [row for row in rows if row[names.DICE] is not None]
    return sorted(scored, key=lambda row: (row[names.DICE], row["id"]))[:MOST_PICTURED]


def build_evaluation_page(scores: EvaluatedScores, worst: Sequence[WorstCase]) -> str:
    """The whole page."""
    title = f"{scores.subject} on {scores.dataset}"
    count = scores.summary[names.CASES]
    body = build_heading(title, "h1")
    body += build_note(f"{count} {'case' if count == 1 else 'cases'}, each scored at the size of its own mask", "lead")
    constant = scores.summary.get(names.CONSTANT)
    if constant:
        body += build_note(f"Every predicted mask is all {constant}.", "notice")
    for note in scores.notes:
        body += build_note(f"{note[:1].upper()}{note[1:]}.", "notice")
    body += _build_cards(scores)
    body += _build_scores(scores)
    body += build_heading("Cases")
    body += describe_test_set(scores.dataset, list(scores.rows))
    body += _show_worst(worst)
    return frame_page(title, body)


def _build_cards(scores: EvaluatedScores) -> str:
    """Dice and Jaccard in large letters."""
    cards = ""
    for score in names.SCORES:
        content = build_heading(name_score(score), "h3")
        content += build_element("div", format_score(scores.summary[score]), "value")
        span = scores.intervals[score]
        if span:
            content += build_note(f"95 % interval {format_span(span)}", "")
        cards += build_element("section", content, "card")
    return build_element("div", cards, "cards")


def _build_scores(scores: EvaluatedScores) -> str:
    """Every mean with its interval, over all foreground classes and of each of several."""
    rows = [_build_row(scores, score, scores.summary, scores.intervals, score) for score in names.TEST_SCORES]
    content = build_heading("Scores") + _frame_rows(rows)
    for name, means in scores.summary[names.CLASSES].items():
        spans = scores.class_intervals[name]
        rows = [_build_row(scores, score, means, spans, f"{score}_{name}") for score in names.TEST_SCORES]
        content += build_heading(name, "h3") + _frame_rows(rows)
    for note in _list_notes(scores):
        content += build_note(note)
    return content


def _frame_rows(rows: Sequence[str]) -> str:
    """The table of scores; its numbers stay on one line."""
    head = build_element("th", "score")
    for title in ("mean", "95 % interval", "cases"):
        head += build_element("th", title, "score")
    return frame_table(build_element("tr", head), "".join(rows))


def _build_row(
    scores: EvaluatedScores, score: str, means: Mapping[str, Any], intervals: Mapping[str, Span], column: str
) -> str:
    """A score: its name with the unit, mean, interval, and how many cases have it."""
    values = [row[column] for row in scores.rows if row[column] is not None]
    digits = 2 if score in (names.HD95, names.ASSD) else 3
    mean = NONE if means[score] is None else f"{means[score]:.{digits}f}"
    name = escape_text(_name_with_unit(score, scores.summary))
    row = build_element("th", name, scope="row")
    for text in (mean, format_span(intervals[score], digits), str(len(values))):
        row += build_element("td", text, "score")
    return build_element("tr", row)


def _name_with_unit(score: str, summary: Mapping[str, Any]) -> str:
    name, unit = name_score(score), summary[names.DISTANCE_UNIT]
    if unit and score in (names.HD95, names.ASSD):
        return f"{name}, {unit}"
    if unit and score == names.SURFACE_DICE:
        return f"{name} within {summary[names.SURFACE_TOLERANCE]:g} {unit}"
    return name


def format_span(span: Span, digits: int = 3) -> str:
    """An interval as a page writes it; a dash for none."""
    if span is None:
        return NONE
    low, high = span
    return f"{low:.{digits}f} to {high:.{digits}f}"


def _list_notes(scores: EvaluatedScores) -> list[str]:
    """What the table does not say by itself."""
    summary = scores.summary
    notes = [INTERVAL_NOTE]
    if summary[names.CASES] < FEW_CASES:
        notes.append(FEW_NOTE)
    if summary[names.UNDEFINED_DISTANCES]:
        notes.append(
            f"{summary[names.UNDEFINED_DISTANCES]} distances are undefined, as only one of truth and prediction shows "
            "the class; they are left out of the means of distances."
        )
    if summary[names.DISTANCE_UNIT] is None:
        notes.append("No mean distance: some cases state their spacing in mm, others state none.")
    return notes


def _show_worst(worst: Sequence[WorstCase]) -> str:
    """Image, truth, prediction and error of each of the worst cases."""
    side = find_side(len(worst))
    shown = ""
    for case in worst:
        error = draw_error(np.asarray(case.truth), np.asarray(case.prediction))
        panels = {"image": case.image} if case.image is not None else {}
        panels |= {"truth": case.truth, "prediction": case.prediction, "error": error}
        slice_shown = "" if case.slice is None else f", slice {case.slice + 1}"
        caption = f"{case.id}{slice_shown}, Dice {format_score(case.dice)}"
        shown += show_panels(panels, side, case.id, caption)
    if not shown:
        return ""
    return build_heading("Worst cases") + build_note(LEGEND) + shown
