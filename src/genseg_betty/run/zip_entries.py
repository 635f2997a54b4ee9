"""What a zip of torch.save says of its entries, held against the form that torch.save writes.

All entries are stored as they are. A stranger's file may pack little into much, name one entry twice, or have two lists
of entries, so that two readers see different files.
"""

import struct
import zipfile
from collections.abc import Sequence
from typing import IO, NamedTuple, Self

MAX_DIRECTORY = 2**24
"""Bytes of the list of entries: 100,000 of them."""
MAX_PICKLE = 2**24
"""Bytes of data.pkl: a few hundred for each tensor."""
FOREIGN = "torch.save writes no such file"
SHOWN = 3
"""So many entries are named in an error."""

# The end of a zip says where its list of entries lies. A large file has it in 64 bits as well, before that, and a
# locator between the two that says where.
END = struct.Struct("<4s4H2LH")
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR_64 = struct.Struct("<4sLQL")
FIRST_MARK = b"PK\3\4"  # of the first entry
END_MARK = b"PK\5\6"
END_64_MARK = b"PK\6\6"
LOCATOR_MARK = b"PK\6\7"
LONG_SIZE = END_64.size + LOCATOR_64.size


class Place(NamedTuple):
    """Of the list of entries: how many there are, how many bytes the list has, and where it begins."""

    entries: int
    length: int
    start: int

    @property
    def end(self) -> int:
        """Where the list ends."""
        return self.start + self.length

    def agrees_with(self, wide: Self) -> bool:
        """Whether each number is that of `wide`, or says by its bits, which are all 1, that it does not fit."""
        columns = zip(self, wide, ALL_ONES, strict=True)
        return all(narrow in (exact, ones) for narrow, exact, ones in columns)


ALL_ONES = Place(entries=0xFFFF, length=0xFFFFFFFF, start=0xFFFFFFFF)


def find_directory(file: IO[bytes]) -> int:
    """Where the list of entries begins. Raises ValueError unless it ends where the zip's end says, once, at the end.

    Readers that look for it in different ways then find the same one.
    """
    size = file.seek(0, 2)
    tail = min(size, LONG_SIZE + END.size)
    file.seek(size - tail)
    last = file.read(tail)
    file.seek(0)
    first = file.read(len(FIRST_MARK))
    short_end = last[-END.size :]
    if first != FIRST_MARK or len(last) < END.size or not short_end.startswith(END_MARK):
        raise ValueError("it is cut short, or no file of torch.save in its present format")

    # The list must end where the end of the zip, or its end in 64 bits, begins.
    *_, entries, length, start, comment = END.unpack(short_end)
    place = Place(entries, length, start)
    end = size - END.size
    locator = last[-END.size - LOCATOR_64.size : -END.size]
    if len(last) == tail and locator.startswith(LOCATOR_MARK):
        end -= LONG_SIZE
        place = _read_long_end(last, locator, end, place)
    if comment or place.end != end:
        raise ValueError(f"its list of entries does not end where it should; {FOREIGN}")
    if place.length > MAX_DIRECTORY:
        found = f"has {place.length:,} bytes, more than {MAX_DIRECTORY:,}"
        raise ValueError(f"its list of entries {found}; {FOREIGN}")
    return place.start


def _read_long_end(last: bytes, locator: bytes, end: int, short: Place) -> Place:
    """What the end in 64 bits says, with which `last` begins, and which lies at `end`.

    Raises ValueError where that is not what is said in `short` in fewer bits.
    """
    *_, located, _ = LOCATOR_64.unpack(locator)
    *_, entries, length, start = END_64.unpack(last[: END_64.size])
    long = Place(entries, length, start)
    is_there = located == end and last.startswith(END_64_MARK)
    if not is_there or not short.agrees_with(long):
        raise ValueError(f"its end contradicts itself; {FOREIGN}")
    return long


def find_pickle(entries: Sequence[zipfile.ZipInfo], begin: int) -> zipfile.ZipInfo:
    """The entry data.pkl. Raises ValueError for entries that are packed, named twice, or overlap.

    Args:
        begin: where the list of entries begins, before which all of them lie.
    """
    folder = ""
    if entries:
        folder, _, _ = entries[0].filename.partition("/")
    _require_plain_names(entries, folder)
    _require_stored(entries)
    declared = sum(entry.file_size for entry in entries)
    if declared > begin:
        raise ValueError(f"its entries overlap: together they declare more than the file holds; {FOREIGN}")

    # No two names are alike but for capitals.
    wanted = f"{folder}/data.pkl".lower()
    found = [entry for entry in entries if entry.filename.lower() == wanted]
    expected = f"expected one of at most {MAX_PICKLE:,}"
    if not found:
        raise ValueError(f"it has no data.pkl, {expected}")
    [pickled] = found
    if pickled.file_size > MAX_PICKLE:
        raise ValueError(f"it has a data.pkl of {pickled.file_size:,} bytes, {expected}")
    return pickled


def _require_plain_names(entries: Sequence[zipfile.ZipInfo], folder: str) -> None:
    """Raise ValueError for names that lie outside of the folder, that readers may take differently, or that recur."""
    names = {entry.filename.lower() for entry in entries}
    foreign = []
    for entry in entries:
        if not _is_plainly_named(entry, f"{folder}/"):
            foreign.append(entry.filename)
    if foreign or len(names) < len(entries):
        named = ", ".join(foreign[:SHOWN]) or folder
        raise ValueError(f"entries are named twice or oddly ({named}); {FOREIGN}")


def _is_plainly_named(entry: zipfile.ZipInfo, folder: str) -> bool:
    name = entry.orig_filename
    is_encrypted = bool(entry.flag_bits & 1)
    if is_encrypted or name != entry.filename:
        return False
    return name.isascii() and name.startswith(folder)


def _require_stored(entries: Sequence[zipfile.ZipInfo]) -> None:
    """Raise ValueError for entries that are compressed."""
    packed = []
    for entry in entries:
        is_stored = entry.compress_type == zipfile.ZIP_STORED
        if not is_stored or entry.file_size != entry.compress_size:
            packed.append(entry.filename)
    if packed:
        named = ", ".join(packed[:SHOWN])
        raise ValueError(f"{named} unpacks to another size than it has; {FOREIGN}")
