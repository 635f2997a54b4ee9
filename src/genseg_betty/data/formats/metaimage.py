"""MetaImage (.mha, .mhd with its .raw or .zraw), by NumPy.

A header names the file that holds its values. Only a name beside the header is followed: another path would be
read as an image whatever lies there.
"""

import os
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from genseg_betty.data.formats.byte_values import count_bytes, decode_values, find_source
from genseg_betty.data.formats.common import Header, describe_damage
from genseg_betty.data.formats.metaimage_header import (
    EXPECTED,
    MetaImageHead,
    describe_header,
    find_type,
    is_true,
    read_head,
)

EXTENSIONS = (".mha", ".mhd")
BLOCK = 2**20  # bytes of a compressed file that are unpacked at a time
ZLIB_OR_GZIP = 47  # wbits of zlib: the largest window, the header recognised


def read_header(path: Path) -> Header:
    """Shape, spacing in mm and place, from the header alone."""
    return describe_header(path, read_head(path))


def read_values(path: Path) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] as stored."""
    head = read_head(path)
    header = describe_header(path, head)
    shape = (*header.shape, head.channels)
    dtype = find_type(head)
    length = count_bytes(shape, dtype)
    try:
        content = _read_content(path, head, length)
    except (OSError, ValueError, zlib.error) as error:
        raise describe_damage(path, error, EXPECTED) from error
    return decode_values(content, shape, dtype)


def _read_content(path: Path, head: MetaImageHead, length: int) -> bytes | bytearray:
    """The bytes of the values; fewer where the file is cut off. Raises OSError, ValueError and zlib.error."""
    source = find_source(path, head.data_name)
    skipped = int(head.keys.get("HeaderSize", 0))
    with source.open("rb") as file:
        if skipped < 0:  # the values are at the end
            file.seek(-length, os.SEEK_END)
        elif source == path:
            file.seek(head.end)
        else:
            file.seek(skipped)
        if is_true(head.keys, "CompressedData"):
            return _unpack_bytes(file, length)
        return file.read(length)


def _unpack_bytes(file: IO[bytes], length: int) -> bytearray:
    """The first `length` bytes of a zlib or gzip stream."""
    unpacker = zlib.decompressobj(wbits=ZLIB_OR_GZIP)
    content = bytearray()
    while len(content) < length and not unpacker.eof:
        block = unpacker.unconsumed_tail or file.read(BLOCK)
        if not block:
            break
        missing = length - len(content)
        content += unpacker.decompress(block, missing)
    return content
