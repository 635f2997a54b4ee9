"""Everything about one Run: what it lacks, pictures, cases, curves, architecture, and how it was made."""

from genseg_betty.reporting.alpha_curves import draw_architecture
from genseg_betty.reporting.case_scores import describe_cases
from genseg_betty.reporting.curves import draw_curves
from genseg_betty.reporting.elements import build_element, build_heading, build_note, embed_picture
from genseg_betty.reporting.facts import describe_making
from genseg_betty.reporting.record import Record, count_nonfinite
from genseg_betty.reporting.states import describe_state, list_constants

MAX_PICTURES = 4
ELSEWHERE = (
    "So many Runs are on this page that the sample pictures of this one are left out: its own report shows them."
)


def build_run_section(record: Record, side: int, heading: str = "h2", has_samples: bool = True) -> str:
    """The parts of one Run that there is something for, each under a heading.

    Args:
        side: pixels of the longer side of the pictures of test cases.
        has_samples: whether the sample pictures of its training are shown too.
    """
    parts = {
        "Pictures": _show_pictures(record) if has_samples else build_note(ELSEWHERE),
        "Cases": describe_cases(record, side),
        "Training": draw_curves(record),
        "Architecture": draw_architecture(record),
        "How it was made": describe_making(record),
    }
    sections = ""
    for title, part in parts.items():
        if part:
            sections += build_heading(title, heading) + part
    return sections


def build_notices(record: Record) -> str:
    """What is missing in a Run and why."""
    if record.is_broken:
        return build_note(describe_state(record), "notice")
    lines = list(record.faults)
    if record.state != "finished":
        lines.insert(0, describe_state(record))
    lines += list_constants(record)
    for what, count in count_nonfinite(record).items():
        lines.append(f"Not finite: {count} {what}.")
    return "".join(build_note(line, "notice") for line in lines)


def _show_pictures(record: Record) -> str:
    """The sample pictures of the last step."""
    if not record.samples:
        return build_note("No sample pictures yet.", "missing")
    shown = ""
    for path in record.samples[:MAX_PICTURES]:
        caption = path.stem.replace("-", " ")
        shown += embed_picture(path, caption)
    return build_element("div", shown, "gallery")
