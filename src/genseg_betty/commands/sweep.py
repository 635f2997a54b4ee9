"""`genseg sweep`, `genseg runs` and `genseg search`: many trainings, and how far they are."""

import argparse
from pathlib import Path

from genseg_betty.commands.shared import Action, add_config_dir, parse_positive
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


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "keys",
        metavar="KEY=VALUE",
        nargs="+",
        help="as of a training; choice(a,b), range(1,9), interval(0,1) are searched",
    )
    parser.add_argument(
        "--trials", type=parse_positive, required=True, help="number of trainings, those before among them"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the study; one there goes on")
    parser.add_argument("--seed", type=int, default=0, help="of the sampler (default 0)")
    add_config_dir(parser)


def search_values(options: argparse.Namespace) -> int:
    """Train until so many trials have ended, and tell the best."""
    from genseg_betty.sweep.search import run_search

    return run_search(options.keys, options.trials, options.out, options.config_dir, options.seed)


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
    tell_states(sweep, read_states(sweep, sweep.cells))


def _resume_cells(options: argparse.Namespace) -> int:
    from genseg_betty.sweep import resume_sweep

    return resume_sweep(options.folder, options.keys)


ACTIONS: dict[str, Action] = {
    "status": ("How far every cell of a sweep is.", _add_status_arguments, _tell_status),
    "resume": ("Train the cells that failed, stopped or never began.", _add_resume_arguments, _resume_cells),
}
