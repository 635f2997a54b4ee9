"""Reports: one HTML page and one CSV for a Run or several. Reads Runs on disk, imports no model code."""

from collections.abc import Sequence
from pathlib import Path

from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, remove_leftovers
from genseg_betty.report.case_file import COLUMNS_OF_CASES, write_cases
from genseg_betty.report.contrasts import compare_groups
from genseg_betty.report.groups import group_runs
from genseg_betty.report.page import build_page
from genseg_betty.report.reading import read_all_records
from genseg_betty.report.score_file import COLUMNS, write_scores

# What the files of every report begin with.
BEGINNING_OF_PAGE = b"<!DOCTYPE html>"
BEGINNING_OF_TABLE = ",".join(COLUMNS[:2]).encode()
BEGINNING_OF_CASES = ",".join(COLUMNS_OF_CASES[:2]).encode()


def build_report(runs: Sequence[Path], out: Path) -> Path:
    """Write the page to `out` and the scores, one row per Run and test set, to `out` with suffix .csv.

    Of several Runs the scores of all their cases are written beside it: page.csv and page-cases.csv.

    What a Run lacks (it is unfinished, a file is damaged) is said on the page. A Run named twice counts once. What is
    no Run is left out with a warning that names it.

    Raises:
        UserError: no Runs, none that can be read, files at the place of these that are no report, or `out` cannot
            be written.
    """
    if not runs:
        raise UserError("a report needs at least one Run: name run directories")
    out = Path(out).expanduser()
    scores = out.with_suffix(".csv")
    if out == scores:
        raise UserError(f"{out} would be overwritten by the table of scores: name the page something.html")
    cases = out.with_name(f"{out.stem}-cases.csv")
    records = read_all_records(runs)
    groups = group_runs(records)
    contrasts = compare_groups(groups)
    has_several = len(records) > 1

    # All files are looked at before any is written, so that none is replaced beside one that is refused.
    try:
        _require_replaceable(out, BEGINNING_OF_PAGE)
        _require_replaceable(scores, BEGINNING_OF_TABLE)
        if has_several:
            _require_replaceable(cases, BEGINNING_OF_CASES)
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers([out.parent])
        atomic_write(out, build_page(records, groups, contrasts).encode())
        write_scores(records, groups, contrasts, scores)
        if has_several:
            write_cases(groups, cases)
    except OSError as error:
        raise UserError(f"the report cannot be written to {out}: {error.strerror}") from error
    return out


def _require_replaceable(file: Path, beginning: bytes) -> None:
    """Raise UserError where a file would be lost that is no report: it begins otherwise. Raises OSError."""
    if not file.is_file():
        return
    with file.open("rb") as opened:
        found = opened.read(len(beginning))
    if found and found != beginning:
        raise UserError(
            f"{file} is there already and is no report: move it away, or name the page otherwise with --out"
        )
