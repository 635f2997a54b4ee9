"""Numbers from the bytes of a file that stores them one after the other: MetaImage and NRRD do.

Their header stands before the values, or in a file of its own and names the file of the values.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genseg_betty.data.formats.common import ImageError


def find_source(header: Path, data_name: str | None) -> Path:
    """The file of the values: the one beside the header that it names, or the header's own where it names none."""
    return header if data_name is None else header.parent / data_name


def count_bytes(shape: Sequence[int], dtype: np.dtype) -> int:
    """How many bytes the values of an array take as stored."""
    return math.prod(shape) * dtype.itemsize


def decode_values(content: bytes | bytearray, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """An array of this shape in the machine's byte order. Raises ImageError where bytes are missing."""
    expected = count_bytes(shape, dtype)
    if len(content) < expected:
        message = f"holds {len(content)} bytes of values; expected {expected}, it is cut off"
        raise ImageError("unreadable", message)
    values = np.frombuffer(content, dtype)
    native = dtype.newbyteorder("=")
    return values.astype(native, copy=False).reshape(shape)
