"""How the messages of this room say what was found and what would fit. Nothing found is too long or unprintable."""

import itertools
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

WORDS: dict[Any, str] = {
    int: "an integer", float: "a number", str: "text", bool: "true or false", NoneType: "null", None: "null",
}  # fmt: skip
LONGEST = 300  # characters of a value that are shown
MOST_ITEMS = 100  # of a list or mapping that are shown
DEEPEST = 8  # lists within lists that are shown
SHOWN_BITS = 8192  # of an integer; Python refuses to write longer ones
UNPRINTABLE = ("Cc", "Cf", "Cs")  # control and format characters, and surrogates: bytes that are no UTF-8


def describe(kind: Any) -> str:
    """`kind` in words: "an integer at least 1", "both, decoder or encoder"."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        marks = [str(mark) for mark in arguments[1:]]
        return " ".join([describe(arguments[0]), *(mark for mark in marks if mark)])
    if origin in (Union, UnionType, Literal):
        return _join_or(_describe_choices(kind))
    if origin is tuple and Ellipsis not in arguments:
        return f"[{_describe_items(arguments)}]"
    if origin in (list, tuple, Sequence):
        return f"[{describe(arguments[0])}, …]"
    if origin in (dict, Mapping):
        return f"{{name: {describe(arguments[1])}, …}}"
    return WORDS.get(kind, "a value")


def either(choices: Sequence[Any]) -> str:
    """ "a", "a or b", "a, b or c"."""
    return _join_or([show(choice) for choice in choices])


def _join_or(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _describe_choices(kind: Any) -> list[str]:
    """The words or kinds that a union is made of, unions within it too."""
    if get_origin(kind) is Literal:
        return [show(choice) for choice in get_args(kind)]
    if get_origin(kind) in (Union, UnionType):
        return [choice for arm in get_args(kind) for choice in _describe_choices(arm)]
    return ["true", "false"] if kind is bool else [describe(kind)]


def _describe_items(kinds: Sequence[Any]) -> str:
    """The items of a list of fixed length: "3 integers from 0 to 255"."""
    items = [describe(kind) for kind in kinds]
    article, _, rest = items[0].partition(" ")
    noun, space, limits = rest.partition(" ")
    if len(set(items)) == 1 and article in ("a", "an") and noun in ("integer", "number"):
        return f"{len(items)} {noun}s{space}{limits}"
    return ", ".join(items)


def show(value: Any) -> str:
    """A value as one types it; the end of a long one is left out, control characters are spelled out."""
    text = _typed(value, DEEPEST)
    cut = f"{text[:LONGEST]}… ({len(text)} characters)"
    return spell_out(text if len(text) <= LONGEST else cut)


def spell_out(text: str) -> str:
    """The text with unprintable characters as their codes: a newline becomes the two characters \\n."""
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) in UNPRINTABLE else letter
        for letter in text
    )


def _typed(value: Any, depth: int) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, int) and value.bit_length() > SHOWN_BITS:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, Mapping):
        pairs = (f"{_typed(key, depth - 1)}: {_typed(item, depth - 1)}" for key, item in value.items())
        return f"{{{_first(pairs, depth)}}}"
    if isinstance(value, list | tuple):
        return f"[{_first((_typed(item, depth - 1) for item in value), depth)}]"
    return str(value)


def _first(texts: Iterator[str], depth: int) -> str:
    """The first texts, and dots for the rest; dots alone where the depth is used up."""
    shown = list(itertools.islice(texts, MOST_ITEMS + 1 if depth > 0 else 0))
    return ", ".join([*shown[:MOST_ITEMS], *(["…"] if depth <= 0 or len(shown) > MOST_ITEMS else [])])
