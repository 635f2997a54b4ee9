"""Several Runs on one page: the dots of each seed, a picture of each method, and each Run to unfold."""

import math
import statistics
from collections.abc import Sequence

from genseg_betty.report.elements import build_element, build_figure, build_note, embed_picture, escape_text
from genseg_betty.report.groups import Group, group_runs, list_test_sets
from genseg_betty.report.lead import build_lead
from genseg_betty.report.record import Record, find_test_scores
from genseg_betty.report.run_section import build_notices, build_run_section
from genseg_betty.report.score_table import build_score_table
from genseg_betty.report.values import as_number
from genseg_betty.report.wording import format_score
from genseg_betty.run.names import DICE

MAX_GALLERY = 12


def build_comparison(records: Sequence[Record]) -> str:
    """What the page shows of several Runs."""
    groups = group_runs(records)
    datasets = ", ".join(dict.fromkeys(record.dataset for record in records))
    body = build_element("h1", f"Comparison of {len(records)} Runs")
    body += build_note(f"{len(groups)} methods over {len(records)} Runs on {datasets}", "lead")
    body += _warn_of_unfinished(records)
    body += build_element("h2", "Scores") + build_score_table(groups, records) + _draw_all_dots(groups, records)
    body += build_element("h2", "Pictures") + _build_gallery(groups)
    body += build_element("h2", "Each Run")
    for record in records:
        body += _build_details(record)
    return body


def _warn_of_unfinished(records: Sequence[Record]) -> str:
    unfinished = [record.name for record in records if record.state != "finished"]
    if not unfinished:
        return ""
    return build_note(f"{len(unfinished)} of them not finished: {', '.join(unfinished)}", "notice")


def _draw_all_dots(groups: Sequence[Group], records: Sequence[Record]) -> str:
    """For each test set, every seed's Dice as a dot and the mean as a bar, methods below each other."""
    figures = ""
    for test_set in list_test_sets(records):
        dots = build_element("div", _draw_dots(groups, test_set), "dots")
        figures += build_figure(f"{test_set}: Dice of each seed, and the mean", dots)
    return build_element("div", figures, "split")


def _draw_dots(groups: Sequence[Group], test_set: str) -> str:
    """A track for each method, and the ends of the scale that they share: multiples of 0.05 around all scores."""
    scores = [list(group.find_scores(test_set, DICE).values()) for group in groups]
    every = [score for of_group in scores for score in of_group] or [0.0, 1.0]
    low = math.floor(min(every) * 20 - 0.2) / 20
    high = math.ceil(max(every) * 20 + 0.2) / 20
    rows = ""
    for group, of_group in zip(groups, scores, strict=True):
        rows += build_element("span", escape_text(group.title), "label")
        rows += build_element("span", _draw_marks(of_group, low, high), "track")
    ends = build_element("span", f"{low:g}") + build_element("span", f"{high:g}")
    return rows + build_element("span") + build_element("span", ends, "scale")


def _draw_marks(scores: Sequence[float], low: float, high: float) -> str:
    """A dot for each score and a bar for their mean, on a track from `low` to `high`."""
    marks = ""
    for score in scores:
        marks += _draw_mark("i", score, low, high)
    if scores:
        marks += _draw_mark("b", statistics.fmean(scores), low, high)
    return marks


def _draw_mark(tag: str, score: float, low: float, high: float) -> str:
    share = (score - low) / (high - low)
    return build_element(tag, style=f"left:{share:.2%}")


def _build_gallery(groups: Sequence[Group]) -> str:
    """The pictures of the first Run of each method that has any."""
    shown = ""
    for group in groups[:MAX_GALLERY]:
        record = next((record for record in group.records if record.samples), None)
        if record is not None:
            shown += embed_picture(record.samples[0], f"{group.title}, seed {record.seed}")
    if not shown:
        return build_note("No sample pictures yet.", "missing")
    return build_element("div", shown, "gallery")


def _build_details(record: Record) -> str:
    """Everything about one Run, folded away behind its name and scores."""
    scores = []
    for test_set, found in find_test_scores(record).items():
        scores.append(f"{test_set} {format_score(as_number(found.get(DICE)))}")
    told = build_element("small", escape_text(", ".join(scores) or record.state))
    summary = build_element("summary", escape_text(record.name) + told)
    section = build_lead(record) + build_notices(record) + build_run_section(record, "h3")
    return build_element("details", summary + section)
