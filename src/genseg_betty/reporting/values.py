"""Values out of the files of a Run, which may hold anything."""

import json
from collections.abc import Sequence
from typing import Any

NONE = "–"
"""What a report shows for a value that is missing."""
LARGEST = 1e15
"""Of what a Run counts or measures: bytes, seconds, scores."""


def as_mapping(value: Any) -> dict[str, Any]:
    """`value` if it is a mapping, else {}."""
    return value if isinstance(value, dict) else {}


def as_number(value: Any) -> float | None:
    """`value` as a float within ±LARGEST, else None."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if abs(found) <= LARGEST else None


def flatten_tree(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value; a list is one value, as JSON text."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flatten_tree(value, f"{dotted}.")
        elif isinstance(value, list):
            flat[dotted] = json.dumps(value)
        else:
            flat[dotted] = value
    return flat


def drop_keys(tree: dict[str, Any], keys: Sequence[str], prefix: str = "") -> dict[str, Any]:
    """The tree without these dotted keys."""
    kept: dict[str, Any] = {}
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if dotted in keys:
            continue
        if isinstance(value, dict):
            value = drop_keys(value, keys, f"{dotted}.")
        kept[key] = value
    return kept
