"""Text of others on the terminal: a character that would steer it is shown as its code, never sent.

File names, DICOM tags, and the names of classes and datasets come from strangers. An escape sequence among them could
hide a line, forge one or rename the window; a mark of direction could turn a name around.
"""

import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

# Control characters but tab and newline, separators of lines, marks of direction, and halves of surrogate pairs.
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\N{ARABIC LETTER MARK}\N{LEFT-TO-RIGHT MARK}\N{RIGHT-TO-LEFT MARK}"
    "\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def harmless(text: object) -> str:
    """The text with the code of each character in STEERING in its place, such as `\\x1b` for an escape character."""
    return STEERING.sub(_write_code, str(text))


def _write_code(found: re.Match[str]) -> str:
    code = found[0].encode("unicode_escape")
    return code.decode()


def say(*lines: object, file: TextIO | None = None) -> None:
    """Print each line, harmless, to `file` (stdout unless given)."""
    for line in lines:
        print(harmless(line), file=file, flush=True)


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line a row, columns aligned, however wide."""
    columns = zip(*rows, strict=True)
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def print_notes(notes: Iterable[object]) -> None:
    """Print each note on a line of its own on stderr, where it does not mix with what a command prints."""
    for note in notes:
        say(f"note: {note}", file=sys.stderr)


@contextmanager
def harmless_warnings() -> Iterator[None]:
    """Show the warnings of a block as harmless text; our own, which are meant for users, without a line of code.

    Those of pydicom are left out: they come once for each slice, and our readers refuse what cannot be read rightly. So
    is Pillow's of large pictures: our readers bound them.
    """
    usual = warnings.formatwarning
    ours = str(Path(__file__).parent)

    def formatted(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if category is UserWarning and filename.startswith(ours):
            return f"genseg: {harmless(message)}\n"
        return harmless(usual(message, category, filename, lineno, line))

    warnings.formatwarning = formatted
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pydicom")
            warnings.filterwarnings("ignore", "Image size .* could be decompression bomb")
            yield
    finally:
        warnings.formatwarning = usual
