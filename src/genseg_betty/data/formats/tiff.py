"""TIFF files: their tags are checked before a value is read.

Pillow reads pictures of 8 bits, and gray ones of more; of others it keeps the upper 8 bits, mixes their planes or
drops their signs. tifffile reads those. The tags of a file decide which of the two reads it.
"""

import itertools
import logging
import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import Header, ImageError, bounded
from genseg_betty.data.formats.orientation import upright
from genseg_betty.data.formats.tiff_faults import require_readable
from genseg_betty.data.formats.tiff_readers import is_for_tifffile
from genseg_betty.data.formats.tiff_stacks import require_alike, require_one_stack
from genseg_betty.data.formats.tiff_tags import (
    SEPARATE,
    UNCOMPRESSED,
    UNSIGNED,
    WHITE_IS_ZERO,
    orientation_of,
    shows_a_slice,
)

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

MAX_PAGES = 4096  # Pillow takes longer for each page the more there are
SIGNED_BITS = 16  # at least, of intensities that may lie outside of 0..255


@dataclass(frozen=True)
class Layout:
    """What the tags of a file say of its picture, or of the slices of its volume."""

    header: Header
    bits: int  # of one intensity; 8 only where all are within 0..255
    stored_bits: int  # the same as the file has it: 1 to 64
    white_is_zero: bool
    indices: tuple[int, ...]  # of the pages that are slices
    by_tifffile: bool


def read_layout(path: Path) -> Layout:
    """Raises ImageError for what cannot be read as it is stored, and what tifffile raises for a damaged file."""
    with _open_tiff(path) as file:
        return _describe_layout(file)


def read_pages(path: Path, layout: Layout) -> Iterator[np.ndarray]:
    """[H, W, C] of each slice as stored, black at 0, by tifffile; C is 1 or 3, and one more where there is alpha."""
    with _open_tiff(path) as file:
        for index in layout.indices:
            page = _find_page(file, index)
            _require_whole_segments(page)
            values = page.asarray(maxworkers=1)
            if page.planarconfig == SEPARATE and page.samplesperpixel > 1:
                values = np.moveaxis(values, 0, -1)
            values = values.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
            values = upright(values, orientation_of(page))
            if layout.white_is_zero:
                values = np.iinfo(values.dtype).max - values
            yield values


@contextmanager
def _open_tiff(path: Path) -> Iterator["TiffFile"]:
    import tifffile

    tifffile.logger().setLevel(logging.CRITICAL)  # what it logs of a damaged file is told by our errors
    with tifffile.TiffFile(path) as file:
        yield file


def _find_page(file: "TiffFile", index: int) -> "TiffPage":
    from tifffile import TiffPage

    page = file.pages[index]
    assert isinstance(page, TiffPage)  # tifffile makes frames of pages only for whom asks for them
    return page


def _describe_layout(file: "TiffFile") -> Layout:
    """The layout of a file, all of whose slices can be read. Raises ImageError."""
    pages = list(_walk_pages(file))
    indices = [index for index, page in enumerate(pages) if shows_a_slice(page)]
    if not indices:
        message = "holds reduced pictures alone, as camera raw files do; expected the picture itself, export it"
        raise ImageError("unreadable", message)
    slices = [pages[index] for index in indices]
    for page in slices:
        require_readable(page)
    require_alike(slices)
    require_one_stack(pages[0].description, slices)

    # All slices are alike: the first speaks for them.
    first = slices[0]
    depth = len(slices)
    height = first.imagelength
    width = first.imagewidth
    stored_bytes = math.ceil(first.bitspersample / 8)
    bounded((depth, height, width, first.samplesperpixel), stored_bytes)
    return Layout(
        header=Header((height, width) if depth == 1 else (depth, height, width)),
        bits=_find_bits_of_intensity(first),
        stored_bits=first.bitspersample,
        white_is_zero=first.photometric == WHITE_IS_ZERO,
        indices=tuple(indices),
        by_tifffile=is_for_tifffile(first),
    )


def _find_bits_of_intensity(page: "TiffPage") -> int:
    """A power of two: numbers of 12 bits are held in 16, as Pillow does."""
    least = 8 if page.sampleformat == UNSIGNED else SIGNED_BITS
    exponent = math.ceil(math.log2(page.bitspersample))
    return max(least, 2**exponent)


def _walk_pages(file: "TiffFile") -> Iterator["TiffPage"]:
    """The pages of a file, at least one; a file whose last page leads back to an earlier one ends there."""
    seen: set[int] = set()
    for index in itertools.count():
        page = _find_page(file, index)
        if page.offset in seen:
            return
        if index == MAX_PAGES:
            raise ImageError("too_large", f"holds more than {MAX_PAGES} pages; split it, or save it as NIfTI")
        yield page
        seen.add(page.offset)
        following = _offset_of_next_page(page)
        if following == 0:
            return
        if following >= file.filehandle.size:
            message = f"is cut off after {index + 1} pages; expected the whole file, copy it again"
            raise ImageError("unreadable", message)


def _offset_of_next_page(page: "TiffPage") -> int:
    """0 for the last page. tifffile ignores an offset behind the end of the file, so it is read here."""
    handle = page.parent.filehandle
    layout = page.parent.tiff
    handle.seek(page.offset)
    stored_count = handle.read(layout.tagnosize)
    (tags,) = struct.unpack(layout.tagnoformat, stored_count)
    handle.seek(tags * layout.tagsize, os.SEEK_CUR)
    stored_offset = handle.read(layout.offsetsize)
    (offset,) = struct.unpack(layout.offsetformat, stored_offset)
    return int(offset)


def _require_whole_segments(page: "TiffPage") -> None:
    """Raise ImageError where strips or tiles are missing, or unpack to more than they should hold.

    tifffile takes missing strips for empty ones, and unpacks strips to any length.
    """
    expected = math.prod(page.chunked)
    lengths = page.databytecounts
    if len(lengths) != expected or len(page.dataoffsets) != expected or not all(lengths):
        found = sum(length != 0 for length in lengths)
        raise ImageError("unreadable", f"holds {found} of {expected} strips or tiles; expected all, it is cut off")
    if page.compression == UNCOMPRESSED:
        return
    assert page.dtype is not None
    most = math.prod(page.chunks) * page.dtype.itemsize
    bounded((most,))
    handle = page.parent.filehandle
    for offset, length in zip(page.dataoffsets, lengths, strict=True):
        handle.seek(offset)
        packed = handle.read(length)
        unpacker = zlib.decompressobj()
        unpacker.decompress(packed, most)
        if unpacker.unconsumed_tail:
            raise ImageError("unsafe", f"holds a strip that unpacks to more than {most} bytes; save it anew")
