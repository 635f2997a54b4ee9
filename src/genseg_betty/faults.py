"""Faults of one kind told once: with their number, the first few files, and the advice, which is the same for all."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

EXAMPLES = 3  # files named of one kind

# What differs between two faults of one kind.
_QUOTED = r"'[^']*'"
_PATH = r"\S*/[^\s,;:()']*[^\s,;:()'.]"
_FILE = r"[\w{}*-][^\s,;:()']*\.[a-z*]\w{0,5}\b"
_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_VARYING = re.compile("|".join([_QUOTED, _PATH, _FILE, _NUMBER]))


def list_first(names: Sequence[str], most: int = EXAMPLES) -> str:
    """ "a", "a, b", "a, b, c and 37 more"."""
    shown = ", ".join(names[:most])
    hidden = len(names) - most
    if hidden <= 0:
        return shown
    return f"{shown} and {hidden} more"


def list_examples(names: Sequence[str], most: int = EXAMPLES) -> str:
    """As `list_first`, and "a, b and c" where all are named."""
    if len(names) < 2 or len(names) > most:
        return list_first(names, most)
    *others, last = names
    listed = ", ".join(others)
    return f"{listed} and {last}"


def count_things(things: Sequence[object], name: str) -> str:
    """ "1 mask", "3 masks"."""
    plural = "" if len(things) == 1 else "s"
    return f"{len(things)} {name}{plural}"


def merge_alike(faults: Sequence[tuple[str, str]], noun: str = "files") -> list[str]:
    """One line for each kind of fault, in the order in which the kinds appear.

    Args:
        faults: files and what is wrong with each. Two messages are of one kind if they differ in names and numbers
            alone; where they do, the first is shown for all.
        noun: what the files are.
    """
    kinds: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for file, message in faults:
        kind = _find_kind(file, message)
        kinds[kind].append((file, message))
    return [_tell_kind(alike, noun) for alike in kinds.values()]


def list_below(title: str, lines: Sequence[str]) -> str:
    """The title, and each of the lines as an item of a list below it."""
    return "\n  - ".join([title, *lines])


def _find_kind(file: str, message: str) -> str:
    """The message without names and numbers; names with spaces in them are known from the file."""
    stem = PurePosixPath(file).stem
    if " " in stem:
        message = message.replace(stem, "0")
    return _VARYING.sub("…", message)


def _tell_kind(alike: Sequence[tuple[str, str]], noun: str) -> str:
    file, message = alike[0]
    if len(alike) == 1:
        return f"{file}: {message}"
    files = [name for name, _ in alike]
    messages = {other for _, other in alike}
    listed = list_examples(files)
    heading = f"{len(alike)} {noun} ({listed})"
    if len(messages) > 1:
        heading += "; the first"
    return f"{heading}: {message}"
