"""Lists of names that a user hands over, such as the patients of a test part, and what of the dataset they mean.

They come from spreadsheets and editors of all kinds: UTF-8 or UTF-16 with or without a byte order mark, a name a line
or a table with commas, semicolons or tabs, quotes, remarks after #. A name counts in any Unicode form and in upper or
lower case, unless two groups differ in nothing else; one that means nothing is told, never passed over.
"""

import codecs
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from genseg_betty.data.formats import split_name
from genseg_betty.files import bounded_read

MAX_BYTES = 2**22  # of a list; a hundred thousand names take half
MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
SEPARATORS = re.compile(r"[,;\t]")
INVISIBLE = re.compile("[\ufeff\u200b-\u200f\u2060\u202a-\u202e]")  # marks of width and direction
TITLE = re.compile(r"(?i)(test|patient|subject|case|group|video|name|study|image|id|file)[^\d]*")


def read_list(path: Path) -> list[list[str]]:
    """The fields of each line of a list that holds any. Raises OSError; ValueError for a file too large or no text."""
    content = bounded_read(path, MAX_BYTES)
    lines = [INVISIBLE.sub("", line).strip() for line in _decoded(content).splitlines()]
    rows = [_fields(line) for line in lines if line and not line.startswith("#")]
    return [row for row in rows if any(row)]


class Names:
    """What names of a dataset's groups mean; a case's id or file stands for its group.

    Args:
        groups: group by the id of each case.
    """

    def __init__(self, groups: Mapping[str, str]) -> None:
        self._exact = {**groups, **{group: group for group in groups.values()}}
        self._loose: dict[str, set[str]] = defaultdict(set)
        for name, group in self._exact.items():
            self._loose[_loose(name)].add(group)

    def meant(self, name: str) -> str | None:
        """The group that a name stands for; None for no group, and where several differ from it in case alone."""
        normal = unicodedata.normalize("NFC", name)
        stem = split_name(posixpath.basename(normal))[0]
        for spelled in (normal, stem):
            if spelled in self._exact:
                return self._exact[spelled]
        for spelled in (normal, stem):
            if len(found := self._loose.get(_loose(spelled), set())) == 1:
                return next(iter(found))
        return None

    def chosen(self, rows: Sequence[Sequence[str]]) -> tuple[set[str], list[str]]:
        """The groups that a list names, and the names that mean none.

        Of a table with titles those columns count in which a group stands. Without titles everything counts: a
        column of misspelled names looks like one of something else.
        """
        rows = [self._parted(row) for row in rows]
        columns = {index for row in rows for index, field in enumerate(row) if field and self.meant(field)}
        if rows and any(map(TITLE.fullmatch, rows[0])) and not any(map(self.meant, rows[0])):
            kept = columns or set(range(len(rows[0])))
            rows = [[field for index, field in enumerate(row) if index in kept] for row in rows[1:]]
        listed = [field for row in rows for field in row if field]
        meant = {name: self.meant(name) for name in listed}
        return {group for group in meant.values() if group is not None}, [n for n, group in meant.items() if not group]

    def _parted(self, row: Sequence[str]) -> Sequence[str]:
        """A line without separators whose words are groups, as several fields: `P00 P01`, but not `Patient 3`."""
        words = row[0].split()
        known = len(row) == 1 and self.meant(row[0]) is None and any(self.meant(word) for word in words)
        return words if known else row


def unmatched(names: Iterable[str], most: int) -> str:
    """Names as a list of at most `most`, quoted so that spaces can be seen."""
    quoted = [f"'{name}'" for name in names]
    more = f" and {len(quoted) - most} more" if len(quoted) > most else ""
    return ", ".join(quoted[:most]) + more


def _decoded(content: bytes) -> str:
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    if b"\0" in content:  # text of 16 bits without its mark: every second byte of plain letters is 0
        return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252")  # as Windows and Excel save without being asked


def _fields(line: str) -> list[str]:
    """The fields of a line, without the quotes around them; a remark after a blank and # is cut off."""
    line = re.split(r"\s#", line, maxsplit=1)[0]
    return [field.strip().strip("\"'").strip() for field in SEPARATORS.split(line)]


def _loose(name: str) -> str:
    """A name without what spellings differ in."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
