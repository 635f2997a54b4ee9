"""NRRD (.nrrd, or .nhdr beside its data).

Axes are returned slowest first; an axis that is not of space (colour) comes last. pynrrd's reader of values is not
called: it unpacks whatever there is, and follows a header to any file.
"""

import bz2
import gzip
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from genseg_betty.data.formats.byte_values import count_bytes, decode_values, find_source
from genseg_betty.data.formats.common import Header, ImageError, describe_damage
from genseg_betty.data.formats.nrrd_header import EXPECTED, HEADER_BYTES, find_field, read_head

EXTENSIONS = (".nrrd", ".nhdr")
MAX_SKIP = 2**26  # bytes or lines before the values
GZIP = ("gzip", "gz")
BZIP2 = ("bzip2", "bz2")
FROM_END = -1  # a byte skip: the values are the last of the file


def read_header(path: Path) -> Header:
    """Shape, spacing in mm and place, from the header alone."""
    return read_head(path).header


def read_values(path: Path) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] as stored."""
    head = read_head(path)
    length = count_bytes(head.sizes, head.dtype)
    source = find_source(path, head.data_name)
    try:
        with source.open("rb") as file:
            if source == path:
                file.seek(head.start)
            content = _read_content(file, head.fields, length)
    except ImageError:
        raise
    except Exception as error:  # a damaged file fails in gzip, zlib, bz2 or at its end
        raise describe_damage(path, error, EXPECTED) from error

    # Channels may be any of the stored axes; axes of length 1 are dropped.
    values = decode_values(content, head.sizes[::-1], head.dtype)
    shape = head.header.shape
    if head.colour is None:
        return values.reshape((*shape, 1))
    slowest_first = len(head.sizes) - 1 - head.colour
    values = np.moveaxis(values, slowest_first, -1)
    channels = values.shape[-1]
    return values.reshape((*shape, channels))


def _read_content(file: IO[bytes], fields: Mapping[str, Any], length: int) -> bytes:
    """The first `length` bytes of the values. Raises ImageError, and what gzip and bz2 raise."""
    lines = find_field(fields, "line skip", "lineskip") or 0
    skipped = find_field(fields, "byte skip", "byteskip") or 0
    packing = fields.get("encoding", "").lower()
    _require_short_skips(lines, skipped)
    _skip_lines(file, lines)
    if packing == "raw":
        return _read_unpacked(file, skipped, length)
    if packing not in GZIP + BZIP2 or skipped < 0:
        found = packing or "it does not say what"
        message = f"keeps its values as {found}; expected raw, gzip or bzip2, save it anew"
        raise ImageError("unreadable", message)
    with _open_packed(file, packing) as unpacked:
        unpacked.seek(skipped)
        return unpacked.read(length)


def _require_short_skips(lines: int, skipped: int) -> None:
    """Raise ImageError for a header that asks to pass over more than any program writes."""
    if 0 <= lines <= MAX_SKIP and FROM_END <= skipped <= MAX_SKIP:
        return
    message = f"skips {lines} lines and {skipped} bytes; expected 0 to {MAX_SKIP} of each"
    raise ImageError("unsafe", message)


def _skip_lines(file: IO[bytes], count: int) -> None:
    for _ in range(count):
        if not file.readline(HEADER_BYTES):
            break


def _read_unpacked(file: IO[bytes], skipped: int, length: int) -> bytes:
    if skipped == FROM_END:
        file.seek(-length, os.SEEK_END)
    else:
        file.seek(skipped, os.SEEK_CUR)
    return file.read(length)


def _open_packed(file: IO[bytes], packing: str) -> gzip.GzipFile | bz2.BZ2File:
    return gzip.GzipFile(fileobj=file) if packing in GZIP else bz2.BZ2File(file)
