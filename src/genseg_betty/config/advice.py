"""What a value that does not fit was most likely meant to be: whatever is proposed fits."""

import difflib
import json
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from genseg_betty.config.kinds import convert_value
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


def propose_value(value: Any, kind: Any) -> str:
    """ "; did you mean 3, without quotes?": the first proposal that fits `kind`; nothing where none does."""
    for proposal in _list_proposals(value, kind):
        try:
            found = convert_value(proposal, kind)
        except ValueError:
            continue
        shown = show(found)
        is_same_text = isinstance(value, str) and shown == value
        quotes = ", without quotes" if is_same_text else ""
        return f"; did you mean {shown}{quotes}?"
    return ""


def _list_proposals(value: Any, kind: Any) -> Iterator[Any]:
    """What the value may stand for, the most likely first."""
    if isinstance(value, str) and len(value) <= LONGEST:
        yield from _read_as_number_or_list(value)
    if not isinstance(value, list | dict):
        word = show(value).lower()
        yield from MEANT.get(word, ())
        yield from difflib.get_close_matches(word, _list_words(kind), n=1, cutoff=ALIKE)
    if isinstance(value, list):
        yield from _read_list_otherwise(value)
    # {0: background, 1: lung} was written the wrong way round.
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
    if re.fullmatch(r"\(([\d., ]+)\)|(\d+(?:[x×]\d+)+)", text):
        numbers = re.findall(r"[\d.]*\d", text)
        yield [float(number) for number in numbers]


def _read_list_otherwise(values: list[Any]) -> Iterator[Any]:
    """The one value of a list, and names as a mapping to their places."""
    if len(values) == 1:
        yield values[0]
    if all(isinstance(item, str) for item in values):
        yield {name: number for number, name in enumerate(values)}


def _list_words(kind: Any) -> list[str]:
    """The words that a kind offers."""
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return [choice for choice in parts if isinstance(choice, str)]
    return [word for part in parts for word in _list_words(part)]
