"""What the markers of a JPEG file tell before it is decoded: its bits, its size, and its scans.

Each scan passes over the whole picture, so that a small file could keep a decoder for hours.
"""

import mmap
import re
import struct
from collections.abc import Iterator

from genseg_betty.data.formats.common import ImageError

MAX_SCANS = 50  # encoders write up to about 15
START_OF_IMAGE, START_OF_SCAN, END = b"\xff\xd8", b"\xda", b"\xd9"
LOSSLESS_SUCCESSOR = 0xF7  # frame header of JPEG-LS
NO_FRAMES = {0xC4, 0xC8, 0xCC}  # tables and extensions among the frame headers
FRAME_CODES = {*range(0xC0, 0xD0), LOSSLESS_SUCCESSOR} - NO_FRAMES  # of all kinds of JPEG, lossless ones too
FRAMES = frozenset(bytes([code]) for code in FRAME_CODES)
# A frame header has 2 bytes of length, 1 of bits, 2 of height and 2 of width.
BITS_OFFSET, SIZE_OFFSET, FRAME_LENGTH = 2, 3, 7
# Between scans: what follows a scan's header is data in which each 0xff stands before 0x00 or a restart marker.
MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")


def require_few_scans(content: bytes | mmap.mmap, whole: bool = False) -> None:
    """Raise ImageError (`unsafe`) for a JPEG file of more scans than any encoder writes.

    With `whole`, one without the marker of its end is `unreadable`: decoders take zeros in place of what was not
    copied for pixels.
    """
    scans = 0
    has_end = False
    for marker in _walk_markers(content):
        if marker[1] == END:
            has_end = True
            break
        if marker[1] == START_OF_SCAN:
            scans += 1
        if scans > MAX_SCANS:
            raise ImageError("unsafe", f"holds more than {MAX_SCANS} scans; expected a JPEG file as encoders write it")
    if whole and not has_end:
        message = "is a JPEG file without an end, so it is cut off; expected the whole file, copy it again"
        raise ImageError("unreadable", message)


def read_frame_size(content: bytes) -> tuple[int, int] | None:
    """Width and height as the first frame header of a JPEG or JPEG-LS file states them; None where there is none."""
    frame = _find_frame(content)
    if frame is None:
        return None
    padded = content.ljust(frame + FRAME_LENGTH)  # the file may be cut off within its header
    height, width = struct.unpack_from(">HH", padded, frame + SIZE_OFFSET)
    return width, height


def require_readable_frame(content: bytes | mmap.mmap) -> None:
    """Raise ImageError (`unreadable`) for JPEG-LS, and for a JPEG file of more than 8 bits: Pillow decodes neither."""
    frame = _find_frame(content)
    if frame is None:
        return
    if content[frame - 1] == LOSSLESS_SUCCESSOR:
        raise ImageError("unreadable", "is a JPEG-LS picture; expected JPEG, save it as PNG")
    bits_place = frame + BITS_OFFSET
    if bits_place >= len(content):
        return
    bits = content[bits_place]
    if bits != 8:
        raise ImageError("unreadable", f"is a JPEG file of {bits} bits; expected 8, save it as PNG of 16 bits")


def _find_frame(content: bytes | mmap.mmap) -> int | None:
    """Where the first frame header begins behind its marker; None for a file without one before its first scan."""
    if content[:2] != START_OF_IMAGE:
        return None
    for marker in _walk_markers(content):
        if marker[1] in (START_OF_SCAN, END):
            return None
        if marker[1] in FRAMES:
            return marker.end()
    return None


def _walk_markers(content: bytes | mmap.mmap) -> Iterator[re.Match[bytes]]:
    """The markers of a file one after another, from that behind START_OF_IMAGE on; segments are passed over."""
    place = len(START_OF_IMAGE)
    while marker := MARKER.search(content, place):
        yield marker
        segment = marker.end()
        length = content[segment : segment + 2]
        place = segment + int.from_bytes(length, "big")
