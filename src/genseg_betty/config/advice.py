"""What a value that does not fit was most likely meant to be: whatever is proposed fits."""

import difflib
import json
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from genseg_betty.config.kinds import convert
from genseg_betty.config.wording import show

LONGEST = 200  # characters of a text that is thought about
ALIKE = 0.65  # of the letters, from which one word is taken for another
# Words of other programs, in small letters, and what may stand for them here.
MEANT: dict[str, tuple[Any, ...]] = {
    "gpu": ("cuda",),
    "yes": (True, "auto"),
    "on": (True, "auto", "always"),
    "true": (True, "auto"),
    "no": (False, "none", "never"),
    "off": (False, "none", "never"),
    "false": (False, "none", "never"),
    "none": (None, "none", []),
    "null": (None, "none", []),
    "auto": (None,),
}


def propose(value: Any, kind: Any) -> str:
    """ "; did you mean 3, without quotes?": the first proposal that fits `kind`; nothing where none does."""
    for proposal in _proposals(value, kind):
        try:
            found = convert(proposal, kind)
        except ValueError:
            continue
        unquoted = isinstance(value, str) and show(found) == value
        return f"; did you mean {show(found)}{', without quotes' if unquoted else ''}?"
    return ""


def _proposals(value: Any, kind: Any) -> Iterator[Any]:
    """What the value may stand for, the most likely first."""
    if isinstance(value, str) and len(value) <= LONGEST:
        yield from _read_as_number_or_list(value)
    if not isinstance(value, list | dict):
        word = show(value).lower()
        yield from MEANT.get(word, ())
        yield from difflib.get_close_matches(word, _choices(kind), n=1, cutoff=ALIKE)
    if isinstance(value, list) and len(value) == 1:
        yield value[0]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        yield {name: number for number, name in enumerate(value)}
    if isinstance(value, dict) and all(isinstance(name, str) for name in value.values()):
        yield {name: number for number, name in value.items()}
    if value is not None and not isinstance(value, list):
        yield [value]


def _read_as_number_or_list(text: str) -> Iterator[Any]:
    """`'3'`, `[1, 2]` in quotes, digits of other scripts, `(64,64)` and `64x64`."""
    for read in (json.loads, float):
        try:
            yield read(text)
        except (ValueError, RecursionError):
            continue
    numbers = re.fullmatch(r"\(([\d., ]+)\)|(\d+(?:[x×]\d+)+)", text)
    if numbers:
        yield [float(number) for number in re.findall(r"[\d.]*\d", text)]


def _choices(kind: Any) -> list[str]:
    """The words that a kind offers."""
    if get_origin(kind) is Literal:
        return [choice for choice in get_args(kind) if isinstance(choice, str)]
    return [choice for part in get_args(kind) for choice in _choices(part)]
