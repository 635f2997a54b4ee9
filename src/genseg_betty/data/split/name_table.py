"""Tables of names, as spreadsheets save them: fields, titles, and which rows and columns name what is tested."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

PIECE = re.compile(r'"[^"]*"|[^",;\t]+|.')  # what stands in quotes, plain text, a separator
SEPARATORS = (",", ";", "\t")
# What is written above a column of names: these words alone, so that `Patient Zoe` is a patient and no title.
TITLE_WORD = (
    "anonym(?:ized|ised)?|case|code|file|group|id|identifier|image|key|list|name|nr|number|of|participant|path|patient|"
    "pseudonym|scan|sequence|series|set|study|subject|test|video"
)
TITLE = re.compile(rf"(?i)(?:(?:{TITLE_WORD})s?[\W_]*)+")
LONGEST_TITLE = 60  # letters
DECLARATION = re.compile(r"(?i)sep=.?")  # Excel's first line, which names the separator
TESTED = {"test", "testing"}
LEARNED = {"train", "training", "val", "valid", "validation", "dev"}
PARTS = {*TESTED, *LEARNED, ""}
FLAG_TITLE = re.compile(r"(?i)(is[ _]?)?test(ed|ing)?")
YES = {"1", "1.0", "yes", "true", "y", "x"}
NO = {"0", "0.0", "no", "false", "n", ""}

Meaning = Callable[[str], str | None]


def cut_fields(line: str, separators: Sequence[str] = SEPARATORS) -> list[str]:
    """The fields of a line without the quotes around them; a separator in double quotes is part of its field."""
    if DECLARATION.fullmatch(line):
        return []
    fields: list[list[str]] = [[]]  # the pieces of each
    for piece in PIECE.findall(line):
        if piece in separators:
            fields.append([])
        else:
            fields[-1].append(piece)
    return [_strip_quotes("".join(pieces)) for pieces in fields]


def _strip_quotes(text: str) -> str:
    inside = text.strip().strip("\"'")
    return inside.strip()


def is_title_row(row: Sequence[str]) -> bool:
    """Whether one of the fields is what people write above a column of names."""
    return any(map(_is_title, row))


def tested_columns(titles: Sequence[str], rows: Sequence[Sequence[str]], meant: Meaning) -> list[list[str]]:
    """The fields of a table that name what is tested, row by row.

    Args:
        meant: the group that a field stands for, or None.

    Raises ValueError where two columns name different groups.
    """
    choice = _find_choice(titles, rows)
    if choice:
        rows = [row for row in rows if choice.is_tested(row)]
    width = max(len(row) for row in (titles, *rows))
    columns = list(range(width))
    if choice:
        columns.remove(choice.column)
    named = [index for index in columns if _may_hold_names(titles, index)]
    holding = []
    for index in named:
        if any(map(meant, _list_column(rows, index))):
            holding.append(index)
    kept = holding or named

    fields = []
    for row in rows:
        _require_one_group(titles, row, kept, meant)
        fields.append([_field_at(row, index) for index in kept])
    return fields


def _is_title(field: str) -> bool:
    if len(field) > LONGEST_TITLE:
        return False
    return TITLE.fullmatch(field) is not None


def _may_hold_names(titles: Sequence[str], index: int) -> bool:
    """Whether a column is one of names by its title.

    A column without a title may hold names as well, but for the first: that is the number of the line.
    """
    title = _field_at(titles, index)
    return _is_title(title) or (index > 0 and title == "")


@dataclass(frozen=True)
class _Choice:
    """The column that says of each row whether it is tested, and what it says then."""

    column: int
    tested: Collection[str]

    def is_tested(self, row: Sequence[str]) -> bool:
        return _field_at(row, self.column).casefold() in self.tested


def _find_choice(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> _Choice | None:
    """A column of parts (train, test) or of flags (test: 1, 0); None where there is none."""
    for index, title in enumerate(titles):
        values = {field.casefold() for field in _list_column(rows, index)}
        if values & TESTED and values <= PARTS:
            return _Choice(index, TESTED)
        if FLAG_TITLE.fullmatch(title) and values & YES and values <= YES | NO:
            return _Choice(index, YES)
    return None


def _require_one_group(titles: Sequence[str], row: Sequence[str], columns: Iterable[int], meant: Meaning) -> None:
    """Raise ValueError where the columns of a row name different groups."""
    places: dict[str, int] = {}  # the last column that names each group
    for index in columns:
        group = meant(_field_at(row, index))
        if group is not None:
            places[group] = index
    if len(places) < 2:
        return
    first, second, *_ = places.values()
    raise ValueError(
        f"its columns '{_field_at(titles, first)}' and '{_field_at(titles, second)}' "
        f"name different groups ('{_field_at(row, first)}' and '{_field_at(row, second)}' in one line); "
        "expected one column of names, so remove the others"
    )


def _list_column(rows: Sequence[Sequence[str]], index: int) -> list[str]:
    return [_field_at(row, index) for row in rows]


def _field_at(row: Sequence[str], index: int) -> str:
    """A field; empty where the line is shorter."""
    return row[index] if index < len(row) else ""
