"""`genseg sweep` and `genseg runs`: how far trainings are, and going on with those that are not finished."""

import argparse
from pathlib import Path

from genseg_betty.commands.shared import Action
from genseg_betty.errors import UserError

OUTPUTS = "outputs"


def add_runs_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, nargs="?", default=Path(OUTPUTS), help="default: outputs")


def list_runs(options: argparse.Namespace) -> None:
    """Tell the state, step, scores and age of every Run below a folder."""
    if not options.folder.is_dir():
        raise UserError(f"{options.folder}: no such folder; expected one that Runs are trained in, such as {OUTPUTS}")
    from genseg_betty.sweep.summary import tell_runs

    tell_runs(options.folder)


def _add_status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of the sweep, which `genseg -m` names")


def _add_resume_arguments(parser: argparse.ArgumentParser) -> None:
    _add_status_arguments(parser)
    parser.add_argument(
        "keys", metavar="KEY=VALUE", nargs="*", default=[], help="of the launcher, such as launcher.minutes=600"
    )


def _tell_status(options: argparse.Namespace) -> None:
    from genseg_betty.sweep.cell_states import read_states
    from genseg_betty.sweep.summary import tell_states
    from genseg_betty.sweep.sweep_file import read_sweep

    sweep = read_sweep(options.folder)
    tell_states(sweep, read_states(sweep))


def _resume_cells(options: argparse.Namespace) -> int:
    from genseg_betty.sweep import resume_sweep

    return resume_sweep(options.folder, options.keys)


ACTIONS: dict[str, Action] = {
    "status": ("How far every cell of a sweep is.", _add_status_arguments, _tell_status),
    "resume": ("Train the cells that failed, stopped or never began.", _add_resume_arguments, _resume_cells),
}
