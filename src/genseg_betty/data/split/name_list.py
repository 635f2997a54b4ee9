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
MARKS = (  # byte order marks, and what they stand before
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
INVISIBLE = re.compile("[\ufeff\u200b-\u200f\u2060\u202a-\u202e\u2066-\u2069]")  # marks of width and direction
BULLET = re.compile(r"^[-*•]\s+")
REMARK = re.compile(r"(^|\s)#.*")


def read_list(path: Path) -> list[str]:
    """The lines of a list, or the names in a JSON one. Raises OSError; ValueError for a file too large or no text."""
    content = bounded_read(path, MAX_BYTES)
    text = _decode_text(content).removeprefix("\ufeff")
    names = _find_names_in_json(text)
    if names is None:
        return text.splitlines()
    return names


class Names:
    """What names of a dataset's groups mean; a case's id or file stands for its group.

    Args:
        groups: group by the id of each case.
    """

    def __init__(self, groups: Mapping[str, str]) -> None:
        self._exact = {**groups, **{group: group for group in groups.values()}}
        self._loose: dict[str, set[str]] = defaultdict(set)
        for name, group in self._exact.items():
            self._loose[_loosen_spelling(name)].add(group)

    def meant(self, name: str) -> str | None:
        """The group that a name stands for; None for no group, and where several differ from it in case alone.

        A path stands for the id that it is without its extension, or for that of its file alone.
        """
        path = posixpath.normpath(name.replace("\\", "/"))
        body, _ = split_name(path)
        spellings = (name, body, posixpath.basename(body))
        for spelled in spellings:
            group = self._exact.get(unicodedata.normalize("NFC", spelled))
            if group is not None:
                return group
        return self._find_loosely(spellings)

    def chosen(self, lines: Iterable[str]) -> tuple[set[str], list[str]]:
        """The groups that a list names, and the names that mean none.

        Of a table with titles those columns count whose title is one of names and in which a group stands, and where
        a column says so the tested rows alone. Without titles everything counts: a column of misspelled names looks
        like one of something else. Raises ValueError where two columns name different groups.
        """
        groups: set[str] = set()
        unknown = []
        for name in self._list_names(lines):
            group = self.meant(name)
            if group is None:
                unknown.append(name)
            else:
                groups.add(group)
        return groups, unknown

    def _list_names(self, lines: Iterable[str]) -> list[str]:
        """What a list names, each name once."""
        lines = [line for line in lines if any(self._cut_line(line))]
        rows = [self._cut_line(line) for line in lines]
        if rows and is_title_row(rows[0]) and not any(map(self.meant, rows[0])):
            separators = [one for one in SEPARATORS if one in lines[0]]  # the others are commas within numbers
            titles, *rest = [self._cut_line(line, separators) for line in lines]
            rows = tested_columns(titles, rest, self.meant)
        names: dict[str, None] = {}
        for row in rows:
            names.update(dict.fromkeys(row))
        return [name for name in names if name]

    def _find_loosely(self, spellings: Iterable[str]) -> str | None:
        """The one group that a spelling stands for in whatever case; None where there is none, or several."""
        for spelled in spellings:
            groups = self._loose.get(_loosen_spelling(spelled), set())
            if len(groups) == 1:
                return next(iter(groups))
        return None

    def _is_name(self, text: str) -> bool:
        """Whether the whole text is a group or an id, a path not counted."""
        if unicodedata.normalize("NFC", text) in self._exact:
            return True
        return self._find_loosely([text]) is not None

    def _cut_line(self, line: str, separators: Sequence[str] = SEPARATORS) -> list[str]:
        """The fields of a line; a name with commas, quotes, # or a bullet in it is one field."""
        if self._is_name(line):
            return [line]
        without_remark = REMARK.sub("", line)
        plain = INVISIBLE.sub("", without_remark).strip()
        fields = cut_fields(BULLET.sub("", plain), separators)
        if len(fields) == 1:
            return self._cut_words(fields[0])
        return fields

    def _cut_words(self, field: str) -> list[str]:
        """A line without separators, as several fields where its words are names: `P00 P01`, but not `Patient 3`."""
        words = field.split()
        files = [word for word in words if split_name(word)[1]]
        are_names = len(files) > 1 or all(map(self.meant, words))
        if are_names and not self._is_name(field):
            return words
        return [field]


def quoted_examples(names: Iterable[str], most: int) -> str:
    """Names as a list of at most `most`, quoted so that spaces can be seen."""
    quoted = [f"'{name}'" for name in names]
    return list_examples(quoted, most)


def _decode_text(content: bytes) -> str:
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return content.removeprefix(mark).decode(encoding)
    if b"\0" in content:  # text of 16 bits without its mark: every second byte of plain letters is 0
        ends_low = content[1:2] == b"\0"
        return content.decode("utf-16-le" if ends_low else "utf-16-be")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252")  # as Windows and Excel save without being asked


def _find_names_in_json(text: str) -> list[str] | None:
    """The names of a JSON list, or of the list `test` of a JSON object; None for text that is no JSON."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(names, dict):
        names = names.get("test")
    if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
        raise ValueError("it is JSON of another form; expected a list of names, or an object with the list `test`")
    return [str(name) for name in names]


def _loosen_spelling(name: str) -> str:
    """A name without what spellings differ in: case, spaces, marks, and forms of one letter."""
    visible = INVISIBLE.sub("", name)
    words = unicodedata.normalize("NFKC", visible).casefold().split()
    return " ".join(words)
