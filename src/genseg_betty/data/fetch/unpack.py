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

from genseg_betty.data.fetch.archives import CHUNK, UNREADABLE, DamagedArchive, Member, Source, members, safe_name
from genseg_betty.errors import UserError
from genseg_betty.faults import list_first

MAX_BYTES = 256 * 2**30  # in all, unpacked
MAX_RATIO = 100  # unpacked to packed size, from FREE_BYTES on; deflate reaches 1032 on zeros, images stay below 10
FREE_BYTES = 2**30  # an archive may always unpack to this much: masks and drawings shrink well
MAX_SHOWN = 20

Tell = Callable[[int, int], None]
"""Called with the bytes of the archive that are read, and those it has."""


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
        left_out = list_first(outside, MAX_SHOWN)
        raise UserError(f"{into}: links lead out of it, so these were not put there: {left_out}. Remove the links")
    differing = [name for name in names if _differs(source / name, into / name)]
    if differing:
        raise UserError(
            f"{into} holds other files than the publisher's under these names: {list_first(differing, MAX_SHOWN)}. "
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
        with Source(archive) as file:
            for member in members(file, kind):
                name = safe_name(member.name)
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
    except UNREADABLE as error:
        raise DamagedArchive(f"{archive}: damaged or cut off: {error}") from error
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # so bz2 tells of damage, and a seek to where nothing can be
            raise DamagedArchive(f"{archive}: damaged or cut off: {error}") from error
        raise UserError(f"{archive} was not unpacked: {scratch}: {error.strerror}. Nothing was changed") from error
    return sorted(names)


def _write(member: Member, path: Path, most: int) -> int:
    """Write a member; stops one byte above `most`. Returns the number of bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with member.open() as source, path.open("xb") as file:
        while written <= most and (chunk := source.read(min(CHUNK, most + 1 - written))):
            written += file.write(chunk)
    if written < member.size and written <= most:
        raise DamagedArchive(f"cut off within {member.name}: {written:,} of {member.size:,} bytes")
    return written


def _differs(source: Path, target: Path) -> bool:
    if not target.exists() and not target.is_symlink():
        return False
    return target.is_symlink() or not target.is_file() or not filecmp.cmp(source, target, shallow=False)
