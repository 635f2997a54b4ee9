"""What the markers of a JPEG file tell before it is decoded: its bits, and its scans.

Each scan passes over the whole picture, so that a small file could keep a decoder for hours.
"""

import mmap
import re

from genseg_betty.data.formats.common import ImageError

MAX_SCANS = 50  # encoders write up to about 15
START_OF_SCAN, END = b"\xda", b"\xd9"
START_OF_FRAME = [bytes([marker]) for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC)]
# Between scans: what follows a scan's header is data in which each 0xff stands before 0x00 or a restart marker.
MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")


def require_few_scans(content: bytes | mmap.mmap) -> None:
    """Raise ImageError (`unsafe`) for a JPEG file of more scans than any encoder writes."""
    place, scans = 2, 0
    while (found := MARKER.search(content, place)) and found[1] != END:
        scans += found[1] == START_OF_SCAN
        if scans > MAX_SCANS:
            raise ImageError("unsafe", f"holds more than {MAX_SCANS} scans; expected a JPEG file as encoders write it")
        place = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")


def require_eight_bits(content: bytes | mmap.mmap) -> None:
    """Raise ImageError (`unreadable`) for a JPEG file of more bits, which Pillow takes for no picture."""
    place = 2
    while (found := MARKER.search(content, place)) and found[1] not in (START_OF_SCAN, END):
        place = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")
        bits = content[found.end() + 2] if found[1] in START_OF_FRAME and len(content) > found.end() + 2 else 8
        if bits != 8:
            raise ImageError("unreadable", f"is a JPEG file of {bits} bits; expected 8, save it as PNG of 16 bits")
