"""Lists of names that a user hands over, such as the patients of a test part, and what of the dataset they mean.

They come from spreadsheets and editors of all kinds: UTF-8 or UTF-16 with or without a byte order mark, a name a line
(with bullets or without), a table with commas, semicolons or tabs, a JSON list, quotes, remarks after #. A name counts
in any Unicode form and in upper or lower case, unless two groups differ in nothing else; one that means nothing is
told, never passed over.
"""

import codecs
import json
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from genseg_betty.data.formats import split_name
from genseg_betty.data.split.name_table import SEPARATORS, cut_fields, is_title_row, tested_columns
from genseg_betty.faults import list_examples
from genseg_betty.files import bounded_read

MAX_BYTES = 2**22  # of a list; a hundred thousand names take half
MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
INVISIBLE = re.compile("[\ufeff\u200b-\u200f\u2060\u202a-\u202e\u2066-\u2069]")  # marks of width and direction
BULLET = re.compile(r"^[-*•]\s+")
REMARK = re.compile(r"(^|\s)#.*")


def read_list(path: Path) -> list[str]:
    """The lines of a list, or the names in a JSON one. Raises OSError; ValueError for a file too large or no text."""
    text = _decoded(bounded_read(path, MAX_BYTES)).removeprefix("\ufeff")
    names = _names_in_json(text)
    return text.splitlines() if names is None else names


class Names:
    """What names of a dataset's groups mean; a case's id or file stands for its group.

    Args:
        groups: group by the id of each case.
    """

    def __init__(self, groups: Mapping[str, str]) -> None:
        self._exact = {**groups, **{group: group for group in groups.values()}}
        self._loose: dict[str, set[str]] = defaultdict(set)
        for name, group in self._exact.items():
            self._loose[_loosened(name)].add(group)

    def meant(self, name: str) -> str | None:
        """The group that a name stands for; None for no group, and where several differ from it in case alone.

        A path stands for the id that it is without its extension, or for that of its file alone.
        """
        path = split_name(posixpath.normpath(name.replace("\\", "/")))[0]
        spellings = (name, path, posixpath.basename(path))
        exact = [self._exact.get(unicodedata.normalize("NFC", spelled)) for spelled in spellings]
        found = [group for group in exact if group is not None]
        return found[0] if found else self._meant_loosely(spellings)

    def chosen(self, lines: Iterable[str]) -> tuple[set[str], list[str]]:
        """The groups that a list names, and the names that mean none.

        Of a table with titles those columns count whose title is one of names and in which a group stands, and where
        a column says so the tested rows alone. Without titles everything counts: a column of misspelled names looks
        like one of something else. Raises ValueError where two columns name different groups.
        """
        lines = [line for line in lines if any(self._fields(line))]
        rows = [self._fields(line) for line in lines]
        if rows and is_title_row(rows[0]) and not any(map(self.meant, rows[0])):
            separators = [one for one in SEPARATORS if one in lines[0]]  # the others are commas within numbers
            rows = [self._fields(line, separators) for line in lines]
            rows = tested_columns(rows[0], rows[1:], self.meant)
        meant = {field: self.meant(field) for row in rows for field in row if field}
        groups = {group for group in meant.values() if group is not None}
        return groups, [name for name, group in meant.items() if group is None]

    def _meant_loosely(self, spellings: Sequence[str]) -> str | None:
        for spelled in spellings:
            groups = self._loose.get(_loosened(spelled), set())
            if len(groups) == 1:
                return next(iter(groups))
        return None

    def _is_name(self, text: str) -> bool:
        """Whether the whole text is a group or an id, a path not counted."""
        return unicodedata.normalize("NFC", text) in self._exact or self._meant_loosely([text]) is not None

    def _fields(self, line: str, separators: Sequence[str] = SEPARATORS) -> list[str]:
        """The fields of a line; a name with commas, quotes, # or a bullet in it is one field."""
        if self._is_name(line):
            return [line]
        plain = INVISIBLE.sub("", REMARK.sub("", line)).strip()
        fields = cut_fields(BULLET.sub("", plain), separators)
        return self._words(fields[0]) if len(fields) == 1 else fields

    def _words(self, field: str) -> list[str]:
        """A line without separators, as several fields where its words are names: `P00 P01`, but not `Patient 3`."""
        words = field.split()
        files = [word for word in words if split_name(word)[1]]
        several = len(files) > 1 or all(map(self.meant, words))
        return words if several and not self._is_name(field) else [field]


def quoted_examples(names: Iterable[str], most: int) -> str:
    """Names as a list of at most `most`, quoted so that spaces can be seen."""
    return list_examples([f"'{name}'" for name in names], most)


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


def _names_in_json(text: str) -> list[str] | None:
    """The names of a JSON list, or of the list `test` of a JSON object; None for text that is no JSON."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    names = content.get("test") if isinstance(content, dict) else content
    if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
        raise ValueError("it is JSON of another form; expected a list of names, or an object with the list `test`")
    return [str(name) for name in names]


def _loosened(name: str) -> str:
    """A name without what spellings differ in."""
    return " ".join(unicodedata.normalize("NFKC", INVISIBLE.sub("", name)).casefold().split())
