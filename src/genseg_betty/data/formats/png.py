"""What the header of a PNG says of its values, and those of 16 bits that Pillow would cut to 8.

Colours of 16 bits, and gray with alpha, are read by torchvision: Pillow has no mode for them. Of what a PNG states of
its colours (gAMA, sBIT, tRNS) nothing is applied: the values are those that it stores.
Format: https://www.w3.org/TR/png-3
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genseg_betty.data.formats.common import ImageError, bounded
from genseg_betty.data.formats.png_pixels import SAMPLES, START, decode_deep_png

HEAD = len(START) + 8 + 13  # bytes until the end of the chunk IHDR
GRAY = 0  # the colour type of gray without alpha
CHUNK_HEAD = 8  # bytes before the data of a chunk
CHECKSUM = 4  # bytes behind them
# What a chunk begins with that can say how the picture is to be turned.
ORIENTATIONS = (
    b"eXIf",
    b"iTXtXML:com.adobe.xmp\0",
    b"tEXtRaw profile type exif\0",
    b"zTXtRaw profile type exif\0",
)
LONGEST_START = max(len(start) for start in ORIENTATIONS)
MAX_CHUNKS = 2**20  # a file that is as long as we read has 2**17 of libpng's


@dataclass(frozen=True)
class PngHeader:
    """Height, width and samples of a pixel; bits of a sample; whether it is gray without alpha."""

    shape: tuple[int, int, int]
    bits: int
    gray: bool

    @property
    def deep(self) -> bool:
        """Whether Pillow would keep 8 of its 16 bits."""
        return self.bits == 16 and not self.gray


def read_png_header(path: Path) -> PngHeader | None:
    """None for a file that is no PNG. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if len(head) < HEAD or not head.startswith(START):
        return None
    width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
    samples = SAMPLES.get(colour, 1)  # a palette's index is one
    return PngHeader((height, width, samples), bits, colour == GRAY)


def read_deep_png(path: Path, header: PngHeader) -> np.ndarray:
    """[H, W, C] uint16, C 2 to 4, alpha last. Raises ImageError for too large a picture; as `decode_deep_png`."""
    bounded(header.shape, 2)
    return decode_deep_png(path.read_bytes())


def is_turned_late(path: Path) -> bool:
    """Whether a PNG may state its orientation behind its pixels; False for other files. Raises OSError, ImageError."""
    with path.open("rb") as file:
        if file.read(len(START)) != START:
            return False
        after_pixels = False
        for _ in range(MAX_CHUNKS):
            start = file.read(CHUNK_HEAD + LONGEST_START)
            kind = start[4:CHUNK_HEAD]
            if len(start) < CHUNK_HEAD or kind == b"IEND":
                return False
            if after_pixels and start[4:].startswith(ORIENTATIONS):
                return True
            after_pixels = after_pixels or kind == b"IDAT"
            length = int.from_bytes(start[:4], "big")
            following = CHUNK_HEAD + length + CHECKSUM
            file.seek(following - len(start), os.SEEK_CUR)
    message = f"holds more than {MAX_CHUNKS} chunks; expected a PNG as programs write it, save it anew"
    raise ImageError("unsafe", message)
