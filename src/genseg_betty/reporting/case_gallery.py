"""Test cases in pictures: the best, the median and the worst of a Run, and the same cases of several methods."""

from collections.abc import Sequence

from PIL.Image import Image

from genseg_betty.reporting.elements import (
    build_element,
    build_heading,
    build_note,
    escape_text,
    frame_table,
)
from genseg_betty.reporting.groups import Group
from genseg_betty.reporting.method_names import name_methods
from genseg_betty.reporting.panels import LEGEND, embed_panel, find_side, read_panels, show_panels
from genseg_betty.reporting.record import Record, find_case_scores
from genseg_betty.reporting.score_columns import ScoreColumn
from genseg_betty.reporting.values import NONE
from genseg_betty.reporting.wording import format_score
from genseg_betty.run.names import DICE
from genseg_betty.run.pictures import BEST, MEDIAN, WORST, PicturedCase

OWN = (BEST, MEDIAN, WORST)
MOST_CASES = 4
"""Of a test set in a comparison."""
COMMON_NOTE = (
    "The same cases of all methods, of the first seed of each that has pictures: every Run keeps some chosen by their "
    "ids alone. Below each stands its Dice."
)
MAPS_OF_A_CASE = 4
"""As many masks take as few bytes as the pictures of one case."""


def count_own_cases(records: Sequence[Record]) -> int:
    """How many cases these Runs show as their best, median and worst ones."""
    count = 0
    for record in records:
        count += sum(len(_list_own(cases)) for cases in record.pictures.values())
    return count


def show_own_cases(record: Record, test_set: str, side: int) -> str:
    """The best, the median and the worst case of a test set; nothing where the Run has kept no pictures."""
    scores = find_case_scores(record, test_set, DICE)
    shown = ""
    for case in _list_own(record.pictures.get(test_set, [])):
        panels = read_panels(record.path, test_set, case)
        if panels:
            roles = " and ".join(role for role in OWN if role in case.roles)
            caption = f"{test_set}, {roles} case: {_name_case(case)}, Dice {format_score(scores.get(case.id))}"
            shown += show_panels(panels, side, case.id, caption)
    return shown + build_note(LEGEND) if shown else ""


def show_common_cases(groups: Sequence[Group], columns: Sequence[ScoreColumn]) -> str:
    """A table for each test set: a row a case, a column a method; nothing where no two methods have one in common."""
    names = name_methods([group.key for group in groups])
    tables = ""
    for test_set in dict.fromkeys(column.test_set for column in columns):
        found = {names[group.key]: _find_holder(group, test_set) for group in groups}
        holders = {name: record for name, record in found.items() if record is not None}
        tables += _tabulate_cases(holders, test_set)
    if not tables:
        return ""
    return build_heading("The same cases") + tables + build_note(COMMON_NOTE) + build_note(LEGEND)


def _list_own(cases: Sequence[PicturedCase]) -> list[PicturedCase]:
    """Those that are the best, the median or the worst, in this order."""
    own = [case for case in cases if case.name in OWN]
    return sorted(own, key=lambda case: OWN.index(case.name))


def _find_holder(group: Group, test_set: str) -> Record | None:
    """The first Run of a method that has pictures of a test set."""
    return next((record for record in group.records if record.pictures.get(test_set)), None)


def _tabulate_cases(holders: dict[str, Record], test_set: str) -> str:
    """The cases that most methods have pictures of; nothing where none is of two."""
    kept = {title: {case.id: case for case in record.pictures[test_set]} for title, record in holders.items()}
    counts: dict[str, int] = {}
    for cases in kept.values():
        for id in cases:
            counts[id] = counts.get(id, 0) + 1
    most = max(counts.values(), default=0)
    if most < 2:
        return ""
    common = [id for id in counts if counts[id] == most][:MOST_CASES]
    side = find_side(len(common) * len(holders) // MAPS_OF_A_CASE)
    body = ""
    for id in common:
        body += _build_row(holders, kept, test_set, id, side)
    heads = (test_set, "image", "truth", *holders)
    head = "".join(build_element("th", escape_text(text)) for text in heads)
    return frame_table(build_element("tr", head), body)


def _build_row(
    holders: dict[str, Record], kept: dict[str, dict[str, PicturedCase]], test_set: str, id: str, side: int
) -> str:
    """The image and the truth of a case, and the errors of each method."""
    shared: dict[str, Image] = {}
    cells = ""
    name = id
    for method, record in holders.items():
        case = kept[method].get(id)
        panels = read_panels(record.path, test_set, case) if case else {}
        shown = NONE
        if case and panels:
            name = _name_case(case)
            shared = shared or panels
            shown = embed_panel(panels["error"], side, f"error of {method} on {id}")
        score = find_case_scores(record, test_set, DICE).get(id)
        cells += build_element("td", shown + build_element("small", format_score(score)), "case")

    # The image and the truth are the same for all methods, so they stand there once.
    head = build_element("th", escape_text(name), scope="row")
    for panel in ("image", "truth"):
        shown = embed_panel(shared[panel], side, f"{panel} of {id}") if shared else NONE
        head += build_element("td", shown, "case")
    return build_element("tr", head + cells)


def _name_case(case: PicturedCase) -> str:
    """The id, and of a volume the slice that is shown, from 1."""
    return case.id if case.slice is None else f"{case.id}, slice {case.slice + 1}"
