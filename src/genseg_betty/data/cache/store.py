"""What was read once is kept on disk: a folder of entries that any number of jobs may share.

An entry is called by a hash of everything that decides what it holds, so it can be missing but never out of date.
It is written to a name of its own and renamed when it is whole; there is no lock. It holds JSON and plain numbers
behind a checksum: reading it runs no code, and a damaged one counts as missing.
"""

import hashlib
import json
import math
import os
import re
import struct
import time
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genseg_betty.errors import UserError
from genseg_betty.files import ABANDONED, TEMPORARY, atomic_write

DEFAULT_GB = 20.0
HEAD = struct.Struct("<16sII")  # magic, CRC-32 of all that follows, bytes of JSON
MAGIC = b"genseg-cache 1\n\0"
ALIGNMENT = 64  # of the first array, bytes
ENTRY = re.compile(r"[0-9a-f]{64}\.entry")
TRIMMED_TO = 0.9  # of the limit, so that not every new entry evicts an old one
KINDS = "biuf"  # of NumPy's: numbers, never objects


@dataclass(frozen=True)
class Entry:
    """JSON and read-only arrays, as they were kept."""

    note: Any
    arrays: dict[str, np.ndarray]


@dataclass
class Cache:
    """A folder of entries, at most `limit` bytes of them; without a folder nothing is kept.

    Whatever goes wrong with the folder only costs time: what cannot be read is missing, and what cannot be
    written is said once and not kept.
    """

    folder: Path | None
    limit: int = int(DEFAULT_GB * 1e9)
    _written: int = field(default=0, init=False)  # bytes since the last look at what the folder holds
    _refused: bool = field(default=False, init=False)

    @classmethod
    def from_environment(cls) -> "Cache":
        """At $GENSEG_CACHE ("off": none), else $XDG_CACHE_HOME/genseg-betty, else ~/.cache/genseg-betty.

        $GENSEG_CACHE_GB is the limit in gigabytes, 20 by default. Raises UserError where it is no number.
        """
        place = os.environ.get("GENSEG_CACHE")
        if place and place.lower() == "off":
            return cls(None)
        with suppress(RuntimeError):  # a user without a home
            home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
            folder = Path(place) if place else Path(home) / "genseg-betty"
            return cls(folder.expanduser().absolute(), _read_limit())
        return cls(None)

    def get(self, key: str) -> Entry | None:
        """The entry of that key (see `key_of`); None if there is none, or a damaged one."""
        if self.folder is None:
            return None
        path = self._path_of(key)
        try:
            entry = _unpack_entry(key, path.read_bytes())
        except (OSError, ValueError, TypeError, KeyError):  # each of them is how damage may show
            return None
        with suppress(OSError):  # the entries that are used stay
            os.utime(path)
        return entry

    def put(self, key: str, note: Any = None, **arrays: np.ndarray) -> None:
        """Keep JSON and arrays of numbers under that key."""
        if self.folder is None or self._refused:
            return
        pieces = _pack_entry(key, note, arrays)
        path = self._path_of(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, lambda file: file.writelines(pieces), sync=False)
        except OSError as error:
            self._refused = True
            warnings.warn(
                f"the cache at {self.folder} cannot be written ({error.strerror or error}), so files are read anew "
                "each time; name another folder by GENSEG_CACHE=DIR, or none by GENSEG_CACHE=off",
                stacklevel=2,
            )
            return
        self._written += sum(len(piece) for piece in pieces)
        if self._written > self.limit * (1 - TRIMMED_TO):
            self.trim()

    def trim(self) -> None:
        """Remove the entries that were not used for longest, if all together exceed the limit, and killed writes.

        Looks at the folder only if something was written since the last time.
        """
        if not self._written:
            return
        self._written = 0
        entries = sorted(self._list_entries())
        total = sum(size for _, size, _ in entries)
        if total <= self.limit:
            return
        for _, size, path in entries:
            if total <= self.limit * TRIMMED_TO:
                break
            with suppress(OSError):  # another job may have removed it
                path.unlink()
            total -= size

    def _list_entries(self) -> Iterator[tuple[float, int, Path]]:
        """When each entry was last used, its bytes and its path; abandoned temporary files are removed."""
        assert self.folder is not None
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            with suppress(OSError):
                status = path.stat()
                if ENTRY.fullmatch(path.name):
                    yield status.st_mtime, status.st_size, path
                elif path.name.endswith(TEMPORARY) and time.time() - status.st_mtime > ABANDONED:
                    path.unlink()

    def _path_of(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.entry"


def key_of(*parts: Any) -> str:
    """The key of what `parts` decide: JSON values, in which tuples and lists are the same."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _read_limit() -> int:
    text = os.environ.get("GENSEG_CACHE_GB") or str(DEFAULT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 < limit < 1e9:
        raise UserError(
            f"GENSEG_CACHE_GB is {text!r}; expected gigabytes above 0, such as 20 (no cache: GENSEG_CACHE=off)"
        )
    return int(limit * 1e9)


def _pack_entry(key: str, note: Any, arrays: Mapping[str, np.ndarray]) -> list[bytes]:
    """The bytes of an entry, in pieces: the head, JSON of what follows, and the arrays."""
    shapes = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    head = {
        "key": key,
        "note": note,
        "arrays": shapes,
    }
    text = json.dumps(head).encode()
    padding = -(HEAD.size + len(text)) % ALIGNMENT
    text += b" " * padding
    pieces = [text]
    for array in arrays.values():
        pieces.append(array.tobytes())
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    return [HEAD.pack(MAGIC, checksum, len(text)), *pieces]


def _unpack_entry(key: str, content: bytes) -> Entry:
    """Read an entry. Raises ValueError, TypeError or KeyError where it is not that of the key, whole and unharmed."""
    if len(content) < HEAD.size:
        raise ValueError("too short")
    magic, checksum, length = HEAD.unpack_from(content)
    body = memoryview(content)[HEAD.size :]
    if magic != MAGIC or zlib.crc32(body) != checksum:
        raise ValueError("not as it was written")
    head = json.loads(bytes(body[:length]))
    if head["key"] != key:
        raise ValueError("the entry of another key")

    # The arrays lie one behind the other, in the order of the head.
    arrays, offset = {}, length
    for name, kind, shape in head["arrays"]:
        dtype = np.dtype(kind)
        if dtype.kind not in KINDS:
            raise ValueError("not numbers")
        count = math.prod(shape)
        arrays[name] = np.frombuffer(body, dtype, count, offset).reshape(shape)
        offset += count * dtype.itemsize
    return Entry(head["note"], arrays)
