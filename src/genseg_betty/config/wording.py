"""How the messages of this room say what was found and what would fit. Nothing found is too long or unprintable."""

import itertools
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

WORDS: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    str: "text",
    bool: "true or false",
    NoneType: "null",
    None: "null",
}
LONGEST = 300  # characters of a value that are shown
MOST_ITEMS = 100  # of a list or mapping that are shown
DEEPEST = 8  # lists within lists that are shown
SHOWN_BITS = 8192  # of an integer; Python refuses to write longer ones
UNPRINTABLE = ("Cc", "Cf", "Cs")  # control and format characters, and surrogates: bytes that are no UTF-8


def describe_kind(kind: Any) -> str:
    """`kind` in words: "an integer at least 1", "both, decoder or encoder"."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _describe_marked(*arguments)
    if origin in (Union, UnionType, Literal):
        return _join_words(_list_choices(kind))
    if origin is tuple and Ellipsis not in arguments:
        items = _describe_items(arguments)
        return f"[{items}]"
    if origin in (list, tuple, Sequence):
        item = describe_kind(arguments[0])
        return f"[{item}, …]"
    if origin in (dict, Mapping):
        item = describe_kind(arguments[1])
        return f"{{name: {item}, …}}"
    return WORDS.get(kind, "a value")


def join_choices(choices: Sequence[Any]) -> str:
    """ "a", "a or b", "a, b or c"."""
    return _join_words([show(choice) for choice in choices])


def show(value: Any) -> str:
    """A value as one types it; the end of a long one is left out, control characters are spelled out."""
    text = _write_value(value, DEEPEST)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}… ({len(text)} characters)"
    return spell_out(text)


def spell_out(text: str) -> str:
    """The text with unprintable characters as their codes: a newline becomes the two characters \\n."""
    letters = []
    for letter in text:
        if unicodedata.category(letter) in UNPRINTABLE:
            letters.append(letter.encode("unicode_escape").decode())
        else:
            letters.append(letter)
    return "".join(letters)


def _join_words(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    first = ", ".join(words[:-1])
    return f"{first} or {words[-1]}"


def _describe_marked(kind: Any, *marks: Any) -> str:
    """A kind and the marks that narrow it, but for those without a description."""
    words = [describe_kind(kind)]
    for mark in marks:
        if str(mark):
            words.append(str(mark))
    return " ".join(words)


def _list_choices(kind: Any) -> list[str]:
    """The words or kinds that a union is made of, unions within it too."""
    if get_origin(kind) is Literal:
        return [show(choice) for choice in get_args(kind)]
    if get_origin(kind) in (Union, UnionType):
        return [choice for arm in get_args(kind) for choice in _list_choices(arm)]
    if kind is bool:
        return ["true", "false"]
    return [describe_kind(kind)]


def _describe_items(kinds: Sequence[Any]) -> str:
    """The items of a list of fixed length: "3 integers from 0 to 255"."""
    items = [describe_kind(kind) for kind in kinds]
    article, _, rest = items[0].partition(" ")
    noun, space, limits = rest.partition(" ")
    is_one_kind = len(set(items)) == 1
    if is_one_kind and article in ("a", "an") and noun in ("integer", "number"):
        return f"{len(items)} {noun}s{space}{limits}"
    return ", ".join(items)


def _write_value(value: Any, depth: int) -> str:
    """The value as one types it, down to `depth` lists within each other."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, int) and value.bit_length() > SHOWN_BITS:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, Mapping):
        pairs = _join_first(value.items(), depth, _write_pair)
        return f"{{{pairs}}}"
    if isinstance(value, list | tuple):
        items = _join_first(value, depth, _write_value)
        return f"[{items}]"
    return str(value)


def _write_pair(pair: tuple[Any, Any], depth: int) -> str:
    key, item = pair
    return f"{_write_value(key, depth)}: {_write_value(item, depth)}"


def _join_first(items: Iterable[Any], depth: int, write: Callable[[Any, int], str]) -> str:
    """The first items of a list or mapping, and dots for the rest; dots alone where the depth is used up."""
    if depth <= 0:
        return "…"
    shown = [write(item, depth - 1) for item in itertools.islice(items, MOST_ITEMS + 1)]
    if len(shown) > MOST_ITEMS:
        shown[MOST_ITEMS] = "…"
    return ", ".join(shown)
