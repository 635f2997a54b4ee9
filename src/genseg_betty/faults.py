"""Faults of one kind told once: with their number, the first few files, and the advice, which is the same for all."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

EXAMPLES = 3  # files named of one kind

_NAME = r"[^\s,;:()']*[^\s,;:()'.]"
# What differs between two faults of one kind: quoted names, paths, file names and numbers.
_VARYING = re.compile(
    rf"'[^']*'|\S*/{_NAME}|[\w{{}}*-][^\s,;:()']*\.[a-z*]\w{{0,5}}\b|[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
)


def list_first(names: Sequence[str], most: int = EXAMPLES) -> str:
    """ "a", "a, b", "a, b, c and 37 more"."""
    shown = ", ".join(names[:most])
    hidden = len(names) - most
    return f"{shown} and {hidden} more" if hidden > 0 else shown


def list_examples(names: Sequence[str], most: int = EXAMPLES) -> str:
    """As `list_first`, and "a, b and c" where all are named."""
    if len(names) < 2 or len(names) > most:
        return list_first(names, most)
    *others, last = names
    return f"{', '.join(others)} and {last}"


def merge_alike(faults: Sequence[tuple[str, str]], noun: str = "files") -> list[str]:
    """One line for each kind of fault, in the order in which the kinds appear.

    Args:
        faults: files and what is wrong with each. Two messages are of one kind if they differ in names and numbers
            alone; where they do, the first is shown for all.
        noun: what the files are.
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for file, message in faults:
        kinds.setdefault(_template(file, message), []).append((file, message))
    return [_tell(alike, noun) for alike in kinds.values()]


def list_below(title: str, lines: Sequence[str]) -> str:
    """The title, and each of the lines as an item of a list below it."""
    return "\n  - ".join([title, *lines])


def _template(file: str, message: str) -> str:
    """The message without names and numbers; names with spaces in them are known from the file."""
    stem = PurePosixPath(file).stem
    return _VARYING.sub("…", message.replace(stem, "0") if " " in stem else message)


def _tell(alike: Sequence[tuple[str, str]], noun: str) -> str:
    file, message = alike[0]
    if len(alike) == 1:
        return f"{file}: {message}"
    names = list_examples([name for name, _ in alike])
    first = "" if all(other == message for _, other in alike) else "; the first"
    return f"{len(alike)} {noun} ({names}){first}: {message}"
