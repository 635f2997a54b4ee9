"""PNG files of 16 bits in colour or with alpha, by torchvision: Pillow has no mode for them and keeps 8 bits.

Of what a PNG states of its colours (gAMA, sBIT, tRNS) nothing is applied: the values are those that it stores.
Format: https://www.w3.org/TR/png-3
"""

import struct
from pathlib import Path

import numpy as np

from genseg_betty.data.formats.common import bounded

START = b"\x89PNG\r\n\x1a\n"
HEAD = len(START) + 8 + 13  # bytes until the end of the chunk IHDR
SAMPLES = {2: 3, 4: 2, 6: 4}  # of a pixel, by colour type: RGB, gray and alpha, RGB and alpha


def is_deep(path: Path) -> bool:
    """Whether the file is such a PNG. Raises OSError."""
    return _shape(path) is not None


def read(path: Path) -> np.ndarray:
    """[H, W, C] uint16, C 2 to 4, alpha last. Raises what torchvision raises for a damaged file."""
    import torch
    from torchvision.io import ImageReadMode, decode_png

    shape = _shape(path)
    assert shape is not None
    bounded(shape, 2)
    content = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    return decode_png(content, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()


def _shape(path: Path) -> tuple[int, int, int] | None:
    with path.open("rb") as file:
        head = file.read(HEAD)
    if len(head) < HEAD or not head.startswith(START):
        return None
    width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
    return (height, width, SAMPLES[colour]) if bits == 16 and colour in SAMPLES else None
