"""The YAML of a Run, which may come from a stranger: plain values written out, and nothing that could run or grow."""

import re
from pathlib import Path
from typing import Any

import yaml

from genseg_betty.files import bounded_read

MAX_BYTES = 2**20
MAX_DEPTH = 32  # lists and mappings within each other
MAX_VALUES = 20_000  # keys among them; OmegaConf takes a kilobyte for each, and some milliseconds for a hundred
LONG_NUMBER = re.compile(r"[-+]?[0-9.][\w.:+-]{100,}", re.ASCII)  # takes minutes to make, or can never be printed
OPENING = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
CLOSING = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def read_plain_yaml(file: Path) -> str:
    """The text of a YAML file in which each value stands for itself.

    Raises ValueError for what no Run writes: references, with which a few lines fill all memory or read the
    environment; tags, which make objects; values left open (???); more than MAX_BYTES or MAX_VALUES; deep nesting.
    Raises OSError and YAMLError.
    """
    text = bounded_read(file, MAX_BYTES).decode("utf-8")
    depth = values = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        opens = isinstance(event, OPENING)
        closes = isinstance(event, CLOSING)
        values += opens or isinstance(event, yaml.ScalarEvent)
        if values > MAX_VALUES:
            raise ValueError(f"it holds more than {MAX_VALUES:,} keys and values, as no Run does")
        depth += opens - closes
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
    if LONG_NUMBER.fullmatch(value):
        raise ValueError(f"it holds a number of {len(value):,} characters, which no Run writes")
    if value == "???":
        raise ValueError("it leaves a value open (???), which no Run does")
