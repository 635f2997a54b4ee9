"""Keys and values of a Python program as overrides of the command line: `{"seed": 1}` -> `seed=1`."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genseg_betty.config.override_grammar import quote_text
from genseg_betty.config.plain import DEEPEST, LARGEST
from genseg_betty.config.wording import show
from genseg_betty.errors import ConfigError, UserError

PLAIN = "a number, text, a path, True, False, None, or lists and dictionaries of them"
SHORT = {"root": "dataset.root"}


def override_lines(overrides: Any, keys: Mapping[str, Any], groups: Collection[str]) -> list[str]:
    """The lines that `overrides` (lines, or a mapping of keys) and then `keys` say.

    A mapping for a group, `{"trainer": {"iterations": 5}}`, stands for its keys; `root` is short for dataset.root.
    NumPy's numbers are numbers. Raises UserError with every value that no config can hold.
    """
    lines: list[Any] = []
    given = dict(keys)
    if isinstance(overrides, Mapping):
        given = {**overrides, **keys}
    elif isinstance(overrides, Sequence) and not isinstance(overrides, str | bytes):
        lines = list(overrides)
    else:
        found = _show_object(overrides)
        raise UserError(f"overrides are {found}; expected a list of text such as ['seed=1'], or a dictionary")
    problems = []
    for line in lines:
        if not isinstance(line, str):
            problems.append(f"{_show_object(line)}: expected text such as 'seed=1'")
    for key, value in _flatten_groups(given, groups):
        try:
            written = _write_value(value)
        except ValueError as error:
            problems.append(f"{key}={error}: expected {PLAIN}")
        else:
            lines.append(f"{key}={written}")
    if problems:
        raise ConfigError(problems)
    return lines


def _flatten_groups(values: Mapping[Any, Any], groups: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values; a mapping for a group stands for its keys."""
    for key, value in values.items():
        name = SHORT.get(key, key) if isinstance(key, str) else show(key)
        if name in groups and isinstance(value, Mapping):
            for inner, item in value.items():
                yield f"{name}.{inner}", item
        else:
            yield name, value


def _write_value(value: Any, deepest: int = DEEPEST) -> str:
    """The value in the grammar of the command line. Raises ValueError, which shows what has no place there."""
    value = _to_python(value)
    if value is None or isinstance(value, bool | float):
        return show(value)
    if isinstance(value, int) and abs(value) <= LARGEST:
        return str(value)
    if isinstance(value, str):
        return quote_text(value)
    if isinstance(value, list | tuple | Mapping) and not deepest:
        raise ValueError("lists within lists, too many of them")
    if isinstance(value, Mapping):
        return _write_mapping(value, deepest - 1)
    if isinstance(value, list | tuple):
        items = ", ".join(_write_value(item, deepest - 1) for item in value)
        return f"[{items}]"
    raise ValueError(_show_object(value))


def _write_mapping(values: Mapping[Any, Any], deepest: int) -> str:
    """A mapping in the grammar of the command line; of keys that are written alike the last one counts."""
    items = {}
    for key, item in values.items():
        items[show(key)] = _write_value(item, deepest)
    pairs = ", ".join(f"{key}: {item}" for key, item in items.items())
    return f"{{{pairs}}}"


def _to_python(value: Any) -> Any:
    """Paths as text, and single numbers of NumPy and the like as Python's own."""
    if isinstance(value, os.PathLike):
        return str(Path(value))
    is_single = getattr(value, "shape", None) == ()
    return value.item() if is_single else value


def _show_object(value: Any) -> str:
    kind = type(value).__name__
    return f"{show(repr(value))} ({kind})"
