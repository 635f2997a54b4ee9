"""One DICOM file: whether it is one, what it holds, and the numbers of its header, which may be empty or odd."""

import io
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from genseg_betty.data.formats.common import ImageError, bounded, damaged, require_short

if TYPE_CHECKING:
    from pydicom import Dataset

EXPECTED = "a DICOM image"
START = 512  # bytes from which a file is known to be DICOM
MAX_FIRST = 256  # bytes of the first value of a file that begins without preamble
MAX_NAMED = 3  # files named in one message
LARGE = 1e12  # no length, place or rescale is larger
FILE_META, IDENTIFYING, PATIENT = 0x0002, 0x0008, 0x0010  # groups that a file may begin with
COLOURS = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
GRAYS = ("MONOCHROME1", "MONOCHROME2")
TO_NIFTI = "convert it to NIfTI, for example with 3D Slicer"
ADVICE = {
    "SEG": TO_NIFTI,
    "RTSTRUCT": "convert its contours to a NIfTI mask, for example with 3D Slicer",
    "RTDOSE": "give the images that the dose was planned on",
}
# What is asked of a header; a series keeps the headers of all its slices in memory, so nothing else of them is read.
HEADER = (
    "SOPClassUID",
    "Modality",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ImagerPixelSpacing",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleIntercept",
    "RescaleSlope",
    "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)


def begins_as_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content: after the 128 bytes of a preamble, or without them. Raises OSError."""
    with path.open("rb") as file:
        return _begins_as_dicom(file.read(START))


def open_dicom(path: Path, pixels: bool = True) -> "Dataset":
    """The data set of an image, without its pixels only HEADER. Raises ImageError, also for what is no image."""
    from pydicom import dcmread

    try:
        require_short(path)
        with path.open("rb") as file:
            _require_readable(file)
            if pixels:
                data = dcmread(file, force=True)
            else:
                data = dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(HEADER))
        _require_image(data)
        _name_transfer_syntax(data)
    except ImageError:
        raise
    except Exception as error:  # pydicom raises what its parsers raise
        raise damaged(path, error, EXPECTED) from error
    return data


def sizes(data: "Dataset") -> tuple[int, int, int]:
    """Frames, rows and columns. Raises ImageError for more values than are read."""
    frames, rows, columns = (whole(data, keyword) for keyword in ("NumberOfFrames", "Rows", "Columns"))
    shape = (1 if frames is None or frames == 0 else frames, rows or 0, columns or 0)
    bounded((*shape, channels(data)), max(1, (whole(data, "BitsAllocated") or 8) // 8))
    return shape


def channels(data: "Dataset") -> int:
    """Channels of the image: a palette's colours are three."""
    return 3 if interpretation(data) in COLOURS else whole(data, "SamplesPerPixel") or 1


def interpretation(data: "Dataset") -> str:
    """How pixels stand for gray or colour, as MONOCHROME2; empty where the file does not say."""
    return str(data.get("PhotometricInterpretation") or "").strip()


def whole(data: "Dataset", keyword: str) -> int | None:
    """A whole number of the header, None where it is absent or empty. Raises ImageError for anything else."""
    found = number(data, keyword)
    return None if found is None else int(found)


def number(data: "Dataset", keyword: str) -> float | None:
    """A number of the header, None where it is absent or empty. Raises ImageError for anything else."""
    found = numbers(data, keyword, 1)
    return found[0] if found else None


def numbers(data: "Dataset", keyword: str, count: int) -> tuple[float, ...] | None:
    """So many numbers of the header, None where they are absent or empty. Raises ImageError otherwise."""
    try:
        value = data.get(keyword)
        values = [value] if isinstance(value, (str, int, float)) else list(value or ())
        if not values or values == [""]:
            return None
        found = tuple(float(one) for one in values)
    except (TypeError, ValueError, ArithmeticError):
        found = ()
    if len(found) != count or not all(abs(one) < LARGE for one in found):
        shown = re.sub(r"\s+", " ", str(data.get(keyword)))[:60]
        expected = "a number" if count == 1 else f"{count} numbers"
        raise ImageError("unreadable", f"states {keyword} as {shown}; expected {expected}, mend its header")
    return found


def listed(names: Sequence[str]) -> str:
    """Names for a message, the first few of many."""
    more = len(names) - MAX_NAMED
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:MAX_NAMED])} and {more} more"


def _begins_as_dicom(start: bytes) -> bool:
    return start[128:132] == b"DICM" or any(_begins_with_elements(start, order) for order in "<>")


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


def _require_readable(file: BinaryIO) -> None:
    """Raise ImageError for what is no DICOM, or unpacked as a whole however large; the file is at its start after."""
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    if not _begins_as_dicom(file.read(START)):
        raise ImageError("unreadable", f"cannot be read (it does not begin as DICOM does); expected {EXPECTED}")
    file.seek(0)
    read_preamble(file, force=True)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != FILE_META)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise ImageError("unsafe", "is a deflated DICOM file; expected another transfer syntax, convert it")
    file.seek(0, io.SEEK_SET)


def _require_image(data: "Dataset") -> None:
    """Raise ImageError for objects that hold no image, for masks of other kinds, and for parts of an image."""
    modality, kind = str(data.get("Modality") or ""), data.get("SOPClassUID")
    if modality in ADVICE or whole(data, "Rows") is None or whole(data, "Columns") is None:
        name = str(getattr(kind, "name", ""))
        if modality not in ADVICE and (not name or "Image" in name):
            message = "cannot be read (it does not state its rows and columns, so it may be cut short)"
            raise ImageError("unreadable", f"{message}; expected {EXPECTED}")
        advice = ADVICE.get(modality, "move it away")
        raise ImageError("unreadable", f"is no plain image but a {name or modality}; expected {EXPECTED}, {advice}")
    parts, part = whole(data, "InConcatenationTotalNumber"), whole(data, "InConcatenationNumber")
    if (parts or part or 1) > 1:
        message = f"is part {part or '?'} of the {parts or 'several'} of a concatenation; expected a whole image"
        raise ImageError("unreadable", f"{message}, join its parts or convert it to NIfTI with dcm2niix")
    _require_known_colours(data)


def _require_known_colours(data: "Dataset") -> None:
    found, samples = interpretation(data), whole(data, "SamplesPerPixel") or 1
    expected = 3 if found in COLOURS and found != "PALETTE COLOR" else 1
    if found and (found not in COLOURS + GRAYS or samples != expected):
        known = ", ".join(GRAYS + COLOURS)
        message = f"has {samples} samples a pixel of {found[:60]}; expected one of {known}"
        raise ImageError("unreadable", f"{message}, save it as MONOCHROME2 or RGB")


def _name_transfer_syntax(data: Any) -> None:
    """Say how a data set without file meta information is encoded, as pydicom has found."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if getattr(data.file_meta, "TransferSyntaxUID", None):
        return
    if "PixelData" in data and data["PixelData"].is_undefined_length:
        message = "is compressed and does not say how; expected its file meta information, export it anew"
        raise ImageError("unreadable", message)
    implicit, little = data.original_encoding
    explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
