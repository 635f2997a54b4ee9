"""`genseg report`: one page about one Run or several, or their scores as Markdown."""

import argparse
from pathlib import Path

from genseg_betty.commands.judging import require_some_run
from genseg_betty.commands.shared import RUN_HELP, Action
from genseg_betty.terminal import say

PAGE = Path("report.html")
"""In the current folder, where no other name is given."""


def _add_report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "trained",
        metavar="RUN",
        type=Path,
        nargs="+",
        help=f"{RUN_HELP}; what is no Run is named and left out. Or FILE.csv of a report: its tables are printed",
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
    paths, out, question = options.trained, options.out, (options.against, options.metric)
    are_csv = all(path.suffix == ".csv" for path in paths)
    if not are_csv:
        require_some_run(paths)
    if out is None and (are_csv or any(question)):
        from genseg_betty.report import summarise_runs

        say(summarise_runs(paths, *question).rstrip())
    elif out is not None and (are_csv or out.suffix == ".md"):
        from genseg_betty.report import write_summary

        say(write_summary(paths, out, *question))
    else:
        from genseg_betty.report import build_report

        say(build_report(paths, out or PAGE, *question, has_figures=True))


REPORT: Action = (
    "One self-contained HTML page about one or more Runs, or their scores as Markdown.",
    _add_report_arguments,
    _report_runs,
)
