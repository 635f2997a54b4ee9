"""nnU-Net's own commands as child processes: found, started, logged, ended.

A child has a process group of its own, for it starts workers, and all of them end together.
"""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from genseg_betty.errors import UserError
from genseg_betty.terminal import harmless

PACKAGE = "nnunetv2"
PLAN, TRAIN, PREDICT = "nnUNetv2_plan_and_preprocess", "nnUNetv2_train", "nnUNetv2_predict"
SHOWN = 12  # last lines of a log in a message
PATIENCE = 10  # seconds that a child has to end
TRAINERS = Path(__file__).parent / "trainers"
EQUAL_UPDATES = "nnUNetTrainerEqualUpdates"
OWN_TRAINER = "nnUNetTrainer"
UPDATES = "GENSEG_NNUNET_UPDATES"


def require_nnunet() -> str:
    """The version of nnU-Net. Raises UserError where it, or one of its commands, is not installed."""
    try:
        found = version(PACKAGE)
    except PackageNotFoundError:
        found = None
    if found is None or any(_find_command(name) is None for name in (PLAN, TRAIN, PREDICT)):
        state = "not installed" if found is None else f"installed ({found}), but its commands are not found"
        raise UserError(
            f"method=nnunet runs nnU-Net v2 by its own commands, and it is {state}. Make an environment that has both, "
            "and give the command there:\n  make setup-nnunet && . .venv-nnunet/bin/activate\nor\n"
            "  pip install 'genseg-betty[nnunet]'"
        )
    return found


class Commands:
    """Runs nnU-Net's commands on data sets below `root`, and writes what they say to `log`."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root = root
        self.log = log

    def run_command(
        self,
        name: str,
        arguments: Sequence[str],
        follow: Callable[[str], object] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Run one of nnU-Net's commands to its end.

        Args:
            follow: called with each line that the command prints.
            settings: variables of its environment beside those of `make_environment`.

        Raises:
            UserError: it failed; its last lines and the place of the log are told.
        """
        last: deque[str] = deque(maxlen=SHOWN)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {name} {' '.join(arguments)}\n")
            child = _start_child(name, arguments, {**make_environment(self.root), **(settings or {})})
            try:
                assert child.stdout is not None
                for line in child.stdout:
                    log.write(line)
                    log.flush()
                    if line.strip():
                        last.append(harmless(line.rstrip()))
                    if follow is not None:
                        follow(line)
                status = child.wait()
            finally:
                _end_group(child)
        if status:
            raise UserError(_explain_failure(name, status, last, self.log))


def make_environment(root: Path) -> dict[str, str]:
    """The environment of nnU-Net's commands: its three folders, our trainer, few workers unless the user says more."""
    few = {"nnUNet_def_n_proc": "2", "nnUNet_n_proc_DA": "1"}
    return {**few, **os.environ, **list_places(root), "PYTHONUNBUFFERED": "1"}


def list_places(root: Path) -> dict[str, str]:
    """The variables that tell nnU-Net's commands where their folders and our trainer lie."""
    folders = {name: str(root / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    return {**folders, "nnUNet_extTrainer": str(TRAINERS)}


def _find_command(name: str) -> str | None:
    """The script of nnU-Net that belongs to this Python, else one on the PATH."""
    folders = [str(Path(sys.executable).parent), sysconfig.get_path("scripts")]
    return shutil.which(name, path=os.pathsep.join(folders)) or shutil.which(name)


def _start_child(name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start one of nnU-Net's commands in a process group of its own; what it prints is piped."""
    found = _find_command(name)
    assert found is not None  # as `require_nnunet` has seen
    return subprocess.Popen(
        [found, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


def _explain_failure(name: str, status: int, last: Sequence[str], log: Path) -> str:
    ended = f"was ended by signal {-status}" if status < 0 else f"failed (exit status {status})"
    listed = "\n  ".join(last) or "(it printed nothing)"
    return (
        f"{name} {ended}. Its last lines:\n  {listed}\nAll of its output: {log}. Once the cause is mended, the same "
        "command goes on from here."
    )


def _end_group(child: subprocess.Popen[str]) -> None:
    """End the child and its workers, at first with a request."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE)
            break
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)  # workers that outlived it
    if child.stdout is not None:
        child.stdout.close()
