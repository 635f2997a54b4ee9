"""Reports: one HTML page and one CSV for a Run or several. Reads Runs on disk, imports no model code."""

from collections.abc import Sequence
from pathlib import Path

from genseg_betty.errors import UserError
from genseg_betty.faults import list_examples
from genseg_betty.files import atomic_write
from genseg_betty.report.page import render
from genseg_betty.report.record import read_record
from genseg_betty.report.tables import write_csv


def build_report(runs: Sequence[Path], out: Path) -> Path:
    """Write the page to `out` and the scores, one row per Run and test set, to `out` with suffix .csv.

    What a Run lacks (it is unfinished, a file is damaged) is said on the page. A Run named twice counts once.

    Raises:
        UserError: no Runs, a directory that is no Run, or `out` cannot be written.
    """
    paths = list(dict.fromkeys(Path(path).expanduser().resolve() for path in runs))
    if not paths:
        raise UserError("a report needs at least one Run: name run directories")
    out = Path(out).expanduser()
    if out.suffix == ".csv":
        raise UserError(f"{out} would be overwritten by the table of scores: name the page something.html")
    missing = [str(path) for path in paths if not (path / "config.yaml").is_file()]
    if missing:
        raise UserError(f"no Run in {list_examples(missing)}: expected config.yaml there. Name run directories")
    records = [read_record(path) for path in paths]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(out, render(records).encode())
        write_csv(records, out.with_suffix(".csv"))
    except OSError as error:
        raise UserError(f"the report cannot be written to {out}: {error.strerror}") from error
    return out
