"""Whether a directory may be trained in: begin anew, continue what is there, or refuse and say why."""

from pathlib import Path

from omegaconf import DictConfig

from genseg_betty.errors import UserError
from genseg_betty.files import bounded_json, remove_leftovers
from genseg_betty.lock import LOCK
from genseg_betty.run.checksums import SUMS, Checksums
from genseg_betty.run.saved_config import find_differences, read_config
from genseg_betty.run.status_file import STATES

# All that a Run writes, and all that a restart deletes, in this order: after a kill in the middle nothing goes on from
# a checkpoint whose Run is half deleted, and status.json still says that the directory is a Run's.
OWNED = (
    "checkpoints/last.pt",
    "checkpoints/*.pt",
    SUMS,
    "config.yaml",
    "metrics.csv",
    "splits.json",
    "fingerprint.json",
    "results.json",
    "test-*.csv",
    "evaluate-*.csv",
    "evaluate-*.html",
    "tracking.json",
    "report.html",
    "report.csv",
    "pictures.json",
    "samples/*.png",
    "samples/*.jpg",
    "status.json",
)
MAX_STATUS = 2**20
"""Bytes of status.json."""
LAST = Path("checkpoints", "last.pt")
OUTCOME = (Path("results.json"), Path("checkpoints", "predictor.pt"))
"""What a training ends with."""
SHOWN = 5
"""So many files of others are named in a refusal."""


def prepare_directory(path: Path, config: DictConfig, resume: str) -> bool:
    """Make the locked directory `path` ready; returns whether there is a checkpoint to continue from."""
    if resume not in ("auto", "never", "restart"):
        raise UserError(f"resume={resume}: expected auto, never or restart")
    if resume == "never" and any(entry.name != LOCK for entry in path.iterdir()):
        raise UserError(f"{path} is not empty, and resume=never: name another run_dir, or use resume=auto or restart")

    # A Run that goes on is refused before anything of it is changed.
    if can_continue(path, resume):
        _refuse_link(path / "metrics.csv")
        _refuse_differences(path, config)
        remove_leftovers([path, *_find_folders(path)])
        return True

    # Without a checkpoint all that is there is deleted, if it is a Run's and nothing is lost by it.
    state, step = _read_progress(path)
    if resume == "auto":
        _refuse_loss(path, state, step)
    _clear_directory(path, is_run=state is not None)
    return False


def can_continue(path: Path, resume: str) -> bool:
    """Whether a training in `path` would go on from a checkpoint of its own."""
    return resume == "auto" and (path / LAST).exists()


def _has_tests(path: Path) -> bool:
    """Whether a Run has scores of its test sets, which a change of these sets would leave behind."""
    has_results = (path / "results.json").exists()
    return has_results or any(path.glob("test-*.csv"))


def _refuse_differences(path: Path, config: DictConfig) -> None:
    """Raise UserError for a Run of a config that cannot be continued with this one."""
    lines = find_differences(read_config(path), config, tested=_has_tests(path))
    if not lines:
        return
    if not Checksums(path).matches(path / "config.yaml"):
        lines.append(f"(config.yaml does not hold what was written, by {SUMS}: put back a copy of it)")
    listed = "\n  ".join(lines)
    raise UserError(
        f"{path} holds a Run of another config, which cannot be continued with this one:\n  {listed}\n"
        "Use the Run's values, another run_dir, or resume=restart (deletes the Run). "
        "trainer.iterations may only grow."
    )


def _refuse_loss(path: Path, state: str | None, step: int) -> None:
    """Raise UserError for a Run that has come somewhere, and whose last checkpoint is gone: it would be deleted."""
    has_outcome = any((path / outcome).exists() for outcome in OUTCOME)
    if state == "finished" or (state is not None and has_outcome):
        reached = "was finished before"
    elif step > 0:  # written after the checkpoint of that step
        reached = f"had come to step {step}"
    else:
        return
    raise UserError(
        f"the Run in {path} {reached}, but {path / LAST} is gone, so there is nothing to continue from. Put back a "
        "copy of it, name another run_dir, or use resume=restart to delete what the Run has and train again."
    )


def _refuse_link(file: Path) -> None:
    """Raise UserError for a link out of the Run; lines are added to this file, where all others are replaced."""
    if file.is_symlink() and not file.resolve().is_relative_to(file.parent):
        raise UserError(
            f"{file} leads to a file outside of the Run, which would be written to. Copy the file in, or name another "
            "run_dir."
        )


def _clear_directory(path: Path, is_run: bool) -> None:
    """Delete what an earlier Run left. Files of these names that no Run wrote are refused; others stay."""
    folders = [path, *_find_folders(path)]
    found: dict[Path, None] = {}
    for pattern in OWNED:
        found |= dict.fromkeys(path.glob(pattern))
    files = [file for file in found if file.parent in folders]

    # All is refused before anything is deleted.
    if files and not is_run:
        relative = sorted(str(file.relative_to(path)) for file in files)
        names = ", ".join(relative[:SHOWN])
        raise UserError(
            f"{path} is not a Run's directory (it has no status.json of one, or a damaged one) but holds {names}, "
            "which a Run would overwrite. Name another run_dir, or move these files away."
        )
    for file in files:
        file.unlink()
    remove_leftovers(folders)


def _find_folders(path: Path) -> list[Path]:
    """The Run's own folders; one that is a link may be shared with a Run that is alive."""
    folders = [path / "checkpoints", path / "samples"]
    return [folder for folder in folders if not folder.is_symlink()]


def _read_progress(path: Path) -> tuple[str | None, int]:
    """State and step in status.json; None and 0 if there is none, or if it is someone else's file."""
    try:
        status = bounded_json(path / "status.json", MAX_STATUS)
        state = status["state"]
        step = status.get("step")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, 0
    if state not in STATES:
        return None, 0
    return state, step if isinstance(step, int) else 0
