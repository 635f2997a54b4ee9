"""Keys and values of a Python program as overrides of the command line: `{"seed": 1}` -> `seed=1`."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genseg_betty.config.overrides import quoted
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
    if isinstance(overrides, Mapping):
        lines, given = [], {**overrides, **keys}
    elif isinstance(overrides, Sequence) and not isinstance(overrides, str | bytes):
        lines, given = list(overrides), dict(keys)
    else:
        raise UserError(
            f"overrides are {_shown(overrides)}; expected a list of text such as ['seed=1'], or a dictionary"
        )
    problems = [f"{_shown(line)}: expected text such as 'seed=1'" for line in lines if not isinstance(line, str)]
    for key, value in _flat(given, groups):
        try:
            lines.append(f"{key}={_typed(value)}")
        except ValueError as error:
            problems.append(f"{key}={error}: expected {PLAIN}")
    if problems:
        raise ConfigError(problems)
    return lines


def _flat(values: Mapping[Any, Any], groups: Collection[str]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = SHORT.get(key, key) if isinstance(key, str) else show(key)
        if name in groups and isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", item) for inner, item in value.items())
        else:
            yield name, value


def _typed(value: Any, deepest: int = DEEPEST) -> str:
    """The value in the grammar of the command line. Raises ValueError, which shows what has no place there."""
    value = _plain(value)
    if value is None or isinstance(value, bool | float):
        return show(value)
    if isinstance(value, int) and abs(value) <= LARGEST:
        return str(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list | tuple | Mapping) and not deepest:
        raise ValueError("lists within lists, too many of them")
    if isinstance(value, Mapping):
        items = {show(key): _typed(item, deepest - 1) for key, item in value.items()}
        pairs = ", ".join(f"{key}: {item}" for key, item in items.items())
        return f"{{{pairs}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_typed(item, deepest - 1) for item in value)}]"
    raise ValueError(_shown(value))


def _plain(value: Any) -> Any:
    """Paths as text, and single numbers of NumPy and the like as Python's own."""
    if isinstance(value, os.PathLike):
        return str(Path(value))
    return value.item() if getattr(value, "shape", None) == () else value


def _shown(value: Any) -> str:
    return f"{show(repr(value))} ({type(value).__name__})"
