"""What a sweep or a folder of Runs has come to: a table with a line for each Run, and what is not finished."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from genseg_betty.errors import UserError
from genseg_betty.reporting import build_report, write_summary
from genseg_betty.reporting.reading import read_record
from genseg_betty.reporting.record import Record, find_test_scores
from genseg_betty.reporting.score_columns import list_test_sets
from genseg_betty.reporting.values import NONE, as_number
from genseg_betty.sweep.cell_states import FINISHED, GOING_ON, CellState, read_states
from genseg_betty.sweep.sweep_file import Sweep
from genseg_betty.terminal import align_columns, say

REPORT = "report.html"
STATUS = "status.json"
DEEPEST = 3
MINUTE, HOUR, DAY = 60, 3600, 86400


def conclude(sweep: Sweep) -> int:
    """Tell what every cell has come to, and compare the finished ones in a report. Returns 1 where one is not."""
    states = read_states(sweep, sweep.cells)
    tell_states(sweep, states)
    runs = [state.record.path for state in states if state.record and state.state == FINISHED]
    if runs:
        which = "all of them" if len(runs) == len(states) else "the finished ones"
        say(f"{which} compared: {write_report(runs, sweep.folder)}")
    return 0 if len(runs) == len(states) else 1


def write_report(runs: Sequence[Path], folder: Path) -> Path:
    """Compare Runs in a folder: a page, tables, figures for a paper, and Markdown. Returns the page."""
    report = build_report(runs, folder / REPORT, has_figures=True)
    with suppress(UserError):  # Runs that were not tested have no table of scores
        write_summary([report.with_suffix(".csv")], report.with_suffix(".md"))
    return report


def tell_states(sweep: Sweep, states: Sequence[CellState]) -> None:
    """A table of all cells, how many are in which state, and why some are not finished."""
    keys = list(states[0].cell.settings)
    test_sets = list_test_sets([state.record for state in states if state.record])
    rows = [["cell", *keys, "state", "step", *test_sets]]
    for state in states:
        settings = list(state.cell.settings.values())
        rows.append([str(state.cell.number), *settings, *_list_progress(state.state, state.record, test_sets)])
    say(*align_columns(rows))
    counts = Counter(state.state for state in states)
    written = [f"{state}: {count} of {len(states)}" for state, count in counts.items()]
    say(", ".join(written))
    for reason, labels in _group_reasons(states).items():
        say(f"{reason}  ({'; '.join(labels)})")
    if counts.keys() - {FINISHED, *GOING_ON}:
        say(f"go on with those that are not: genseg sweep resume {sweep.folder}")


def tell_runs(folder: Path) -> None:
    """A table of all Runs below a folder. Raises UserError where there is none."""
    records, broken = find_records(folder)
    if not records and not broken:
        raise UserError(f"{folder} holds no Run; expected the folder that Runs are trained in, such as outputs")
    test_sets = list_test_sets(records)
    rows = [["run", "state", "step", *test_sets, "age"]]
    for record in records:
        name = str(record.path.relative_to(folder.resolve()))
        rows.append([name, *_list_progress(record.state, record, test_sets), _find_age(record)])
    for path in broken:
        name = str(path.relative_to(folder.resolve()))
        rows.append([name, "damaged", *_list_nothing(1 + len(test_sets) + 1)])
    say(*align_columns(rows))


def find_records(folder: Path) -> tuple[list[Record], list[Path]]:
    """The Runs in a folder and up to two folders further down, and the directories of those that cannot be read."""
    folder = folder.resolve()
    places: set[Path] = set()
    for depth in range(DEEPEST):
        pattern = "*/" * depth + STATUS
        places.update(file.parent for file in folder.glob(pattern))
    records, broken = [], []
    for place in sorted(places):
        try:
            records.append(read_record(place))
        except UserError:
            broken.append(place)
    return records, broken


def _list_progress(state: str, record: Record | None, test_sets: Sequence[str]) -> list[str]:
    """The cells of a table: the state, how many steps of all, and the main score of each test set."""
    if record is None:
        return [state, *_list_nothing(1 + len(test_sets))]
    step = record.status.get("step", NONE)
    scores = find_test_scores(record)
    written = [_write_score(scores.get(name, {}).get(record.metric)) for name in test_sets]
    return [state, str(step), *written]


def _list_nothing(count: int) -> list[str]:
    """So many cells of a table without a value."""
    return [NONE] * count


def _write_score(value: object) -> str:
    number = as_number(value)
    return NONE if number is None else f"{number:.3f}"


def _group_reasons(states: Sequence[CellState]) -> dict[str, list[str]]:
    """ "failed: why" -> the cells that it holds for."""
    reasons: dict[str, list[str]] = {}
    for state in states:
        if state.reason and state.state not in (FINISHED, *GOING_ON):
            labels = reasons.setdefault(state.description, [])
            labels.append(f"{state.cell.number}: {state.cell.label}")
    return reasons


def _find_age(record: Record) -> str:
    """How long ago a Run was last written to: "3 min", "5 h", "12 d"."""
    try:
        updated = datetime.fromisoformat(str(record.status.get("updated")))
    except ValueError:
        return NONE
    if updated.tzinfo is None:
        updated = updated.replace(tzinfo=UTC)
    seconds = max(time.time() - updated.timestamp(), 0)
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min"
    if seconds < DAY:
        return f"{seconds // HOUR:.0f} h"
    return f"{seconds // DAY:.0f} d"
