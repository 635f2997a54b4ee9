"""The YAML of a Run, which may come from a stranger: plain values written out, and nothing that could run or grow."""

from pathlib import Path
from typing import Any

import yaml

from genseg_betty.files import bounded_read

MAX_BYTES = 2**20
MAX_DEPTH = 32  # lists and mappings within each other
OPENING = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
CLOSING = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def read_plain_yaml(file: Path) -> str:
    """The text of a YAML file in which each value stands for itself.

    Raises ValueError for what no Run writes: references, with which a few lines fill all memory or read the
    environment; tags, which make objects; values left open (???); more than MAX_BYTES; deep nesting. Raises OSError and
    YAMLError.
    """
    text = bounded_read(file, MAX_BYTES).decode("utf-8")
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, OPENING) - isinstance(event, CLOSING)
        if depth > MAX_DEPTH:
            raise ValueError(f"its lists and mappings lie more than {MAX_DEPTH} deep in each other, as in no Run")
        _require_plain(event)
    return text


def _require_plain(event: Any) -> None:
    value = getattr(event, "value", "")
    if isinstance(event, yaml.AliasEvent) or "${" in value:
        raise ValueError("it refers to other values (${…} or *…), which no Run writes")
    if getattr(event, "tag", None):
        raise ValueError(f"it holds the tag {event.tag}, which may make an object; no Run writes any")
    if value == "???":
        raise ValueError("it leaves a value open (???), which no Run does")
