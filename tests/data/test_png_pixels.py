"""PNG files of 16 bits: values against a writer of our own, and damage of every kind told, never a crash.

libpng ends the process where its decoder finds an error, so a test that fails may end the whole session.
"""

import random
import struct
import zlib

import numpy as np
import pytest

from genseg_betty.data.formats import ImageError, read_image
from genseg_betty.data.formats.png_pixels import ADAM7, SAMPLES, START, decode_deep_png

PLAIN = ((0, 0, 1, 1),)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rows_of(values: np.ndarray, interlaced: bool) -> bytes:
    """The pixels as a PNG holds them before they are packed, no row filtered."""
    rows = b""
    for first_column, first_row, column_step, row_step in ADAM7 if interlaced else PLAIN:
        for row in values[first_row::row_step, first_column::column_step]:
            rows += b"\0" + row.astype(">u2").tobytes() if row.size else b""
    return rows


def png(values: np.ndarray, colour: int, interlaced: bool = False, packed: bytes | None = None) -> bytes:
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, interlaced)
    packed = zlib.compress(rows_of(values, interlaced)) if packed is None else packed
    return START + chunk(b"IHDR", header) + chunk(b"gAMA", b"\0\0\0\1") + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def draw(height: int, width: int, samples: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (height, width, samples)).astype(np.uint16)


@pytest.mark.parametrize("colour", [2, 4, 6])
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (33, 20), (2, 9)])
def test_values_are_those_stored(colour: int, interlaced: bool, size: tuple[int, int]) -> None:
    values = draw(*size, SAMPLES[colour])
    np.testing.assert_array_equal(decode_deep_png(png(values, colour, interlaced)), values)


def test_pixels_in_many_chunks() -> None:
    values = draw(9, 9, 4)
    whole = png(values, 6)
    packed = zlib.compress(rows_of(values, False))
    parts = b"".join(chunk(b"IDAT", packed[place : place + 7]) for place in range(0, len(packed), 7))
    content = whole.replace(chunk(b"IDAT", packed), parts)
    assert content != whole
    np.testing.assert_array_equal(decode_deep_png(content), values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(draw(4, 4, 2), 4)[:-20], "ends within a chunk"),
        (png(draw(4, 4, 2), 4).replace(b"\0\0\0\4\0\0\0\4", b"\0\0\0\4\0\0\0\5"), "checksum of its chunk IHDR"),
        (png(draw(4, 4, 2), 6), "no 132 bytes"),
        (png(draw(4, 4, 4), 4), "no 68 bytes"),
        (png(draw(4, 4, 2), 4, packed=b"no deflate"), "incorrect header check"),
        (png(draw(2, 1, 2), 4, packed=zlib.compress(b"\5" + bytes(9))), "a filter that PNG does not have"),
        (png(draw(4, 4, 2), 3), "16 bits of colour type 3"),
        (png(np.zeros((1, 1_000_001, 2), np.uint16), 4), "sides are 1000001 and 1"),
        (START + chunk(b"IEND", b""), "no header"),
    ],
)
def test_damage_is_told(content: bytes, message: str, tmp_path) -> None:
    with pytest.raises((ValueError, zlib.error), match=message):
        decode_deep_png(content)
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(ImageError):
        read_image(path)


def test_no_damage_ends_the_process() -> None:
    """Bits, lengths and filters changed at random, the checksums right: read, or refused by an exception."""
    values = draw(20, 20, 4)
    rows = rows_of(values, True)
    packed = zlib.compress(rows)
    source = random.Random(0)
    outcomes = set()
    for turn in range(2000):
        changed = bytearray(rows if turn % 3 == 0 else packed)
        for _ in range(source.randrange(1, 4)):
            changed[source.randrange(len(changed))] = source.randrange(256)
        if turn % 3 == 1:
            changed = changed[: source.randrange(len(changed))]
        content = png(values, 6, True, zlib.compress(bytes(changed)) if turn % 3 == 0 else bytes(changed))
        try:
            assert decode_deep_png(content).shape == values.shape
            outcomes.add("read")
        except (ValueError, zlib.error):
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
