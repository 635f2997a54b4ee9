"""The scans of a JPEG file. Each passes over the whole picture, so that a small file could keep a decoder for hours."""

import mmap
import re

from genseg_betty.data.formats.common import ImageError

MAX_SCANS = 50  # encoders write up to about 15
START_OF_SCAN, END = b"\xda", b"\xd9"
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
