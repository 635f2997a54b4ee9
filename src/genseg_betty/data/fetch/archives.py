"""Readers of zip and tar archives from strangers: their members, one after the other, within stated bounds.

No header is read that would not fit a bound; names that leave the folder, links and devices refuse the archive.
"""

import gzip
import itertools
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from bz2 import BZ2File
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BufferedReader, FileIO, RawIOBase
from typing import IO, cast

from genseg_betty.errors import UserError

MAX_MEMBERS = 250_000
HEADER_BYTES = 2**16  # of one tar member, extended names included
DIRECTORY_BYTES = 32 * 2**20  # of a zip's list of contents: 250,000 names of 80 letters
MAX_DEPTH = 64  # folders within each other
MAX_SETTINGS = 20  # headers of a tar that speak of all its files
DICTIONARY_BYTES = 2**28  # that xz may ask for; `xz -9` asks for 65 MiB
CHUNK = 2**20
MAX_SHOWN = 80  # characters of a name in a message
DRIVE = re.compile("[A-Za-z]:")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
WEB_PAGE = re.compile(rb"\s*<(!doctype|html)", re.IGNORECASE)
RAR_TOOLS = "no RAR or 7z reader is bundled: unpack it with `unar FILE`, `7z x FILE` or `bsdtar -xf FILE`"

BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile decompresses others without a bound on memory
UNREADABLE = (
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


class DamagedArchive(UserError):
    """The file is no archive of the expected kind, or only a part of one: another download may mend it."""


@dataclass(frozen=True)
class Member:
    """A regular file in an archive; `open` may be called until the next member is asked for."""

    name: str
    size: int  # as the header has it
    open: Callable[[], IO[bytes]]


class Source(FileIO):
    """An archive on disk that gives at most DIRECTORY_BYTES at once; only a false header asks for more."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > DIRECTORY_BYTES:
            raise UserError(f"its list of contents has {size:,} bytes; the bound is {DIRECTORY_BYTES:,}")
        if size is None or size < 0:
            size = DIRECTORY_BYTES
        return super().read(size) or b""


def read_members(file: Source, kind: str) -> Iterator[Member]:
    """The regular files of a zip or tar, hidden ones too. Raises UserError for an archive that is unsafe.

    A damaged one raises DamagedArchive, or one of UNREADABLE.
    """
    _refuse_other_kinds(file, kind)
    if kind == "zip":
        yield from _read_zip(file)
    else:
        yield from _read_tar(file)


def find_safe_name(name: str) -> str:
    """The relative POSIX path of a member, empty for one to pass over. Raises UserError if it leads out."""
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or DRIVE.match(name) or ".." in parts:
        raise UserError(f"it holds {name!r}, a path that leads out of the folder")
    if CONTROL.search(name):
        raise UserError(f"it holds {name!r}, a name with control characters")
    parts = [part for part in parts if part not in ("", ".")]
    if len(parts) > MAX_DEPTH:
        deep = f"{len(parts) - 1} folders deep; the bound is {MAX_DEPTH}"
        raise UserError(f"it holds {name[:MAX_SHOWN]!r}…, which lies {deep}")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return "" if hidden else "/".join(parts)


def _refuse_other_kinds(file: Source, kind: str) -> None:
    """Raise UserError for what begins as no archive of that kind does."""
    start = file.read(512)
    file.seek(0)
    if start.startswith((b"Rar!", b"7z\xbc\xaf")):
        raise UserError(RAR_TOOLS)
    if WEB_PAGE.match(start):
        raise DamagedArchive("found a web page, expected an archive; the publisher may ask for a login or a click")
    if kind == "zip" and not start.startswith(b"PK"):
        raise DamagedArchive(f"found a file that begins with {start[:8]!r}, expected a zip")


def _read_zip(file: Source) -> Iterator[Member]:
    """The regular files of a zip, which its list of contents names before any of them is read."""
    with zipfile.ZipFile(file) as archive:
        for count, member in enumerate(archive.infolist(), start=1):
            name = member.filename
            _refuse_more(count)
            mode = stat.S_IFMT(member.external_attr >> 16)
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UserError(f"{name} is a link or device")
            if name.endswith(("/", "\\")):
                find_safe_name(name)
                continue
            if member.flag_bits & 1:
                raise UserError(f"{name} is locked with a password; unpack it with another program")
            if member.compress_type not in BOUNDED:
                raise UserError(f"{name} is not packed with deflate; unpack it with `7z x` or `bsdtar -xf`")
            yield Member(name, member.file_size, partial(archive.open, member))


def _read_tar(file: Source) -> Iterator[Member]:
    """The regular files of a tar, each behind its header, as they come."""
    stream = _Metered(_decompress_file(file))
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as archive:
        for count in itertools.count(1):
            stream.left = HEADER_BYTES
            member = archive.next()
            if member is None:
                break

            # Whatever is unsafe refuses the whole archive, be it a file that would be passed over.
            archive.members.clear()  # type: ignore[attr-defined]  # or a long archive would fill the memory
            _refuse_more(count)
            if len(archive.pax_headers) > MAX_SETTINGS:
                raise UserError(f"it has more than {MAX_SETTINGS} global headers")
            find_safe_name(member.name)
            is_usual = member.isreg() or member.isdir()
            if member.size < 0 or not is_usual:
                raise UserError(f"{member.name} is a link, a device or of a false size")
            if hasattr(tarfile, "data_filter"):  # a second lock, which Python has from 3.11.4 on
                tarfile.data_filter(member, ".")
            if member.isreg():
                stream.left = member.size
                yield Member(member.name, member.size, partial(_open_member, archive, member))

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
            left = position - self._position
            skipped = self._source.read(min(CHUNK, left))
            if not skipped:
                break
            self._position += len(skipped)


def _decompress_file(file: Source) -> IO[bytes]:
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if start.startswith(b"BZh"):
        return BZ2File(file)
    if start == b"\xfd7zXZ\x00":
        return BufferedReader(_Xz(file))
    return file


class _Xz(RawIOBase):
    """lzma.LZMAFile bounds no memory: this takes a dictionary of at most DICTIONARY_BYTES."""

    def __init__(self, file: Source) -> None:
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
