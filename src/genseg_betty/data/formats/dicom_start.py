"""Whether a file is DICOM, by its content: names say little, and some files lack the preamble that all should have."""

import struct
from pathlib import Path

START = 512  # bytes from which a file is known to be DICOM
PREAMBLE = 128  # bytes before the signature
SIGNATURE = b"DICM"
MAX_FIRST = 256  # bytes of the first element of a file that begins without preamble
FILE_META, IDENTIFYING, PATIENT = 0x0002, 0x0008, 0x0010  # groups that a file may begin with
TAG_AND_KIND = "HH2s"  # of an element, for `struct`: group, element and, if it is explicit, its value representation
TAG_AND_KIND_LENGTH = 8  # bytes, with two that are reserved
TAG_LENGTH = 4  # bytes


def begins_as_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content: after the 128 bytes of a preamble, or without them. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(START)
    return is_start_of_dicom(start)


def is_start_of_dicom(start: bytes) -> bool:
    """Whether bytes, START of them, begin a DICOM file with or without preamble."""
    if start[PREAMBLE:].startswith(SIGNATURE):
        return True
    return _begins_with_elements(start, "<") or _begins_with_elements(start, ">")


def _begins_with_elements(start: bytes, order: str) -> bool:
    """Whether bytes are a data set from the first one on: two elements that follow each other as they may."""
    from pydicom.valuerep import VR

    if len(start) < TAG_AND_KIND_LENGTH:
        return False
    group, element, kind_bytes = struct.unpack_from(order + TAG_AND_KIND, start)
    kind = kind_bytes.decode("latin-1")
    is_explicit = kind in set(VR)
    if group not in (FILE_META, IDENTIFYING):
        return False
    if order == ">" and not is_explicit:  # big endian is explicit alone
        return False

    # The second element follows the value of the first.
    place, length_type = _find_length(kind) if is_explicit else (TAG_LENGTH, "I")
    length_type = order + length_type
    value_place = place + struct.calcsize(length_type)
    if len(start) < value_place:
        return False
    (length,) = struct.unpack_from(length_type, start, place)
    next_place = value_place + length
    if next_place > MAX_FIRST or len(start) < next_place + TAG_LENGTH:
        return False
    next_group, next_element = struct.unpack_from(f"{order}HH", start, next_place)
    ascends = (next_group, next_element) > (group, element)
    return ascends and next_group in (FILE_META, IDENTIFYING, PATIENT)


def _find_length(kind: str) -> tuple[int, str]:
    """Where the length of an explicit element stands, and its type for `struct`."""
    from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

    if kind in EXPLICIT_VR_LENGTH_32:
        return 8, "I"
    return 6, "H"
