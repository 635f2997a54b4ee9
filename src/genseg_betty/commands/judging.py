"""What is judged of a command's arguments before PyTorch is imported, so that a mistyped name is told at once."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from genseg_betty.errors import UserError
from genseg_betty.faults import list_examples

CONFIG = "config.yaml"
SWEEP_FILE = "sweep.json"
GENERATOR = Path("checkpoints", "generator.pt")


def make_checks(*checks: Callable[[], object]) -> None:
    """Make every check. Raises one UserError with all that they find."""
    faults = []
    for check in checks:
        try:
            check()
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError("\n".join(faults))


def require_runs(paths: Sequence[Path]) -> None:
    """Raise UserError where a directory holds no Run, with the Run that was most likely meant."""
    missing = [path.expanduser() for path in paths if not _is_run(path)]
    if not missing:
        return
    places = list_examples([str(path.absolute()) for path in missing])
    hint = _suggest_run(missing[0])
    raise UserError(
        f"there is no Run in {places}: expected {CONFIG} there. Name a run directory, as given by run_dir=…{hint}"
    )


def require_some_run(paths: Sequence[Path]) -> None:
    """Raise UserError where none of the directories holds a Run."""
    if not any(_is_run(path) for path in paths):
        require_runs(paths)


def require_generator(run: Path) -> None:
    """Raise UserError for a finished Run that has kept no generator."""
    folder = run.expanduser()
    is_finished = (folder / "results.json").is_file()
    if is_finished and not (folder / GENERATOR).is_file():
        raise UserError(
            f"the Run in {run} has no {GENERATOR}: only methods with a generator (genseg, separate) write one"
        )


def require_inputs(paths: Iterable[Path]) -> None:
    """Raise UserError for images and folders that are not there."""
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        places = list_examples(missing)
        raise UserError(f"Nothing was predicted:\n  - {places}: no such file or folder")


def require_pair_folders(paths: Iterable[Path]) -> None:
    """Raise UserError where the folder of images or that of their masks is not there."""
    missing = [str(path.resolve()) for path in paths if not path.is_dir()]
    if missing:
        places = " and ".join(missing)
        raise UserError(f"No such folder: {places}; expected one of images and one of masks.")


def require_output_folder(out: Path) -> None:
    """Raise UserError where files would be written into a file."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; expected a folder")


def is_sweep(path: Path) -> bool:
    """Whether a folder is that of a sweep."""
    return (path.expanduser() / SWEEP_FILE).is_file()


def _is_run(path: Path) -> bool:
    return (path.expanduser() / CONFIG).is_file()


def _suggest_run(path: Path) -> str:
    """The Runs below a folder, or beside a directory that is not there the one whose name is nearest."""
    below = sorted(_list_runs(path)) if path.is_dir() else []
    if below:
        return f". Below it lie {list_examples(below)}"
    beside = [] if path.exists() else _list_runs(path.parent)
    alike = difflib.get_close_matches(path.name, beside, n=1)
    return f". Did you mean {path.parent / alike[0]}?" if alike else ""


def _list_runs(folder: Path) -> list[str]:
    """The names of the Runs in a folder."""
    configs = folder.glob(f"*/{CONFIG}")
    return [file.parent.name for file in configs]
