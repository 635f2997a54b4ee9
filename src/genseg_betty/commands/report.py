"""`genseg report`: one page about one Run or several."""

import argparse
from pathlib import Path

from genseg_betty.commands.judging import require_some_run
from genseg_betty.commands.shared import RUN_HELP, Action
from genseg_betty.terminal import say

PAGE = Path("report.html")
"""In the current folder, where no other name is given."""


def _add_report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "trained", metavar="RUN", type=Path, nargs="+", help=f"{RUN_HELP}; what is no Run is named and left out"
    )
    parser.add_argument(
        "--out", metavar="FILE.html", type=Path, default=PAGE, help=f"default {PAGE}; FILE.csv comes with it"
    )


def _report_runs(options: argparse.Namespace) -> None:
    require_some_run(options.trained)
    from genseg_betty.report import build_report

    build_report(options.trained, options.out)
    say(options.out)


REPORT: Action = ("One self-contained HTML page about one or more Runs.", _add_report_arguments, _report_runs)
