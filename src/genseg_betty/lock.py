"""One process at a time in a Run: a lock file that its holder keeps open and locked, and that names it.

The operating system's lock (flock) is the proof: it ends with the process, holds between containers, and over NFS
between hosts. The file's text says who holds it, for the message, and is the proof where a filesystem has no locks, or
for a holder on another host, which counts as alive unless SLURM knows better of its job.
"""

import errno
import fcntl
import json
import os
import platform
import stat
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from genseg_betty.errors import UserError
from genseg_betty.slurm_job import find_job, has_job_ended

LOCK = ".lock"
NO_FILE = (errno.ELOOP, errno.EISDIR, errno.ENXIO)  # what the system says of a link, a folder, a socket
WRITING_SECONDS = 5.0  # a lock file that is still empty after this long was left by a killed process


@dataclass(frozen=True)
class Holder:
    """The process that a lock file names. Process ids mean something within one boot and one namespace alone."""

    pid: int
    host: str
    started: str | None = None  # start time of the process in clock ticks after boot
    boot: str | None = None  # id of the boot of the machine; None of a lock of an earlier version
    space: str | None = None  # namespace of process ids: another one in each container
    job: str | None = None  # id of the SLURM job; None of a process in none
    restarts: int = 0  # how often SLURM had queued the job anew
    locked: bool = False  # whether the filesystem has locks, and this process holds one on the file

    @classmethod
    def this_process(cls, locked: bool) -> "Holder":
        pid = os.getpid()
        where = boot_id(), pid_namespace()
        return cls(pid, platform.node(), process_start(pid), *where, *find_job(), locked)

    @property
    def lives(self) -> bool:
        """Whether the holder lives, to a process that has the operating system's lock or finds that there is none."""
        is_host_ours = self.host == platform.node()
        if self.locked and (is_host_ours or self.boot == boot_id()):
            return False  # the operating system would have told
        if not is_host_ours:
            return not has_job_ended(self.job, self.restarts)  # of its process nothing can be known from here
        is_here = self.boot == boot_id() and self.space == pid_namespace()
        if self.boot is not None and not is_here:
            return True  # its process id says nothing here
        return is_alive(self.pid, self.started)


class Lock:
    """The lock file `path`; `acquire` raises UserError naming the live process that holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Create the file, or take it over from a dead process. Raises UserError, OSError."""
        while not self._create_file():
            self._remove_stale()

    def release(self) -> None:
        """Remove the lock file if it is this process's own."""
        if self._descriptor is None:
            return
        if _is_at(self._descriptor, self.path):
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def _create_file(self) -> bool:
        """Create the file, locked and with this process's name in it. False where another was faster."""
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        except FileExistsError:
            return False
        locked = bool(_take_flock(descriptor, wait=True))  # who looks whether it is stale has it for a moment
        if not _is_at(descriptor, self.path):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        holder = asdict(Holder.this_process(locked))
        try:
            os.write(descriptor, json.dumps(holder).encode())
        except OSError:  # such as a full disk
            self.release()
            raise
        return True

    def _remove_stale(self) -> None:
        """Remove the file of a dead holder. Raises UserError where the holder lives.

        Of several processes only the one that has taken the file's lock removes it, and only while the file still has
        that name.
        """
        try:
            descriptor = _open_regular(self.path, os.O_RDWR)
        except FileNotFoundError:
            return  # released in between
        try:
            free = _take_flock(descriptor)
            holder, written = _read_holder(descriptor)
            if free is None or _is_held(holder, written):
                raise UserError(_explain_holder(self.path, holder))
            if _is_at(descriptor, self.path):
                self.path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a living process, in this container or another, has the operating system's lock on the file `path`."""
    try:
        descriptor = _open_regular(path, os.O_RDONLY)
    except (OSError, UserError):
        return False
    try:
        return _take_flock(descriptor, kind=fcntl.LOCK_SH) is None
    finally:
        os.close(descriptor)


def _open_regular(path: Path, flags: int) -> int:
    """The descriptor of an existing lock file. Raises OSError, and UserError for whatever is no regular file."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would wait for another end
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        raise _no_lock_file(path) from error
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise _no_lock_file(path)


def _no_lock_file(path: Path) -> UserError:
    return UserError(
        f"{path} is a link, a folder or a pipe; expected a lock file or none. Delete it: no training of this program "
        "made it."
    )


def process_start(pid: int) -> str | None:
    """Start time of a living process in clock ticks after boot; None where that cannot be known."""
    fields = _proc_stat(pid)
    return fields[19] if fields else None


def is_alive(pid: int, started: str | None) -> bool:
    """Whether the process of this id and start time still runs here: no zombie, no reused id."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # someone else's process: alive
    fields = _proc_stat(pid)
    if fields is None:
        return True
    return fields[0] not in "ZX" and (started is None or fields[19] == started)


def boot_id() -> str | None:
    """The id of this boot of this machine; None where that cannot be known."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None


def pid_namespace() -> str | None:
    """The namespace of process ids: containers on one machine have different ones."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return None


def _proc_stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state (field 3) on: 0 the state, 19 the start time."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _take_flock(descriptor: int, wait: bool = False, kind: int = fcntl.LOCK_EX) -> bool | None:
    """True: locked. None: another has it. False: the filesystem has no locks."""
    if not wait:
        kind |= fcntl.LOCK_NB
    try:
        fcntl.flock(descriptor, kind)
    except BlockingIOError:
        return None
    except OSError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _read_holder(descriptor: int) -> tuple[Holder | None, float]:
    """Who an open lock file names (None: the text was never finished), and when it was written."""
    written = os.fstat(descriptor).st_mtime
    try:
        found = json.loads(os.pread(descriptor, 2**16, 0))
        known = {key: found.get(key) for key in ("started", "boot", "space", "job")}
        restarts = int(found.get("restarts") or 0)
        locked = found.get("locked") is True
        holder = Holder(int(found["pid"]), str(found["host"]), **known, restarts=restarts, locked=locked)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None, written
    return holder, written


def _is_held(holder: Holder | None, written: float) -> bool:
    """Whether the holder lives; one that is not named yet may still be writing its name."""
    if holder is None:
        return time.time() - written < WRITING_SECONDS
    return holder.lives


def _name_process(holder: Holder | None) -> str:
    if holder is None:
        return "a process"
    process = f"process {holder.pid} on host {holder.host}"
    is_machine_ours = holder.boot is not None and holder.boot == boot_id()
    if is_machine_ours and holder.space != pid_namespace():
        return f"{process} (in another container)"
    return process


def _explain_holder(path: Path, holder: Holder | None) -> str:
    process = _name_process(holder)
    return (
        f"{path.parent} is in use by {process}. Wait for it or stop it, or give this run "
        f"a directory of its own (run_dir=…). If you are sure that the process has ended, delete {path}."
    )
