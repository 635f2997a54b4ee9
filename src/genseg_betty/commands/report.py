"""`genseg report`: one page about one Run or several, or their scores as Markdown."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from genseg_betty.commands.judging import is_sweep, require_some_run
from genseg_betty.commands.shared import RUN_HELP, Action
from genseg_betty.errors import UserError
from genseg_betty.terminal import say

PAGE = Path("report.html")
"""In the current folder, where no other name is given."""


def _add_report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "trained",
        metavar="RUN",
        type=Path,
        nargs="+",
        help=f"{RUN_HELP}, or of a sweep: all its Runs; what is neither is named and left out. "
        "Or FILE.csv of a report: its tables are printed",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help=f"FILE.html: a page (default {PAGE}); with it come FILE.csv, and FILE-figures/ with SVG, PDF and LaTeX. "
        "FILE.md: the tables alone, as Markdown",
    )
    parser.add_argument(
        "--against",
        metavar="METHOD",
        help="compare all others with this method; without --out the tables are printed as Markdown",
    )
    parser.add_argument("--metric", metavar="SCORE", help="the score that is compared, such as dice or hd95")


def _report_runs(options: argparse.Namespace) -> None:
    paths, out, question = _expand_sweeps(options.trained), options.out, (options.against, options.metric)
    are_csv = all(path.suffix == ".csv" for path in paths)
    if not are_csv:
        require_some_run(paths)
    if out is None and (are_csv or any(question)):
        from genseg_betty.reporting import summarise_runs

        say(summarise_runs(paths, *question).rstrip())
    elif out is not None and (are_csv or out.suffix == ".md"):
        from genseg_betty.reporting import write_summary

        say(write_summary(paths, out, *question))
    else:
        from genseg_betty.reporting import build_report

        say(build_report(paths, out or PAGE, *question, has_figures=True))


def _expand_sweeps(paths: Sequence[Path]) -> list[Path]:
    """The same paths, with the Runs of a sweep in place of its folder. Raises UserError for one that has none yet."""
    expanded: list[Path] = []
    for path in paths:
        if not is_sweep(path):
            expanded.append(path)
            continue
        from genseg_betty.sweep.cell_states import list_cell_runs

        runs = list_cell_runs(path)
        if not runs:
            raise UserError(f"of the sweep in {path} no cell has a Run yet: genseg sweep status {path}")
        expanded += runs
    return expanded


REPORT: Action = (
    "One self-contained HTML page about one or more Runs, or their scores as Markdown.",
    _add_report_arguments,
    _report_runs,
)
