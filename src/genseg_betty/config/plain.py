"""What every value of a config is, whatever its kind: finite numbers, plain text, lists not nested without end."""

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

LARGEST = 2**63 - 1  # of integers, as NumPy, PyTorch and JSON readers take them
DEEPEST = 16  # lists and mappings within each other
LONGEST = 100_000  # characters of a text
UNSET = "???"  # OmegaConf's sign for a value that is still to be given
INTERPOLATION = "${"
UNREADABLE = ("Cc", "Cs")  # control characters, and surrogates: bytes that are no UTF-8


def require_shallow(value: Any, deepest: int = DEEPEST) -> None:
    """Raise ValueError where lists and mappings are nested too deeply."""
    if isinstance(value, list | tuple | Mapping) and not deepest:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    for item in _list_items(value):
        require_shallow(item, deepest - 1)


def require_plain(value: Any) -> None:
    """Raise ValueError unless `value` is finite numbers, plain text, true, false and null, and lists and mappings."""
    if isinstance(value, list | tuple | Mapping):
        require_shallow(value)
        for item in _list_items(value):
            require_plain(item)
    elif isinstance(value, str):
        require_plain_text(value, allowed="\n\t")
    elif isinstance(value, int | float):
        require_finite(value)
    elif value is not None:
        raise ValueError(f"it holds a value of the type {type(value).__name__}, which is not plain")


def _list_items(value: Any) -> list[Any]:
    """The items of a list, or the keys and values of a mapping; none of anything else."""
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        return list(value)
    return []


def require_plain_text(value: str, allowed: str = "") -> None:
    """Raise ValueError for control characters but those `allowed`, and for what would not be read back as it is."""
    if len(value) > LONGEST:
        raise ValueError(f"it has {len(value)} characters, and {LONGEST} are the most")
    if value == UNSET:
        raise ValueError(f"{UNSET} stands for a value that is still to be given")
    if INTERPOLATION in value:
        raise ValueError(f"it holds {INTERPOLATION}, which would be taken for the name of another key")
    for letter in value:
        category = unicodedata.category(letter)
        if category in UNREADABLE and letter not in allowed:
            what = "a byte that is no UTF-8 text" if category == "Cs" else "the control character"
            code = letter.encode("unicode_escape").decode()
            raise ValueError(f"it holds {what} ({code})")


def require_finite(value: int | float) -> None:
    """Raise ValueError for infinities, NaN, and integers that do not fit into 64 bits."""
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        raise ValueError("it does not fit into 64 bits")
    if not math.isfinite(value):
        raise ValueError("it is not finite")
