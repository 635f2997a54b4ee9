"""Zip and tar archives from strangers, unpacked into a folder of their own and moved when they are complete.

Nothing is trusted: names that leave the folder, links and devices refuse the whole archive; sizes are counted
while they are written, whatever the headers say; no header is read that would not fit a stated bound. Hidden
files and __MACOSX are passed over, as they are when a dataset is read. Modes and owners are not taken over.
"""

import errno
import filecmp
import gzip
import itertools
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from bz2 import BZ2File
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BufferedReader, FileIO, RawIOBase
from pathlib import Path
from typing import IO, cast

from genseg_betty.errors import UserError

MAX_MEMBERS = 250_000
MAX_BYTES = 256 * 2**30  # in all, unpacked
MAX_RATIO = 100  # unpacked to packed size, from FREE_BYTES on; deflate reaches 1032 on zeros, images stay below 10
FREE_BYTES = 2**30  # an archive may always unpack to this much: masks and drawings shrink well
HEADER_BYTES = 2**16  # of one tar member, extended names included
DIRECTORY_BYTES = 32 * 2**20  # of a zip's list of contents: 250,000 names of 80 letters
MAX_SETTINGS = 20  # headers of a tar that speak of all its files
DICTIONARY_BYTES = 2**28  # that xz may ask for; `xz -9` asks for 65 MiB
CHUNK = 2**20
MAX_SHOWN = 20
RAR_TOOLS = "no RAR or 7z reader is bundled: unpack it with `unar FILE`, `7z x FILE` or `bsdtar -xf FILE`"

_UNREADABLE = (
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,  # a text or number in a header that is none
    OverflowError,
    RuntimeError,  # tar headers that each announce another; zips of a version to come
)

Tell = Callable[[int, int], None]
"""Called with the bytes of the archive that are read, and those it has."""


class DamagedArchive(UserError):
    """The file is no archive of the expected kind, or only a part of one: another download may mend it."""


@dataclass(frozen=True)
class _Member:
    """A regular file in an archive; `open` may be called until the next member is asked for."""

    name: str
    size: int  # as the header has it
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, kind: str, into: Path, scratch: Path, tell: Tell = lambda done, total: None) -> int:
    """Unpack a zip or tar (plain, gz, bz2, xz) below `into`; returns the number of files.

    `scratch` is a folder on the same disk, made and removed here. Raises UserError, with nothing moved, for an
    unsafe archive or where a file would have to replace another; DamagedArchive for one that cannot be read.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        names = _extract(archive, kind, scratch, tell)
        move_in(scratch, names, into)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return len(names)


def move_in(source: Path, names: Iterable[str], into: Path) -> None:
    """Move files to the same places below `into`. Equal files stay; raises UserError where any would differ."""
    names = list(names)
    real = into.resolve()
    outside = [name for name in names if not (into / name).parent.resolve().is_relative_to(real)]
    if outside:
        raise UserError(
            f"{into}: links lead out of it, so these were not put there: {_shown(outside)}. Remove the links"
        )
    differing = [name for name in names if _differs(source / name, into / name)]
    if differing:
        raise UserError(
            f"{into} holds other files than the publisher's under these names: {_shown(differing)}. "
            "Nothing was replaced; move them away, or fetch to another folder with root=DIR"
        )
    for name in names:
        target = into / name
        if target.exists():
            (source / name).unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source / name, target)


def _extract(archive: Path, kind: str, scratch: Path, tell: Tell) -> list[str]:
    names: set[str] = set()
    packed = archive.stat().st_size
    bound = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * packed))
    left = bound
    try:
        with _Source(archive) as file:
            _recognise(file, kind)
            for member in (_zip_members if kind == "zip" else _tar_members)(file):
                name = _safe_name(member.name)
                if name in names:
                    raise UserError(f"two files are called {name}")
                written = _write(member, scratch / name, left) if name else member.size
                left -= written
                if left < 0:
                    raise UserError(f"it unpacks to more than {bound:,} bytes, the bound for a file of {packed:,}")
                if name:
                    names.add(name)
                tell(file.tell(), packed)
    except DamagedArchive as error:
        raise DamagedArchive(f"{archive}: {error}") from error
    except UserError as error:
        raise UserError(f"{archive} was not unpacked: {error}. Nothing was changed") from error
    except _UNREADABLE as error:
        raise DamagedArchive(f"{archive}: damaged or cut off: {error}") from error
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # so bz2 tells of damage, and a seek to where nothing can be
            raise DamagedArchive(f"{archive}: damaged or cut off: {error}") from error
        raise UserError(f"{archive} was not unpacked: {scratch}: {error.strerror}. Nothing was changed") from error
    return sorted(names)


def _write(member: _Member, path: Path, most: int) -> int:
    """Write a member; stops one byte above `most`. Returns the number of bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with member.open() as source, path.open("xb") as file:
        while written <= most and (chunk := source.read(min(CHUNK, most + 1 - written))):
            written += file.write(chunk)
    if written < member.size and written <= most:
        raise DamagedArchive(f"cut off within {member.name}: {written:,} of {member.size:,} bytes")
    return written


