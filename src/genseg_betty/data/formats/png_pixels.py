"""The pixels of a PNG of 16 bits, read by torchvision from a copy that cannot be damaged.

libpng ends the process where it finds an error in a file that it decodes for torchvision. So all that it would check is
checked here first, and it gets the header and the pixels alone: none of the other chunks is applied to the values.
Format: https://www.w3.org/TR/png-3
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

START = b"\x89PNG\r\n\x1a\n"
LONGEST_SIDE = 1_000_000  # pixels that libpng takes along one side
HIGHEST_FILTER = 4
# Interlaced pixels come in seven passes: the first column and row of each, and the steps between them.
ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
# Samples of a pixel by colour type, of the types that have 16 bits: gray, RGB, and each with alpha.
SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}


class Layout(NamedTuple):
    """The fields of the chunk IHDR, in their order."""

    width: int
    height: int
    bits: int
    colour: int
    compression: int
    filtering: int
    interlacing: int

    def find_passes(self) -> list[tuple[int, int]]:
        """Rows, and bytes of a row with its filter, for each pass over the picture that has pixels."""
        steps = ADAM7 if self.interlacing else ((0, 0, 1, 1),)
        pixel_bytes = SAMPLES[self.colour] * self.bits // 8
        passes = []
        for first_column, first_row, column_step, row_step in steps:
            columns = len(range(first_column, self.width, column_step))
            rows = len(range(first_row, self.height, row_step))
            if columns and rows:
                passes.append((rows, 1 + columns * pixel_bytes))
        return passes


def decode_deep_png(content: bytes) -> np.ndarray:
    """[H, W, C] uint16, C 1 to 4, alpha last. Raises ValueError or zlib.error for a damaged file.

    The size that the header states is not limited here.
    """
    import torch
    from torchvision.io import ImageReadMode, decode_png

    sound = _keep_sound_chunks(content)
    stored = torch.frombuffer(bytearray(sound), dtype=torch.uint8)
    pixels = decode_png(stored, ImageReadMode.UNCHANGED)
    return pixels.permute(1, 2, 0).numpy()


def _keep_sound_chunks(content: bytes) -> bytes:
    """A PNG of the header and the pixels of this one. Raises ValueError or zlib.error where they are damaged."""
    header = b""
    parts = []
    for kind, data in _list_chunks(content):
        if kind == b"IHDR":
            header = data
        elif kind == b"IDAT":
            parts.append(data)
        elif kind == b"IEND":
            break
    if len(header) != 13:
        raise ValueError("it has no header of 13 bytes")
    packed = b"".join(parts)
    layout = Layout(*struct.unpack(">IIBBBBB", header))
    _require_known_layout(layout)
    _require_sound_pixels(packed, layout.find_passes())
    chunks = [_write_chunk(b"IHDR", header), _write_chunk(b"IDAT", packed), _write_chunk(b"IEND", b"")]
    return START + b"".join(chunks)


def _list_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and data of each chunk. Raises ValueError for one that is cut short or has another checksum."""
    place = len(START)
    while place < len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        kind = content[place + 4 : place + 8]
        data = content[place + 8 : place + 8 + length]
        checksum = content[place + 8 + length : place + 12 + length]
        if len(checksum) < 4:
            raise ValueError("it ends within a chunk")
        if int.from_bytes(checksum, "big") != zlib.crc32(kind + data):
            raise ValueError(f"the checksum of its chunk {kind.decode('ascii', 'replace')} is wrong")
        yield kind, data
        place += 12 + length


def _require_known_layout(layout: Layout) -> None:
    """Raise ValueError for a header that the standard does not know, or a side that is too long for libpng."""
    if layout.bits != 16 or layout.colour not in SAMPLES:
        raise ValueError(f"its header states {layout.bits} bits of colour type {layout.colour}")
    if layout.compression or layout.filtering or layout.interlacing not in (0, 1):
        raise ValueError("its header states a compression, a filtering or an interlacing that PNG does not have")
    if not 1 <= min(layout.width, layout.height) <= max(layout.width, layout.height) <= LONGEST_SIDE:
        raise ValueError(f"its sides are {layout.width} and {layout.height} pixels long")


def _require_sound_pixels(packed: bytes, passes: list[tuple[int, int]]) -> None:
    """Raise ValueError or zlib.error unless the pixels unpack to rows of known filters, as many as the header says."""
    expected = sum(rows * row_bytes for rows, row_bytes in passes)
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(packed, expected + 1)
    if len(unpacked) != expected or not unpacker.eof:
        raise ValueError(f"its pixels are no {expected} bytes, as its header says")
    values = np.frombuffer(unpacked, np.uint8)
    place = 0
    for rows, row_bytes in passes:
        table = values[place : place + rows * row_bytes].reshape(rows, row_bytes)
        if table[:, 0].max() > HIGHEST_FILTER:
            raise ValueError("a row of its pixels has a filter that PNG does not have")
        place += rows * row_bytes


def _write_chunk(kind: bytes, data: bytes) -> bytes:
    length = len(data).to_bytes(4, "big")
    checksum = zlib.crc32(kind + data).to_bytes(4, "big")
    return length + kind + data + checksum
