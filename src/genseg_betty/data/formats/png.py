"""What the header of a PNG says of its values, and those of 16 bits that Pillow would cut to 8.

Colours of 16 bits, and gray with alpha, are read by torchvision: Pillow has no mode for them. Of what a PNG states of
its colours (gAMA, sBIT, tRNS) nothing is applied: the values are those that it stores.
Format: https://www.w3.org/TR/png-3
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genseg_betty.data.formats.common import bounded

START = b"\x89PNG\r\n\x1a\n"
HEAD = len(START) + 8 + 13  # bytes until the end of the chunk IHDR
GRAY = 0
SAMPLES = {GRAY: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by colour type: gray, RGB, palette, gray + alpha, RGB + alpha


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
    return PngHeader((height, width, SAMPLES.get(colour, 1)), bits, colour == GRAY)


def read_deep_png(path: Path, header: PngHeader) -> np.ndarray:
    """[H, W, C] uint16, C 2 to 4, alpha last. Raises what torchvision raises for a damaged file."""
    import torch
    from torchvision.io import ImageReadMode, decode_png

    bounded(header.shape, 2)
    content = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    return decode_png(content, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
