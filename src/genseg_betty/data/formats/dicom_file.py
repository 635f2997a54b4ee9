"""One DICOM file: it is opened, or refused with the reason why it is no image that can be read."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from genseg_betty.data.formats.common import ImageError, describe_damage, require_short
from genseg_betty.data.formats.dicom_header import read_sizes
from genseg_betty.data.formats.dicom_object import EXPECTED, require_image
from genseg_betty.data.formats.dicom_start import FILE_META, START, is_start_of_dicom

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_READS = 2**20  # parts of a header: each may be an item of a sequence, 8 bytes that take 600 bytes of memory
MAX_ITEMS = 2**18  # items of a sequence that is parsed when it is asked for
SEQUENCES = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ModalityLUTSequence")
ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # what an item begins with, little and big endian
# The elements of a header that are used. A series keeps the headers of all its slices in memory, so no others are read.
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
    """The data set of an image; without `pixels` it has the elements of HEADER alone.

    Raises ImageError, also for a file that is no image.
    """
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
        require_image(data)
        _name_transfer_syntax(data)
    return data


def is_volume(path: Path) -> bool:
    """Whether a DICOM file is a volume of several frames by itself. Raises ImageError."""
    with tell_damage(path):
        header = open_dicom(path, pixels=False)
        frames, _, _ = read_sizes(header)
    return frames > 1


@contextmanager
def tell_damage(path: Path) -> Iterator[None]:
    """Raise ImageError for whatever the reading of a file raises: pydicom parses a value when it is asked for."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        own_error = _find_own_error(error)
        raise own_error or describe_damage(path, error, EXPECTED) from error


def _find_own_error(error: BaseException | None) -> ImageError | None:
    """The ImageError of our own reader where pydicom has raised another error in its place; None without one."""
    while error is not None and not isinstance(error, ImageError):
        error = error.__context__
    return error


class _BoundedReader(io.BufferedReader):
    """A file that is read at most MAX_READS times. Raises ImageError (`too_large`) beyond."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > MAX_READS:
            message = f"has a header of more than {MAX_READS} parts; expected fewer, export it anew"
            raise ImageError("too_large", message)
        return super().read(size)


def _require_readable(file: BinaryIO) -> None:
    """Raise ImageError for a file that is no DICOM, and for one that unpacks to any size.

    Afterwards the file is at its start.
    """
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    start = file.read(START)
    if not is_start_of_dicom(start):
        raise ImageError("unreadable", f"cannot be read (it does not begin as DICOM does); expected {EXPECTED}")
    file.seek(0)
    read_preamble(file, force=True)
    meta = read_dataset(
        file,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag >> 16 != FILE_META,
    )
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise ImageError(
            "unsafe",
            "is a deflated DICOM file, which unpacks to any size; expected another transfer syntax, convert it to "
            "Explicit VR Little Endian (dcmconv +te)",
        )
    file.seek(0, io.SEEK_SET)


def _require_few_items(data: "Dataset") -> None:
    """Raise ImageError (`too_large`) for a sequence that would take far more memory than its bytes once parsed."""
    for keyword in SEQUENCES:
        if keyword not in data:
            continue
        stored = getattr(data.get_item(keyword), "value", None)
        if not isinstance(stored, bytes):
            continue
        most = max(stored.count(beginning) for beginning in ITEMS)
        if most > MAX_ITEMS:
            message = f"holds more than {MAX_ITEMS} items in {keyword}; expected fewer, export it anew"
            raise ImageError("too_large", message)


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
    if implicit:
        syntax = ImplicitVRLittleEndian
    elif little:
        syntax = ExplicitVRLittleEndian
    else:
        syntax = ExplicitVRBigEndian
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
