"""One process at a time in a Run: a lock file that names its holder.

The file holds process id, host and the start time of the process. A lock whose process has ended on this host
is no lock; one from another host cannot be checked from here and counts as held.
"""

import json
import os
import platform
import time
from pathlib import Path

from genseg_betty.errors import UserError

LOCK = ".lock"
WRITING_SECONDS = 5.0  # a lock file that is still empty after this long was left by a killed process


class Lock:
    """The lock file `path`; `acquire` raises UserError naming the live process that holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text = json.dumps({"pid": os.getpid(), "host": platform.node(), "started": process_start(os.getpid())})
        self._held = False

    def acquire(self) -> None:
        while not self._create():
            found = _read(self.path)
            if found is None:
                continue  # released in between
            if _is_held(self.path, found):
                raise UserError(_held_message(self.path, found))
            self._remove_stale(found)

    def release(self) -> None:
        """Remove the lock file if it is this process's own."""
        if self._held and _read(self.path) == self._text:
            self.path.unlink(missing_ok=True)
        self._held = False

    def _create(self) -> bool:
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self._text)
        self._held = True
        return True

    def _remove_stale(self, stale: str) -> None:
        """Move the stale file aside before deleting it: of two processes that saw it, one must lose."""
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            os.replace(self.path, aside)
        except FileNotFoundError:
            return
        if _read(aside) == stale:
            aside.unlink()
        else:  # the other process was quicker: this is its fresh lock
            os.replace(aside, self.path)


def process_start(pid: int) -> str | None:
    """Start time of a living process in clock ticks after boot; None where that cannot be known."""
    fields = _proc_stat(pid)
    return fields[19] if fields else None


def is_alive(pid: int, started: str | None) -> bool:
    """Whether the process of this id and start time still runs here: no zombie, no reused id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # someone else's process: alive
    fields = _proc_stat(pid)
    if fields is None:
        return True
    return fields[0] not in "ZX" and (started is None or fields[19] == started)


def _proc_stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state (field 3) on: 0 the state, 19 the start time."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _holder(text: str) -> tuple[int, str, str | None] | None:
    """(pid, host, start time) from the text of a lock file; None if it was never finished."""
    try:
        found = json.loads(text)
        return int(found["pid"]), str(found["host"]), found["started"]
    except (ValueError, KeyError, TypeError):
        return None


def _is_held(path: Path, text: str) -> bool:
    holder = _holder(text)
    if holder is None:
        try:
            return time.time() - path.stat().st_mtime < WRITING_SECONDS
        except FileNotFoundError:
            return False
    pid, host, started = holder
    return host != platform.node() or is_alive(pid, started)


def _held_message(path: Path, text: str) -> str:
    pid, host, _ = _holder(text) or ("unknown", "unknown", None)
    return (
        f"{path.parent} is in use by process {pid} on host {host}. Wait for it or stop it, or give this run "
        f"a directory of its own (run_dir=…). If you are sure that the process has ended, delete {path}."
    )
