"""Whether a file is DICOM, by its content: names say little, and some files lack the preamble that all should have."""

import struct
from pathlib import Path

START = 512  # bytes from which a file is known to be DICOM
MAX_FIRST = 256  # bytes of the first value of a file that begins without preamble
FILE_META, IDENTIFYING, PATIENT = 0x0002, 0x0008, 0x0010  # groups that a file may begin with


def begins_as_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content: after the 128 bytes of a preamble, or without them. Raises OSError."""
    with path.open("rb") as file:
        return is_start_of_dicom(file.read(START))


def is_start_of_dicom(start: bytes) -> bool:
    """Whether bytes, START of them, begin a DICOM file with or without preamble."""
    if start[128:132] == b"DICM":
        return True
    return _begins_with_elements(start, "<") or _begins_with_elements(start, ">")


def _begins_with_elements(start: bytes, order: str) -> bool:
    """Whether bytes are a data set from the first one on: two elements that follow each other as they may."""
    from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

    if len(start) < 8:
        return False
    group, element, kind = struct.unpack_from(f"{order}HH2s", start)
    explicit = kind.decode("latin-1") in set(VR)
    if explicit:
        long = kind.decode() in EXPLICIT_VR_LENGTH_32
        place, length = (8, f"{order}I") if long else (6, f"{order}H")
    else:
        place, length = 4, f"{order}I"
    follows = place + struct.calcsize(length)
    if group not in (FILE_META, IDENTIFYING) or not (explicit or order == "<") or len(start) < follows:
        return False
    follows += struct.unpack_from(length, start, place)[0]
    if follows > MAX_FIRST or len(start) < follows + 4:
        return False
    after = struct.unpack_from(f"{order}HH", start, follows)
    return after > (group, element) and after[0] in (FILE_META, IDENTIFYING, PATIENT)
