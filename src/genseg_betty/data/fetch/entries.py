"""The entries of a dataset YAML's `about.fetch`, and their faults."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from genseg_betty.errors import ConfigError

DIGITS = {"sha256": 64, "md5": 32}


@dataclass(frozen=True)
class Entry:
    """One file of `about.fetch`: where it is, what it must be, and where it goes."""

    url: str
    file: str  # its name here; the last part of the address unless given
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None  # bytes
    unpack: str = "none"  # zip | tar | none
    into: str = "."  # folder below the root


def read_entries(name: str, fetch: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """The entries of a dataset's `about.fetch`. Raises UserError with every fault of theirs."""
    entries = []
    problems = []
    for number, item in enumerate(fetch, start=1):
        keys = {key: value for key, value in item.items() if value is not None}
        keys.setdefault("file", _last_part(str(keys.get("url", ""))))
        faults = _faults(keys)
        problems += [f"about.fetch, entry {number}: {fault}" for fault in faults]
        if not faults:
            sums = {kind: keys[kind].lower() for kind in DIGITS if kind in keys}
            entries.append(Entry(**{**keys, **sums}))
    names = [entry.file for entry in entries]
    for repeated in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"about.fetch: two entries are called {repeated}; give one of them `file: another name`")
    if problems:
        raise ConfigError(problems, f"in the YAML of dataset {name}")
    return entries


def _last_part(url: str) -> str:
    """What the file at an address is called there."""
    path = re.split("[?#]", url)[0]
    return unquote(path.rpartition("/")[2])


def _faults(keys: Mapping[str, Any]) -> list[str]:
    known = set(Entry.__dataclass_fields__)
    faults = [f"unknown key {key}; known are {', '.join(sorted(known))}" for key in keys if key not in known]
    url = str(keys.get("url", ""))
    file = str(keys["file"])
    into = str(keys.get("into", "."))
    if not re.fullmatch(r"https?://[\w.-]+(:\d+)?/[\x21-\x7e]+", url, re.ASCII):
        faults.append(f"url is {url!r}; expected https://HOST/PATH or http://HOST/PATH, without spaces")
    elif not re.fullmatch(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*", file):
        faults.append(f"{file!r} can be no file name; give `file: name.zip`")
    for kind, digits in DIGITS.items():
        if not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", str(keys.get(kind, "0" * digits))):
            faults.append(f"{kind} is {keys[kind]!r}; expected {digits} hexadecimal digits")
    if not isinstance(keys.get("size", 0), int) or keys.get("size", 0) < 0:
        faults.append(f"size is {keys['size']!r}; expected a number of bytes")
    if keys.get("unpack", "none") not in ("zip", "tar", "none"):
        faults.append(f"unpack is {keys['unpack']!r}; expected zip, tar or none (for .rar and .7z as well)")
    if posixpath.normpath(into.replace("\\", "/")).startswith(("/", "..")):
        faults.append(f"into is {into!r}; expected a folder below the dataset's root")
    return faults
