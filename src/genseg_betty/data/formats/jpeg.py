"""What the markers of a JPEG file tell before it is decoded: its bits, its size, and its scans.

Each scan passes over the whole picture, so that a small file could keep a decoder for hours.
"""

import mmap
import re
import struct

from genseg_betty.data.formats.common import ImageError

MAX_SCANS = 50  # encoders write up to about 15
START_OF_IMAGE, START_OF_SCAN, END = b"\xff\xd8", b"\xda", b"\xd9"
LOSSLESS_SUCCESSOR = 0xF7  # frame header of JPEG-LS
NO_FRAMES = (0xC4, 0xC8, 0xCC)  # tables and extensions among the frame headers
FRAME_CODES = {*range(0xC0, 0xD0), LOSSLESS_SUCCESSOR} - {*NO_FRAMES}  # of all kinds of JPEG, lossless ones too
FRAMES = frozenset(bytes([code]) for code in FRAME_CODES)
# Between scans: what follows a scan's header is data in which each 0xff stands before 0x00 or a restart marker.
MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")


def require_few_scans(content: bytes | mmap.mmap, whole: bool = False) -> None:
    """Raise ImageError (`unsafe`) for a JPEG file of more scans than any encoder writes.

    With `whole`, one without the marker of its end is `unreadable`: decoders take zeros in place of what was not
    copied for pixels.
    """
    place, scans = 2, 0
    while (found := MARKER.search(content, place)) and found[1] != END:
        scans += found[1] == START_OF_SCAN
        if scans > MAX_SCANS:
            raise ImageError("unsafe", f"holds more than {MAX_SCANS} scans; expected a JPEG file as encoders write it")
        place = found.end() + _segment_length(content, found.end())
    if whole and not found:
        message = "is a JPEG file without an end, so it is cut off; expected the whole file, copy it again"
        raise ImageError("unreadable", message)


def read_frame_size(content: bytes) -> tuple[int, int] | None:
    """Width and height as the first frame header of a JPEG or JPEG-LS file states them; None where there is none."""
    frame = _find_frame(content)
    if frame is None:
        return None
    height, width = struct.unpack_from(">HH", content.ljust(frame + 7), frame + 3)
    return width, height


def require_readable_frame(content: bytes | mmap.mmap) -> None:
    """Raise ImageError (`unreadable`) for JPEG-LS, and for a JPEG file of more than 8 bits: Pillow decodes neither."""
    frame = _find_frame(content)
    if frame is None:
        return
    if content[frame - 1] == LOSSLESS_SUCCESSOR:
        raise ImageError("unreadable", "is a JPEG-LS picture; expected JPEG, save it as PNG")
    if len(content) > frame + 2 and content[frame + 2] != 8:
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
        place = found.end() + _segment_length(content, found.end())
    return None


def _segment_length(content: bytes | mmap.mmap, place: int) -> int:
    """The length in bytes that a segment states behind its marker."""
    return int.from_bytes(content[place : place + 2], "big")
