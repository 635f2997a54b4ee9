"""Many trainings from one command: every combination of the values given (`-m seed=0,1,2`), each a Run of its own."""

from collections.abc import Sequence
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

from genseg_betty.config import require_betty, user_folder
from genseg_betty.config.launchers import is_launchers
from genseg_betty.errors import UserError
from genseg_betty.sweep.checking import SweepPlan, choose_launcher, plan_sweep
from genseg_betty.sweep.slurm_extra import require_launcher
from genseg_betty.sweep.sweep_file import Sweep, hold_folder, name_sweep, read_sweep
from genseg_betty.terminal import print_notes

SWEEPS = Path("outputs", "sweeps")


def run_sweep(overrides: Sequence[str], config_dir: str | Path | None = None) -> int:
    """Train all cells and conclude with a table and a report. Returns the exit status: 1 where a cell is not finished.

    A cell that fails is reported, and the others go on. The same command again goes on where it was left.

    Raises:
        ConfigError: before anything is trained, if a cell is invalid or two would share a directory.
        Interrupted: a signal came; what was trained has its checkpoint.
    """
    require_betty()
    folder = user_folder(config_dir)
    if any(line.lstrip("+") == "launcher=slurm" for line in overrides):
        require_launcher()  # Hydra would only say that its file is missing
    plan = plan_sweep(overrides, folder)
    sweep = _make_sweep(plan, folder)
    print_notes(plan.notes)
    from genseg_betty.sweep.running import train_cells  # all is judged: what follows imports PyTorch

    with hold_folder(sweep.folder):
        sweep.write()
        return train_cells(sweep, sweep.cells)


def resume_sweep(folder: str | Path, lines: Sequence[str] = ()) -> int:
    """Train the cells that failed, stopped or never began. Returns the exit status, as `run_sweep`.

    Args:
        lines: overrides of the launcher, such as launcher=local or launcher.minutes=600.
    """
    require_betty()
    sweep = read_sweep(Path(folder).absolute())
    strange = [line for line in lines if not is_launchers(line)]
    if strange:
        raise UserError(
            f"{' '.join(strange)}: expected keys of the launcher alone; what its cells train stays as it is"
        )
    if not Path(sweep.working_dir).is_dir():
        raise UserError(f"{sweep.working_dir} is gone, where this sweep was begun and its paths lead from")
    from genseg_betty.sweep.running import find_unfinished, train_cells

    with chdir(sweep.working_dir), hold_folder(sweep.folder):
        if lines:
            own = Path(sweep.config_dir) if sweep.config_dir else None
            chosen = [f"launcher={sweep.launcher['name']}", *lines]
            sweep = replace(sweep, launcher=choose_launcher(sweep.cells[0].overrides, chosen, own))
            sweep.write()
        return train_cells(sweep, find_unfinished(sweep))


def _make_sweep(plan: SweepPlan, config_dir: Path | None) -> Sweep:
    """The sweep of a plan, in its own folder."""
    folder = Path(plan.folder).expanduser() if plan.folder else SWEEPS / name_sweep(plan.cells, plan.experiment)
    return Sweep(
        folder,
        plan.cells,
        launcher=plan.launcher,
        hydras=plan.hydras,
        working_dir=str(Path.cwd()),
        config_dir=str(config_dir) if config_dir else None,
    )
