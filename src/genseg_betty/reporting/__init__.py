"""Reports: one HTML page and one CSV for a Run or several. Reads Runs on disk, imports no model code."""

from collections.abc import Sequence
from pathlib import Path

from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, remove_leftovers
from genseg_betty.reporting.case_file import COLUMNS_OF_CASES, encode_cases
from genseg_betty.reporting.contrasts import Contrast, compare_groups
from genseg_betty.reporting.groups import Group, find_group, group_runs
from genseg_betty.reporting.latex import HEAD, write_contrast_table, write_score_table
from genseg_betty.reporting.markdown import build_summary
from genseg_betty.reporting.page import build_page
from genseg_betty.reporting.paper_figures import draw_comparison_figures, draw_training_figures
from genseg_betty.reporting.reading import read_all_records
from genseg_betty.reporting.record import Record
from genseg_betty.reporting.score_columns import list_columns
from genseg_betty.reporting.score_file import COLUMNS, encode_scores
from genseg_betty.reporting.score_tables import CASES_OF, ScoreTables, parse_table, read_score_tables
from genseg_betty.run.names import TEST_SCORES

# What the files of every report begin with, by their suffix; a page may have any other.
BEGINNING_OF_PAGE = b"<!DOCTYPE html>"
BEGINNINGS = {
    ".csv": tuple(",".join(columns[:2]).encode() for columns in (COLUMNS, COLUMNS_OF_CASES)),
    ".md": (b"| method |",),
    ".tex": (HEAD.encode(),),
    ".svg": (b"<?xml",),
    ".pdf": (b"%PDF",),
}
TABLE, MARKDOWN = ".csv", ".md"


def build_report(
    runs: Sequence[Path],
    out: Path,
    against: str | None = None,
    score: str | None = None,
    has_figures: bool = False,
) -> Path:
    """Write the page to `out` and the scores, one row per Run and test set, to `out` with suffix .csv.

    Of several Runs the scores of all their cases are written beside it: page.csv and page-cases.csv.

    What a Run lacks is said on the page. One named twice counts once. What is no Run is left out, with a warning.

    Args:
        against: name of the method that all others are compared with, as `build_summary` has it.
        score: what they are compared by.
        has_figures: also write figures and tables for a paper, into a folder beside it: page-figures.

    Raises:
        UserError: no Runs, none that can be read, files at the place of these that are no report, `out` cannot be
            written, or `against` is none of the methods.
    """
    out = Path(out).expanduser()
    if out.suffix == TABLE:
        raise UserError(f"{out} would be overwritten by the table of scores: name the page something.html")
    records = read_all_records(runs)
    groups = group_runs(records)
    contrasts = _compare_methods(groups, against, score)
    contents = {
        out: build_page(records, groups, contrasts).encode(),
        out.with_suffix(TABLE): encode_scores(records, groups, contrasts),
    }
    if len(records) > 1:
        contents[out.with_name(CASES_OF.format(stem=out.stem))] = encode_cases(groups)
    if has_figures:
        folder = out.with_name(f"{out.stem}-figures")
        for name, content in _draw_figures(records, groups, contrasts).items():
            contents[folder / name] = content
    _write_files(out, contents)
    return out


def summarise_runs(paths: Sequence[Path], against: str | None = None, score: str | None = None) -> str:
    """The scores and comparisons as Markdown, of Runs or of the tables (.csv) that a report of Runs wrote.

    Raises:
        UserError: as `build_report`; a file is no such table; or nothing has the score.
    """
    _require_score(score)
    if paths and all(path.suffix == TABLE for path in paths):
        return build_summary(read_score_tables(paths), against, score)
    records = read_all_records(paths)
    groups = group_runs(records)
    scores = parse_table(encode_scores(records, groups, []))
    cases = parse_table(encode_cases(groups))
    return build_summary(ScoreTables(scores, cases), against, score)


def write_summary(paths: Sequence[Path], out: Path, against: str | None = None, score: str | None = None) -> Path:
    """Write what `summarise_runs` finds to a Markdown file. Raises UserError as it does, or if it cannot be written."""
    out = Path(out).expanduser()
    if out.suffix != MARKDOWN:
        raise UserError(f"--out {out}: of tables there is no page; expected a file with suffix {MARKDOWN}")
    content = summarise_runs(paths, against, score).encode()
    _write_files(out, {out: content})
    return out


def _draw_figures(
    records: Sequence[Record], groups: Sequence[Group], contrasts: Sequence[Contrast]
) -> dict[str, bytes]:
    """File name -> content of what a paper takes from a report."""
    if len(records) == 1:
        return draw_training_figures(records[0])
    columns = list_columns(records)
    scored = [group for group in groups if group.has_scores]
    if not columns:
        return {}
    files = draw_comparison_figures(scored, columns)
    files["scores.tex"] = write_score_table(scored, columns).encode()
    if contrasts:
        files["comparisons.tex"] = write_contrast_table(contrasts).encode()
    return files


def _compare_methods(groups: Sequence[Group], against: str | None, score: str | None) -> list[Contrast]:
    _require_score(score)
    reference = None if against is None else find_group(groups, against)
    return compare_groups(groups, reference, score)


def _require_score(score: str | None) -> None:
    if score is not None and score not in TEST_SCORES:
        raise UserError(f"--metric {score}: expected one of {', '.join(TEST_SCORES)}")


def _write_files(out: Path, contents: dict[Path, bytes]) -> None:
    """Write all files, or none where one would replace what is no report. Raises UserError."""
    try:
        for file in contents:
            _require_replaceable(file)
        folders = list(dict.fromkeys(file.parent for file in contents))
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folders)
        for file, content in contents.items():
            atomic_write(file, content)
    except OSError as error:
        raise UserError(f"the report cannot be written to {out}: {error.strerror}") from error


def _require_replaceable(file: Path) -> None:
    """Raise UserError where a file would be lost that is no report: it begins otherwise. Raises OSError."""
    if not file.is_file():
        return
    beginnings = BEGINNINGS.get(file.suffix, (BEGINNING_OF_PAGE,))
    with file.open("rb") as opened:
        found = opened.read(max(map(len, beginnings)))
    if found and not found.startswith(beginnings):
        raise UserError(
            f"{file} is there already and is no report: move it away, or name the page otherwise with --out"
        )
