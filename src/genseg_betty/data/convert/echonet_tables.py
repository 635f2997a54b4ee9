"""The tables of EchoNet-Dynamic: the part of each video, and the outlines that were traced in its frames."""

import math
import unicodedata
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from genseg_betty.data.convert import read_table
from genseg_betty.data.formats import ImageError
from genseg_betty.errors import UserError

FILE_LIST = "FileList.csv"
TRACINGS = "VolumeTracings.csv"
VIDEOS = "Videos"
VIDEO_ENDING = ".avi"
FILE_COLUMNS = ("FileName", "Split")
TRACING_COLUMNS = ("FileName", "Frame", "X1", "Y1", "X2", "Y2")
ROWS = 21  # of one tracing: the long axis, then the chords
MAX_FRAME = 9999  # published videos have up to about 1000 frames
MAX_DIGITS = 7  # of a frame's number
NO_FRAME = -1

# By frame, or NO_FRAME for what is none: X1, Y1, X2, Y2 of each row, NaN for a row with what is no number.
Outlines = dict[int, "array[float]"]


@dataclass(frozen=True)
class Tables:
    """What the tables say.

    Attributes:
        parts: TRAIN, VAL or TEST by video.
        tracings: the outlines by video.
    """

    parts: dict[str, str] = field(default_factory=dict)
    tracings: dict[str, Outlines] = field(default_factory=dict)


def read_tables(root: Path) -> Tables:
    """Both tables. Raises UserError with all that is missing."""
    tables = Tables()
    problems = []
    if not (root / VIDEOS).is_dir():
        problems.append(f"  {VIDEOS}/: is not there; expected the folder of the videos")
    readers: dict[str, Callable[[Path, Tables], None]] = {
        FILE_LIST: _read_parts,
        TRACINGS: _read_tracings,
    }
    for name, read in readers.items():
        try:
            read(root, tables)
        except UserError as error:
            problems.append(f"  {name}: {error}")
    if problems:
        title = f"{root} is not EchoNet-Dynamic as published (see its page for the download):"
        raise UserError("\n".join([title, *problems]))
    return tables


def _read_parts(root: Path, tables: Tables) -> None:
    for name, part in read_table(root, FILE_LIST, FILE_COLUMNS):
        video = strip_ending(name)
        tables.parts[video] = part


def _read_tracings(root: Path, tables: Tables) -> None:
    table = read_table(root, TRACINGS, TRACING_COLUMNS)
    for name, rows in groupby(table, key=itemgetter(0)):
        video = strip_ending(name)
        outlines = tables.tracings.setdefault(video, {})
        for _, frame, *ends in rows:
            number = _read_frame(frame)
            outline = outlines.setdefault(number, array("d"))
            outline.extend(_read_numbers(ends))


def _read_frame(text: str) -> int:
    """The number of a frame; NO_FRAME for what is none."""
    if text.isdecimal() and len(text) <= MAX_DIGITS:
        return int(text)
    return NO_FRAME


def _read_numbers(texts: Sequence[str]) -> list[float]:
    try:
        return [float(text) for text in texts]
    except ValueError:
        return [math.nan] * len(texts)


def strip_ending(name: str) -> str:
    """FileList.csv names the videos without .avi, VolumeTracings.csv with it."""
    name = unicodedata.normalize("NFC", name)
    if name.lower().endswith(VIDEO_ENDING):
        return name[: -len(VIDEO_ENDING)]
    return name


def make_polygon(frame: int, rows: "array[float]") -> np.ndarray:
    """The outline [40, 2] in (x, y) of a frame, from the rows of its tracing. Raises ImageError where it is none."""
    if not 0 <= frame <= MAX_FRAME:
        raise ImageError("unreadable", f"the column Frame holds no whole number from 0 to {MAX_FRAME}; mend the row")
    lines = np.asarray(rows).reshape(-1, 4)
    if len(lines) % ROWS:
        expected = f"expected {ROWS}, the long axis and {ROWS - 1} chords"
        raise ImageError("unreadable", f"is traced in {len(lines)} rows; {expected}: fetch the table again")

    # The first row is the long axis, and of a frame traced more than once the first tracing counts.
    chords = lines[1:ROWS]
    are_numbers = np.isfinite(chords).all(axis=1)
    if not are_numbers.all():
        first = int(are_numbers.argmin())
        fault = f"row {first + 2} of {ROWS} holds a coordinate that is no number"
        raise ImageError("unreadable", f"{fault}; mend the row")
    down = chords[:, :2]
    up = chords[::-1, 2:]
    return np.concatenate([down, up])