def _safe_name(name: str) -> str:
    """The relative POSIX path of a member, empty for one to pass over. Raises UserError if it leads out."""
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or re.match("[A-Za-z]:", name) or ".." in parts:
        raise UserError(f"it holds {name!r}, a path that leads out of the folder")
    if re.search(r"[\x00-\x1f\x7f]", name):
        raise UserError(f"it holds {name!r}, a name with control characters")
    parts = [part for part in parts if part not in ("", ".")]
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return "" if hidden else "/".join(parts)


class _Source(FileIO):
    """An archive on disk that gives at most DIRECTORY_BYTES at once; only a false header asks for more."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > DIRECTORY_BYTES:
            raise UserError(f"its list of contents has {size:,} bytes; the bound is {DIRECTORY_BYTES:,}")
        return super().read(DIRECTORY_BYTES if size is None or size < 0 else size) or b""


def _recognise(file: _Source, kind: str) -> None:
    start = file.read(512)
    file.seek(0)
    if start.startswith((b"Rar!", b"7z\xbc\xaf")):
        raise UserError(RAR_TOOLS)
    if re.match(rb"\s*<(!doctype|html)", start, re.IGNORECASE):
        raise DamagedArchive("found a web page, expected an archive; the publisher may ask for a login or a click")
    if kind == "zip" and not start.startswith(b"PK"):
        raise DamagedArchive(f"found a file that begins with {start[:8]!r}, expected a zip")


def _zip_members(file: _Source) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        for count, member in enumerate(archive.infolist(), start=1):
            _refuse_more(count)
            mode = stat.S_IFMT(member.external_attr >> 16)
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UserError(f"{member.filename} is a link or device")
            if member.filename.endswith(("/", "\\")):
                _safe_name(member.filename)
                continue
            if member.flag_bits & 1:
                raise UserError(f"{member.filename} is locked with a password; unpack it with another program")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # zipfile decompresses the others without a bound on memory.
                raise UserError(f"{member.filename} is not packed with deflate; unpack it with `7z x` or `bsdtar -xf`")
            yield _Member(member.filename, member.file_size, partial(archive.open, member))


def _tar_members(file: _Source) -> Iterator[_Member]:
    stream = _Metered(_decompressed(file))
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as archive:
        for count in itertools.count(1):
            stream.left = HEADER_BYTES
            member = archive.next()
            if member is None:
                break
            archive.members.clear()  # type: ignore[attr-defined]  # or a long archive would fill the memory
            _refuse_more(count)
            if len(archive.pax_headers) > MAX_SETTINGS:
                raise UserError(f"it has more than {MAX_SETTINGS} global headers")
            _safe_name(member.name)
            if member.size < 0 or not (member.isreg() or member.isdir()):
                raise UserError(f"{member.name} is a link, a device or of a false size")
            if hasattr(tarfile, "data_filter"):  # a second lock, which Python has from 3.11.4 on
                tarfile.data_filter(member, ".")
            if member.isreg():
                stream.left = member.size
                yield _Member(member.name, member.size, partial(_open_member, archive, member))
        # tarfile takes a false header for the end as well.
        if stream.last != tarfile.NUL * tarfile.BLOCKSIZE:
            raise DamagedArchive("damaged or cut off: its last block is missing")
        stream.left = HEADER_BYTES
        stream.read(HEADER_BYTES)  # to the end of the padding, where gz, bz2 and xz keep their checksum


def _refuse_more(count: int) -> None:
    if count > MAX_MEMBERS:
        raise UserError(f"it holds more than {MAX_MEMBERS:,} files and folders, the bound")


def _open_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    found = archive.extractfile(member)
    assert found is not None  # regular files have contents
    return found


class _Metered:
    """What tarfile reads from, forwards only: at most `left` bytes until `left` is set again.

    tarfile takes a header into memory whole, as long as the header claims to be.
    """

    def __init__(self, source: IO[bytes]) -> None:
        self.left = HEADER_BYTES
        self.last = b""  # what was read last
        self._source = source
        self._position = 0

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise UserError(f"it has a header of more than {HEADER_BYTES:,} bytes")
        self.last = self._source.read(size)
        self.left -= len(self.last)
        self._position += len(self.last)
        return self.last

    def seek(self, position: int) -> None:
        if position < self._position:
            raise tarfile.ReadError("a header leads backwards")
        while self._position < position:
            skipped = len(self._source.read(min(CHUNK, position - self._position)))
            if not skipped:
                break
            self._position += skipped


def _decompressed(file: _Source) -> IO[bytes]:
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if start.startswith(b"BZh"):
        return BZ2File(file)
    return BufferedReader(_Xz(file)) if start == b"\xfd7zXZ\x00" else file


class _Xz(RawIOBase):
    """lzma.LZMAFile bounds no memory: this takes a dictionary of at most DICTIONARY_BYTES."""

    def __init__(self, file: _Source) -> None:
        self._file = file
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=DICTIONARY_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = b""
        while not data and not self._decoder.eof:
            packed = self._file.read(CHUNK) if self._decoder.needs_input else b""
            if self._decoder.needs_input and not packed:
                raise EOFError("the xz stream ends early")
            data = self._decoder.decompress(packed, len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _differs(source: Path, target: Path) -> bool:
    if not target.exists() and not target.is_symlink():
        return False
    return target.is_symlink() or not target.is_file() or not filecmp.cmp(source, target, shallow=False)


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more
