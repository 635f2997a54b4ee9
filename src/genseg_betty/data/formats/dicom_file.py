"""One DICOM file: what it holds, and the numbers of its header, which may be empty or odd."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from genseg_betty.data.formats.common import ImageError, bounded, describe_damaged_file, require_short
from genseg_betty.data.formats.dicom_start import FILE_META, START, is_start_of_dicom

if TYPE_CHECKING:
    from pydicom import Dataset

EXPECTED = "a DICOM image"
MAX_READS = 2**20  # parts of a header: each may be an item of a sequence, which takes 600 bytes of memory for its 8
MAX_ITEMS = 2**18  # items of a sequence that is parsed when it is asked for
LARGE = 1e12  # no length, place or rescale is larger
SEQUENCES = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ModalityLUTSequence")
ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # what an item begins with, little and big endian
COLOURS = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
GRAYS = ("MONOCHROME1", "MONOCHROME2")
TO_NIFTI = "convert it to NIfTI, for example with 3D Slicer"
ADVICE = {
    "SEG": TO_NIFTI,
    "RTSTRUCT": "convert its contours to a NIfTI mask, for example with 3D Slicer",
    "RTDOSE": "give the images that the dose was planned on",
}
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # bits, and a map of labels
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


def open_dicom(path: Path, pixels: bool = True) -> "Dataset":
    """The data set of an image, without its pixels only HEADER. Raises ImageError, also for what is no image."""
    from pydicom import dcmread

    with tell_damage(path):
        require_short(path)
        with _BoundedReader(io.FileIO(path)) as file:
            _require_readable(file)
            if pixels:
                data = dcmread(file, force=True)
            else:
                data = dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(HEADER))
        _require_few_items(data)
        _require_image(data)
        _name_transfer_syntax(data)
    return data


@contextmanager
def tell_damage(path: Path) -> Iterator[None]:
    """Raise ImageError for whatever the reading of a file raises: pydicom parses a value when it is asked for."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise _find_bound_error(error) or describe_damaged_file(path, error, EXPECTED) from error


def read_sizes(data: "Dataset") -> tuple[int, int, int]:
    """Frames, rows and columns. Raises ImageError for more values than are read."""
    frames = read_whole(data, "NumberOfFrames") or 1
    rows = read_whole(data, "Rows") or 0
    columns = read_whole(data, "Columns") or 0
    bits = read_whole(data, "BitsAllocated") or 8
    bounded((frames, rows, columns, count_channels(data)), max(1, bits // 8))
    return frames, rows, columns


def count_channels(data: "Dataset") -> int:
    """Channels of the image: a palette's colours are three."""
    return 3 if read_interpretation(data) in COLOURS else read_whole(data, "SamplesPerPixel") or 1


def read_interpretation(data: "Dataset") -> str:
    """How pixels stand for gray or colour, as MONOCHROME2; empty where the file does not say."""
    return str(data.get("PhotometricInterpretation") or "").strip()


def read_whole(data: "Dataset", keyword: str) -> int | None:
    """A whole number of the header, None where it is absent or empty. Raises ImageError for anything else."""
    found = read_number(data, keyword)
    return None if found is None else int(found)


def read_number(data: "Dataset", keyword: str) -> float | None:
    """A number of the header, None where it is absent or empty. Raises ImageError for anything else."""
    found = read_numbers(data, keyword, 1)
    return found[0] if found else None


def read_numbers(data: "Dataset", keyword: str, count: int) -> tuple[float, ...] | None:
    """So many numbers of the header, None where they are absent or empty. Raises ImageError otherwise."""
    try:
        value = data[keyword].value if keyword in data else None  # faster than get(), and asked often
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


class _BoundedReader(io.BufferedReader):
    """A file whose header is read in so many parts at most. Raises ImageError (`too_large`) beyond."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > MAX_READS:
            message = f"has a header of more than {MAX_READS} parts; expected fewer, export it anew"
            raise ImageError("too_large", message)
        return super().read(size)


def _find_bound_error(error: BaseException | None) -> ImageError | None:
    """The ImageError that the file raised, where pydicom has raised another in its place."""
    while error is not None and not isinstance(error, ImageError):
        error = error.__context__
    return error


def _require_few_items(data: "Dataset") -> None:
    """Raise ImageError (`too_large`) for a sequence that would take far more memory than its bytes once parsed."""
    for keyword in SEQUENCES:
        raw = data.get_item(keyword) if keyword in data else None
        value = getattr(raw, "value", None)
        if isinstance(value, bytes) and max(map(value.count, ITEMS)) > MAX_ITEMS:
            message = f"holds more than {MAX_ITEMS} items in {keyword}; expected fewer, export it anew"
            raise ImageError("too_large", message)


def _require_readable(file: BinaryIO) -> None:
    """Raise ImageError for what is no DICOM, or unpacked as a whole however large; the file is at its start after."""
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    if not is_start_of_dicom(file.read(START)):
        raise ImageError("unreadable", f"cannot be read (it does not begin as DICOM does); expected {EXPECTED}")
    file.seek(0)
    read_preamble(file, force=True)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != FILE_META)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        message = "is a deflated DICOM file, which unpacks to any size; expected another transfer syntax"
        raise ImageError("unsafe", f"{message}, convert it to Explicit VR Little Endian (dcmconv +te)")
    file.seek(0, io.SEEK_SET)


def _require_image(data: "Dataset") -> None:
    """Raise ImageError for objects that hold no image, for masks of other kinds, and for parts of an image."""
    kind = data.get("SOPClassUID")
    modality = "SEG" if kind in SEGMENTATIONS else str(data.get("Modality") or "")
    if modality in ADVICE or read_whole(data, "Rows") is None or read_whole(data, "Columns") is None:
        name = str(getattr(kind, "name", ""))
        if modality not in ADVICE and (not name or "Image" in name):
            message = "cannot be read (it does not state its rows and columns, so it may be cut short)"
            raise ImageError("unreadable", f"{message}; expected {EXPECTED}")
        advice = ADVICE.get(modality, "move it away")
        raise ImageError("unreadable", f"is no plain image but a {name or modality}; expected {EXPECTED}, {advice}")
    parts, part = read_whole(data, "InConcatenationTotalNumber"), read_whole(data, "InConcatenationNumber")
    if (parts or part or 1) > 1:
        message = f"is part {part or '?'} of the {parts or 'several'} of a concatenation; expected a whole image"
        raise ImageError("unreadable", f"{message}, join its parts or convert it to NIfTI with dcm2niix")
    _require_known_colours(data)


def _require_known_colours(data: "Dataset") -> None:
    found, samples = read_interpretation(data), read_whole(data, "SamplesPerPixel") or 1
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
