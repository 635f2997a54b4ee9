"""What is known of the files below one root, as long as they are the files that it was learned from.

Hashing or checking every file at every start takes long; asking the file system for its state does not. So what a
file was found to hold is written down beside its state, and holds while the state does.
"""

import hashlib
import os
import platform
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from genseg_betty.data.cache.store import Cache, key_of
from genseg_betty.data.formats import content_digest, content_files

# A file may be rewritten within one tick of the file system's clock, at most 2 s long, and look the same after it.
# So nothing is written down of files that changed this shortly before, in seconds.
SETTLING = 3.0
LIBRARIES = ("numpy", "pillow", "torch", "scipy", "nibabel", "pydicom", "pynrrd", "tifffile", "torchvision")

State = list[list[Any]]


class Ledger:
    """Contents of files by their state, and findings by key; kept in the cache as one entry a root.

    Jobs that write it at once may lose each other's additions, which are then found anew; never anything false.
    """

    def __init__(self, cache: Cache, *name: Any) -> None:
        self._cache = cache
        self._key = key_of("ledger", *name)
        self._digests: dict[str, tuple[State, str]] = {}
        self._findings: dict[str, Any] = {}
        self._changed = False
        self._merge_written()

    def digest(self, path: Path) -> bytes:
        """`formats.content_digest` of a path, which is read only if it changed. Raises OSError."""
        state = stat_files(path)
        known = self._digests.get(str(path))
        if known:
            known_state, known_digest = known
            if known_state == state:
                return bytes.fromhex(known_digest)
        now = time.time()
        digest = content_digest(path)
        if has_settled(state, now):
            self._digests[str(path)] = (state, digest.hex())
            self._changed = True
        return digest

    def recall(self, key: str) -> Any:
        """What was noted under that key; None if nothing was."""
        return self._findings.get(key)

    def note(self, key: str, finding: Any) -> None:
        """Note a finding, JSON, under a key of all that decides it."""
        self._findings[key] = finding
        self._changed = True

    def save(self) -> None:
        """Write it down, with what others have written meanwhile."""
        if self._changed:
            self._merge_written()
            known = {"digests": self._digests, "findings": self._findings}
            self._cache.put(self._key, known)
            self._changed = False

    def _merge_written(self) -> None:
        entry = self._cache.get(self._key)
        if entry is None:
            return
        written: dict[str, tuple[State, str]] = {}
        for path, (state, digest) in entry.note["digests"].items():
            written[path] = (state, digest)
        self._digests = written | self._digests
        self._findings = entry.note["findings"] | self._findings


def stat_files(path: Path) -> State:
    """What the file system says of the files behind an image: all of a series' folder, a header and its data.

    Raises OSError, ImageError.
    """
    files = sorted(path.iterdir()) if path.is_dir() else content_files(path)
    return [_stat_file(file) for file in files]


def has_settled(state: State, now: float) -> bool:
    """Whether these files had last changed well before `now`, in seconds since the epoch."""
    limit = (now - SETTLING) * 1e9
    return all(max(modified, changed) < limit for _, _, modified, changed, _ in state)


def settled_now(states: Iterable[State]) -> bool:
    """Whether all these files have not changed of late."""
    now = time.time()
    return all(has_settled(state, now) for state in states)


def size_of(state: State) -> int:
    """Bytes of these files."""
    return sum(size for _, size, *_ in state)


def _stat_file(file: Path) -> list[Any]:
    status = os.stat(file)
    return [
        file.name,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
    ]


def list_reading_code() -> list[Path]:
    """The source files that decide what is read: all of `data/`."""
    room = Path(__file__).parents[1]
    return sorted(room.rglob("*.py"))


@cache
def code_version() -> str:
    """A hash of all that may change what reading gives: this package's code, the libraries' versions, the processor."""
    import torch  # not above: a mistyped name is told before it is loaded

    digest = hashlib.sha256()
    for source in list_reading_code():
        digest.update(source.read_bytes())
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            digest.update(f"{name} {version(name)}\0".encode())
    capability = torch.backends.cpu.get_cpu_capability()
    digest.update(f"{platform.machine()} {capability}".encode())
    return digest.hexdigest()
