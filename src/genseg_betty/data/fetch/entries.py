"""The entries of a dataset YAML's `about.fetch`, and their faults."""

import posixpath
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from genseg_betty.errors import ConfigError

DIGITS = {"sha256": 64, "md5": 32}
URL = re.compile(r"https?://[\w.-]+(:\d+)?/[\x21-\x7e]+", re.ASCII)
FILE_NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")
KINDS = ("zip", "tar", "none")  # of packing


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
        url = str(keys.get("url", ""))
        keys.setdefault("file", _take_last_part(url))
        faults = _find_faults(keys)
        problems += [f"about.fetch, entry {number}: {fault}" for fault in faults]
        if not faults:
            sums = {kind: keys[kind].lower() for kind in DIGITS if kind in keys}
            entries.append(Entry(**{**keys, **sums}))

    # Two files of one name would take each other's place.
    counts = Counter(entry.file for entry in entries)
    repeated = [file for file, count in counts.items() if count > 1]
    for file in sorted(repeated):
        problems.append(f"about.fetch: two entries are called {file}; give one of them `file: another name`")
    if problems:
        raise ConfigError(problems, f"in the YAML of dataset {name}")
    return entries


def _take_last_part(url: str) -> str:
    """What the file at an address is called there."""
    path = re.split("[?#]", url)[0]
    return unquote(path.rpartition("/")[2])


def _find_faults(keys: Mapping[str, Any]) -> list[str]:
    """What is wrong with the keys of one entry, which has a `file` at least."""
    known = set(Entry.__dataclass_fields__)
    names = ", ".join(sorted(known))
    faults = [f"unknown key {key}; known are {names}" for key in keys if key not in known]
    url = str(keys.get("url", ""))
    file = str(keys["file"])
    if not URL.fullmatch(url):
        faults.append(f"url is {url!r}; expected https://HOST/PATH or http://HOST/PATH, without spaces")
    elif not FILE_NAME.fullmatch(file):
        faults.append(f"{file!r} can be no file name; give `file: name.zip`")
    for kind, digits in DIGITS.items():
        checksum = keys.get(kind, "0" * digits)
        if not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", str(checksum)):
            faults.append(f"{kind} is {checksum!r}; expected {digits} hexadecimal digits")
    size = keys.get("size", 0)
    if not isinstance(size, int) or size < 0:
        faults.append(f"size is {size!r}; expected a number of bytes")
    packing = keys.get("unpack", "none")
    if packing not in KINDS:
        faults.append(f"unpack is {packing!r}; expected zip, tar or none (for .rar and .7z as well)")
    into = str(keys.get("into", "."))
    plain = posixpath.normpath(into.replace("\\", "/"))
    if plain.startswith(("/", "..")):
        faults.append(f"into is {into!r}; expected a folder below the dataset's root")
    return faults
