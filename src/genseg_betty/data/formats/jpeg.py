"""What the markers of a JPEG file tell before it is decoded: its bits, its size, and its scans.

Each scan passes over the whole picture, so that a small file could keep a decoder for hours.
"""

import mmap
import re
import struct

from genseg_betty.data.formats.common import ImageError

MAX_SCANS = 50  # encoders write up to about 15
START_OF_IMAGE, START_OF_SCAN, END = b"\xff\xd8", b"\xda", b"\xd9"
# Frame headers of all kinds of JPEG, lossless ones among them, and of JPEG-LS.
FRAME_CODES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
FRAMES = frozenset(bytes([code]) for code in FRAME_CODES)
# Between scans: what follows a scan's header is data in which each 0xff stands before 0x00 or a restart marker.
MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")


def require_few_scans(content: bytes | mmap.mmap) -> None:
    """Raise ImageError (`unsafe`) for a JPEG file of more scans than any encoder writes."""
    place, scans = 2, 0
    while (found := MARKER.search(content, place)) and found[1] != END:
        scans += found[1] == START_OF_SCAN
        if scans > MAX_SCANS:
            raise ImageError("unsafe", f"holds more than {MAX_SCANS} scans; expected a JPEG file as encoders write it")
        place = _find_end(content, found.end())


def read_frame_size(content: bytes) -> tuple[int, int] | None:
    """Width and height as the first frame header of a JPEG or JPEG-LS file states them; None where there is none."""
    frame = _find_frame(content)
    if frame is None:
        return None
    height, width = struct.unpack_from(">HH", content.ljust(frame + 7), frame + 3)
    return width, height


def require_eight_bits(content: bytes | mmap.mmap) -> None:
    """Raise ImageError (`unreadable`) for a JPEG file of more bits, which Pillow takes for no picture."""
    frame = _find_frame(content)
    if frame is not None and len(content) > frame + 2 and content[frame + 2] != 8:
        bits = content[frame + 2]
        raise ImageError("unreadable", f"is a JPEG file of {bits} bits; expected 8, save it as PNG of 16 bits")


def _find_frame(content: bytes | mmap.mmap) -> int | None:
    """Where the first frame header begins behind its marker: 2 bytes of length, 1 of bits, 2 of height, 2 of width."""
    if content[:2] != START_OF_IMAGE:
        return None
    place = len(START_OF_IMAGE)
    while (found := MARKER.search(content, place)) and found[1] not in (START_OF_SCAN, END):
        if found[1] in FRAMES:
            return found.end()
        place = _find_end(content, found.end())
    return None


def _find_end(content: bytes | mmap.mmap, segment: int) -> int:
    """Where a segment ends that begins with its length, of 2 bytes."""
    length = content[segment : segment + 2]
    return segment + int.from_bytes(length, "big")
