"""The report page: scores first, then pictures, then all that is behind them. Nothing is loaded from afar."""

from collections.abc import Sequence
from typing import Any

from genseg_betty.reporting.case_gallery import count_own_cases
from genseg_betty.reporting.comparison import build_comparison
from genseg_betty.reporting.contrasts import Contrast
from genseg_betty.reporting.elements import build_element, build_heading, build_note, escape_text
from genseg_betty.reporting.groups import Group
from genseg_betty.reporting.lead import build_lead
from genseg_betty.reporting.page_frame import frame_page
from genseg_betty.reporting.panels import find_side
from genseg_betty.reporting.record import Record, find_test_scores
from genseg_betty.reporting.run_section import build_notices, build_run_section
from genseg_betty.reporting.values import as_number
from genseg_betty.reporting.wording import format_score
from genseg_betty.run.names import DICE, JACCARD


def build_page(records: Sequence[Record], groups: Sequence[Group], contrasts: Sequence[Contrast]) -> str:
    """The whole page for one Run, or for several in their groups."""
    if len(records) == 1:
        title, body = records[0].name, _build_single(records[0])
    else:
        title, body = f"{len(records)} Runs", build_comparison(records, groups, contrasts)
    return frame_page(title, body)


def _build_single(record: Record) -> str:
    """A Run's name and scores in large letters, and everything about it below."""
    body = build_heading(record.name, "h1")
    body += build_lead(record)
    body += build_notices(record)
    body += _build_cards(record)
    side = find_side(count_own_cases([record]))
    return body + build_run_section(record, side)


def _build_cards(record: Record) -> str:
    """A card for each test set."""
    cards = ""
    for test_set, scores in find_test_scores(record).items():
        cards += _build_card(test_set, scores, is_own=test_set == record.dataset)
    if cards:
        return build_element("div", cards, "cards")
    if record.state == "finished":
        return build_note("No test scores.", "missing")
    return build_note("No test scores yet.", "missing")


def _build_card(test_set: str, scores: dict[str, Any], is_own: bool) -> str:
    """The mean scores of a test set; `is_own`: it is of the dataset that was trained on."""
    dice = format_score(as_number(scores.get(DICE)))
    jaccard = format_score(as_number(scores.get(JACCARD)))
    domain = "" if is_own else ", out of domain"
    count = escape_text(scores.get("cases"))
    content = build_heading(test_set, "h3")
    content += build_element("div", dice, "value")
    content += build_element("p", f"Dice, mean of {count} cases{domain}")
    content += build_element("p", f"Jaccard {jaccard}")
    return build_element("section", content, "card")
