"""Tables of names, as spreadsheets save them: fields, titles, and which rows and columns name what is tested."""

import re
from collections.abc import Callable, Collection, Sequence
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
FLAG_TITLE = re.compile(r"(?i)(is[ _]?)?test(ed|ing)?")
YES, NO = {"1", "1.0", "yes", "true", "y", "x"}, {"0", "0.0", "no", "false", "n", ""}

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
    return ["".join(pieces).strip().strip("\"'").strip() for pieces in fields]


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
        rows = [row for row in rows if _field(row, choice.column).casefold() in choice.tested]
    width = max(len(row) for row in (titles, *rows))
    columns = [index for index in range(width) if not (choice and index == choice.column)]
    # A column without a title may hold names as well, but for the first: that is the number of the line.
    named = [index for index in columns if _is_title(_field(titles, index)) or (index and not _field(titles, index))]
    holding = [index for index in named if any(map(meant, _column(rows, index)))]
    kept = [[(index, _field(row, index)) for index in holding or named] for row in rows]
    for row in kept:
        _require_one_group(titles, row, meant)
    return [[field for _, field in row] for row in kept]


def _is_title(field: str) -> bool:
    return len(field) <= LONGEST_TITLE and TITLE.fullmatch(field) is not None


@dataclass(frozen=True)
class _Choice:
    """The column that says of each row whether it is tested, and what it says then."""

    column: int
    tested: Collection[str]


def _find_choice(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> _Choice | None:
    """A column of parts (train, test) or of flags (test: 1, 0); None where there is none."""
    for index, title in enumerate(titles):
        values = {field.casefold() for field in _column(rows, index)}
        if values & TESTED and values <= TESTED | LEARNED | {""}:
            return _Choice(index, TESTED)
        if FLAG_TITLE.fullmatch(title) and values & YES and values <= YES | NO:
            return _Choice(index, YES)
    return None


def _require_one_group(titles: Sequence[str], row: Sequence[tuple[int, str]], meant: Meaning) -> None:
    groups = {meant(field): (index, field) for index, field in row if meant(field) is not None}
    if len(groups) > 1:
        (first, a), (second, b), *_ = groups.values()
        raise ValueError(
            f"its columns '{_field(titles, first)}' and '{_field(titles, second)}' name different groups ('{a}' and "
            f"'{b}' in one line); expected one column of names, so remove the others"
        )


def _column(rows: Sequence[Sequence[str]], index: int) -> list[str]:
    return [_field(row, index) for row in rows]


def _field(row: Sequence[str], index: int) -> str:
    """A field; empty where the line is shorter."""
    return row[index] if index < len(row) else ""
