"""Writing files so that a kill at any moment leaves either the old file or the new one, never half of one.

This is the one place that writes a file as a whole. What a killed process leaves has a hidden name, and the next
command that writes into the same folder removes it.
"""

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

TEMPORARY = ".genseg-tmp"  # ends the stem of hidden names of files that are not whole; a killed process may leave one
ABANDONED = 3600  # seconds after which a temporary file on a filesystem without locks is one of a killed process
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk, of a user's share of it, of a file's size limit


def atomic_write(path: Path, content: bytes | Callable[[IO[bytes]], object], sync: bool = True) -> None:
    """Write bytes (or what a function writes) to a temporary name beside `path`, sync it, rename it. Raises OSError.

    Several processes may write one file at once: each has a temporary name of its own, and whichever renames last,
    wins. Without `sync` nothing waits for the disk, and only a crash of the whole machine can leave half a file.
    """
    with whole_file(path, "", sync) as temporary, temporary.open("r+b") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)


@contextmanager
def whole_file(path: Path, suffix: str | None = None, sync: bool = True) -> Iterator[Path]:
    """Yield an empty file beside `path` for a writer that takes a path; it is renamed to `path` when the block ends.

    It ends as `path` does (.nii.gz), or in `suffix`, since writers choose a format by that. Where the block raises,
    nothing is left, and `path` is as it was. Raises OSError.
    """
    if suffix is None:
        is_packed = path.suffix.lower() == ".gz"
        suffix = "".join(path.suffixes[-2:]) if is_packed else path.suffix
    temporary, held = _held_file(path.parent, suffix)
    try:
        yield temporary
        if sync:
            os.fsync(held)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(held)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`, which must not exist; it is renamed to `path` when the block ends.

    Where the block raises, nothing is left. Raises OSError.
    """
    stem = f".{secrets.token_hex(8)}{TEMPORARY}"
    temporary = path.parent / stem
    temporary.mkdir()
    held = os.open(temporary, os.O_RDONLY)
    try:
        with suppress(OSError):  # a filesystem without locks
            fcntl.flock(held, fcntl.LOCK_EX)
        yield temporary
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(held)


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Delete what killed processes left unfinished in these folders; files and folders of living processes stay."""
    for folder in dict.fromkeys(folders):
        for path in folder.glob(f".*{TEMPORARY}*"):
            with suppress(OSError):
                _remove_abandoned(path)


def _remove_abandoned(path: Path) -> None:
    is_folder = path.is_dir() and not path.is_symlink()
    opened = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        if not _is_abandoned(opened):
            return
        if is_folder:
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(opened)


def _is_abandoned(descriptor: int) -> bool:
    """Whether the process that wrote an open temporary file has ended."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # its writer lives, and holds it
        return False
    except OSError:  # a filesystem without locks
        return time.time() - os.fstat(descriptor).st_mtime > ABANDONED
    return True


def _held_file(folder: Path, suffix: str) -> tuple[Path, int]:
    """A new file of a hidden name, and its descriptor, which holds a lock until it is closed or the process ends."""
    while True:
        stem = f".{secrets.token_hex(8)}{TEMPORARY}"
        path = folder / f"{stem}{suffix}"
        held = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        with suppress(OSError):  # a filesystem without locks
            fcntl.flock(held, fcntl.LOCK_EX)
        if path.exists():
            return path, held
        os.close(held)  # taken for a leftover before it was locked


def is_full(error: BaseException) -> bool:
    """Whether an error of a write comes from a disk, quota or size limit that is reached."""
    return isinstance(error, OSError) and error.errno in FULL


def is_hidden(relative: Path) -> bool:
    """Whether a file is hidden, or a Mac's litter: by any part of its path below the folder that is searched."""
    return any(part.startswith((".", "__MACOSX")) for part in relative.parts)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_regular(path: Path, most: float = math.inf) -> None:
    """Raise ValueError unless `path`, links followed, is a regular file of at most `most` bytes; OSError.

    A pipe or a device may never end.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    if status.st_size > most:
        raise ValueError(f"it holds more than {most} bytes")


def bounded_read(path: Path, most: int) -> bytes:
    """What a regular file holds. Raises ValueError, having read no further, if it has over `most` bytes; OSError."""
    require_regular(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it holds more than {most} bytes")
    return content


def bounded_json(path: Path, most: int) -> Any:
    """What a JSON file of at most `most` bytes says. Raises ValueError for all else in it; OSError."""
    try:
        return json.loads(bounded_read(path, most))
    except RecursionError as error:
        raise ValueError("its lists and objects lie too deep in each other") from error


def file_label(name: str) -> str:
    """A name as part of a file name: what is no letter, digit or one of . _ + - becomes _."""
    return re.sub(r"[^\w.+-]+", "_", name)


def whole_lines(path: Path) -> list[str]:
    """The lines of a text file, without a last one that a kill has torn (no newline at its end)."""
    with path.open(encoding="utf-8", newline="\n") as file:
        lines = file.readlines()
    is_torn = lines and not lines[-1].endswith("\n")
    return lines[:-1] if is_torn else lines


def to_json(value: Any) -> str:
    """`value` as JSON text: tensors and arrays as numbers and lists, nan and inf as null, paths as text."""
    text = json.dumps(_make_plain(value), indent=2, ensure_ascii=False)
    return f"{text}\n"


def _make_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _make_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_make_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _make_plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
