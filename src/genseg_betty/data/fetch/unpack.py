"""Zip and tar archives from strangers, unpacked into a folder of their own and moved when they are complete.

Nothing is trusted: sizes are counted while they are written, whatever the headers say, and archives.py refuses what
is unsafe. Hidden files and __MACOSX are passed over, as they are when a dataset is read. Modes and owners are not
taken over.
"""

import errno
import filecmp
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from genseg_betty.data.fetch.archives import (
    CHUNK,
    UNREADABLE,
    DamagedArchive,
    Member,
    Source,
    find_safe_name,
    read_members,
)
from genseg_betty.errors import UserError
from genseg_betty.faults import list_first

MAX_BYTES = 256 * 2**30  # in all, unpacked
MAX_RATIO = 100  # unpacked to packed size, from FREE_BYTES on; deflate reaches 1032 on zeros, images stay below 10
FREE_BYTES = 2**30  # an archive may always unpack to this much: masks and drawings shrink well
MAX_SHOWN = 20

Tell = Callable[[int, int], None]
"""Called with the bytes of the archive that are read, and those it has."""


def unpack_archive(
    archive: Path,
    kind: str,
    into: Path,
    scratch: Path,
    tell: Tell = lambda done, total: None,
) -> int:
    """Unpack a zip or tar (plain, gz, bz2, xz) below `into`; returns the number of files.

    `scratch` is a folder on the same disk, made and removed here. Raises UserError, with nothing moved, for an
    unsafe archive or where a file would have to replace another; DamagedArchive for one that cannot be read.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        names = _extract_files(archive, kind, scratch, tell)
        move_in(scratch, names, into)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return len(names)


def move_in(source: Path, names: Iterable[str], into: Path) -> None:
    """Move files to the same places below `into`. Equal files stay; raises UserError where any would differ."""
    names = list(names)
    _refuse_links_out(names, into)
    differing = [name for name in names if _is_different(source / name, into / name)]
    if differing:
        shown = list_first(differing, MAX_SHOWN)
        raise UserError(
            f"{into} holds other files than the publisher's under these names: {shown}. "
            "Nothing was replaced; move them away, or fetch to another folder with root=DIR"
        )
    for name in names:
        file = source / name
        target = into / name
        if target.exists():
            file.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)


def _refuse_links_out(names: Iterable[str], into: Path) -> None:
    """Raise UserError naming the files that a link below `into` would lead out of it."""
    real = into.resolve()
    outside = []
    for name in names:
        folder = (into / name).parent
        if not folder.resolve().is_relative_to(real):
            outside.append(name)
    if outside:
        left_out = list_first(outside, MAX_SHOWN)
        raise UserError(f"{into}: links lead out of it, so these were not put there: {left_out}. Remove the links")


def _extract_files(archive: Path, kind: str, scratch: Path, tell: Tell) -> list[str]:
    """Write the files of an archive below `scratch`; returns their names. Raises UserError as `unpack_archive` does."""
    packed = archive.stat().st_size
    try:
        return _extract_bounded(archive, packed, kind, scratch, tell)
    except DamagedArchive as error:
        raise DamagedArchive(f"{archive}: {error}") from error
    except UserError as error:
        raise UserError(f"{archive} was not unpacked: {error}. Nothing was changed") from error
    except UNREADABLE as error:
        raise DamagedArchive(f"{archive}: damaged or cut off: {error}") from error
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # so bz2 tells of damage, and a seek to where nothing can be
            raise DamagedArchive(f"{archive}: damaged or cut off: {error}") from error
        raise UserError(f"{archive} was not unpacked: {scratch}: {error.strerror}. Nothing was changed") from error


def _extract_bounded(archive: Path, packed: int, kind: str, scratch: Path, tell: Tell) -> list[str]:
    """As `_extract_files`, with the errors as they come: their messages do not name the archive of `packed` bytes."""
    names: set[str] = set()
    most = max(FREE_BYTES, MAX_RATIO * packed)
    bound = min(MAX_BYTES, most)
    left = bound
    with Source(archive) as file:
        for member in read_members(file, kind):
            name = find_safe_name(member.name)
            if name in names:
                raise UserError(f"two files are called {name}")
            left -= _write_member(member, scratch / name, left) if name else member.size
            if left < 0:
                raise UserError(f"it unpacks to more than {bound:,} bytes, the bound for a file of {packed:,}")
            if name:
                names.add(name)
            tell(file.tell(), packed)
    return sorted(names)


def _write_member(member: Member, path: Path, most: int) -> int:
    """Write a member; stops one byte above `most`. Returns the number of bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with member.open() as source, path.open("xb") as file:
        while written <= most:
            chunk = source.read(min(CHUNK, most + 1 - written))
            if not chunk:
                break
            written += file.write(chunk)
    is_whole = written >= member.size
    if not is_whole and written <= most:
        extent = f"{written:,} of {member.size:,} bytes"
        raise DamagedArchive(f"cut off within {member.name}: {extent}")
    return written


def _is_different(source: Path, target: Path) -> bool:
    """Whether something else than the file `source` is in its place, `target`."""
    if target.is_symlink():
        return True
    if not target.exists():
        return False
    return not target.is_file() or not filecmp.cmp(source, target, shallow=False)
