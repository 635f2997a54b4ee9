"""Several Runs on one page: the dots of each seed, a picture of each method, and each Run to unfold."""

import itertools
import math
import statistics
from collections.abc import Callable, Sequence

from genseg_betty.reporting.case_gallery import count_own_cases, show_common_cases
from genseg_betty.reporting.contrast_table import build_contrast_table
from genseg_betty.reporting.contrasts import Contrast
from genseg_betty.reporting.elements import (
    build_element,
    build_figure,
    build_heading,
    build_note,
    embed_picture,
    escape_text,
)
from genseg_betty.reporting.groups import Group
from genseg_betty.reporting.lead import build_lead
from genseg_betty.reporting.panels import find_side
from genseg_betty.reporting.record import Record, find_test_scores
from genseg_betty.reporting.run_section import build_notices, build_run_section
from genseg_betty.reporting.sample_sizes import draw_size_curves
from genseg_betty.reporting.score_columns import ScoreColumn, list_columns
from genseg_betty.reporting.score_table import build_further_scores, build_score_table
from genseg_betty.reporting.values import as_number
from genseg_betty.reporting.wording import format_score
from genseg_betty.run.names import DICE

MAX_GALLERY = 12
"""The most pictures beside each other."""
MAX_SAMPLED = 50
"""Of so many Runs the sample pictures are shown, or the page would be too large to send."""
SYNTHETIC = "synthetic"
"""What the names of pictures begin with that show what a generator draws."""

Scale = tuple[float, float]
"""Both ends of a track: multiples of 0.05."""


def build_comparison(records: Sequence[Record], groups: Sequence[Group], contrasts: Sequence[Contrast]) -> str:
    """What the page shows of several Runs."""
    runs = f"{len(records)} Runs"
    known = [group for group in groups if not group.first.is_broken]
    datasets = dict.fromkeys(group.first.dataset for group in known)
    lead = f"{len(known)} methods over {runs} on {', '.join(datasets)}"

    # First what the Runs were compared for, last what only who looks for a fault unfolds.
    body = build_heading(f"Comparison of {runs}", "h1")
    body += build_note(lead, "lead")
    body += _warn_of_unfinished(records)
    body += build_heading("Scores")
    columns = list_columns(records)
    body += build_score_table(groups, columns, contrasts)
    scored = [group for group in groups if group.has_scores]
    body += _draw_all_dots(scored, columns)
    if columns:
        body += draw_size_curves(scored, columns)
    if contrasts:
        body += build_heading("Comparisons")
        body += build_contrast_table(contrasts)
    body += build_further_scores(scored, columns)
    body += show_common_cases(scored, columns)
    body += build_heading("Pictures")
    body += _build_galleries(groups)
    body += build_heading("Each Run")
    side = find_side(count_own_cases(records))
    for number, record in enumerate(records):
        body += _build_details(record, side, has_samples=number < MAX_SAMPLED)
    return body


def _warn_of_unfinished(records: Sequence[Record]) -> str:
    unfinished = [record.name for record in records if record.state != "finished"]
    if not unfinished:
        return ""
    names = ", ".join(unfinished)
    return build_note(f"{len(unfinished)} of them not finished: {names}", "notice")


def _draw_all_dots(groups: Sequence[Group], columns: Sequence[ScoreColumn]) -> str:
    """For each column of the table, every seed's Dice as a dot and the mean as a bar, methods below each other."""
    figures = ""
    trained_on = {group.first.dataset for group in groups}
    for column in columns:
        domain = "" if column.test_set in trained_on else ", out of domain"
        caption = f"{column.title}{domain}: Dice of each seed, and the mean"
        dots = _draw_dots(groups, column)
        figures += build_figure(caption, build_element("div", dots, "dots"))
    return build_element("div", figures, "split")


def _draw_dots(groups: Sequence[Group], column: ScoreColumn) -> str:
    """A track for each method, and the scale that they share."""
    dice = [_find_dice(group, column) for group in groups]
    every = list(itertools.chain.from_iterable(dice))
    scale = _find_scale(every or [0.0, 1.0])

    # Two columns of a grid: the labels, and the tracks with the scale below them.
    rows = ""
    for group, of_group in zip(groups, dice, strict=True):
        label = escape_text(group.title)
        rows += build_element("span", label, "label")
        rows += build_element("span", _draw_marks(of_group, scale), "track")
    ends = ""
    for end in scale:
        ends += build_element("span", f"{end:g}")
    rows += build_element("span")
    return rows + build_element("span", ends, "scale")


def _find_dice(group: Group, column: ScoreColumn) -> list[float]:
    """The Dice of each seed."""
    scores = group.find_scores(column, DICE)
    return list(scores.values())


def _find_scale(scores: Sequence[float]) -> Scale:
    """The ends of a track on which all scores lie."""
    low = math.floor(min(scores) * 20 - 0.2) / 20
    high = math.ceil(max(scores) * 20 + 0.2) / 20
    return low, high


def _draw_marks(scores: Sequence[float], scale: Scale) -> str:
    """A dot for each score and a bar for their mean."""
    marks = ""
    for score in scores:
        marks += _draw_mark("i", score, scale)
    if scores:
        mean = statistics.fmean(scores)
        marks += _draw_mark("b", mean, scale)
    return marks


def _draw_mark(tag: str, score: float, scale: Scale) -> str:
    low, high = scale
    share = (score - low) / (high - low)
    return build_element(tag, style=f"left:{share:.2%}")


def _build_galleries(groups: Sequence[Group]) -> str:
    """What the generators draw, and what the segmenters make of validation images: a picture a method."""
    synthetic = _build_gallery(groups, lambda name: name.startswith(SYNTHETIC))
    others = _build_gallery(groups, lambda name: not name.startswith(SYNTHETIC))
    shown = ""
    if synthetic:
        shown += build_heading("Synthetic images", "h3") + synthetic
    if others:
        shown += build_heading("Validation images", "h3") + others
    return shown or build_note("No sample pictures yet.", "missing")


def _build_gallery(groups: Sequence[Group], is_shown: Callable[[str], bool]) -> str:
    """The picture of the first Run of each method that has one by such a name."""
    shown = ""
    for group in groups[:MAX_GALLERY]:
        pictures = [(record, path) for record in group.records for path in record.samples if is_shown(path.name)]
        if pictures:
            record, path = pictures[0]
            shown += embed_picture(path, f"{group.title}, seed {record.seed}")
    return build_element("div", shown, "gallery") if shown else ""


def _build_details(record: Record, side: int, has_samples: bool) -> str:
    """Everything about one Run, folded away behind its name and scores."""
    scores = []
    for test_set, found in find_test_scores(record).items():
        dice = as_number(found.get(DICE))
        scores.append(f"{test_set} {format_score(dice)}")
    told = ", ".join(scores) or record.state
    title = escape_text(record.name)
    title += build_element("small", escape_text(told))
    content = build_element("summary", title)
    if not record.is_broken:
        content += build_lead(record)
    content += build_notices(record)
    if not record.is_broken:
        content += build_run_section(record, side, "h3", has_samples)
    return build_element("details", content)
