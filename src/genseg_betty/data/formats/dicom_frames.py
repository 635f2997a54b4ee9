"""The compressed frames of a DICOM file, looked at before they are decoded.

A small file could decode to far more than its header states, or keep a decoder for hours.
"""

import io
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.jpeg import read_frame_size, require_few_scans

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_RLE = 2**24  # bytes of a run-length encoded frame, which may decode to 64 times as many
FIRST_SEGMENT = (64).to_bytes(4, "little")  # where the first segment of a run-length encoded frame begins
CODESTREAMS = (b"\xff\xd8", b"\xff\x4f")  # what frames of JPEG and JPEG-LS, and of JPEG 2000, begin with


def check_compressed_frames(data: "Dataset", stored: bytes, sides: tuple[int, int]) -> None:
    """Raise ImageError for frames that would decode to more than their header says, or are more."""
    from pydicom.encaps import generate_frames
    from pydicom.pixels.utils import as_pixel_options
    from pydicom.uid import RLELossless

    is_run_length_encoded = data.file_meta.TransferSyntaxUID == RLELossless
    options = as_pixel_options(data)
    count = options["number_of_frames"]
    offsets = options.get("extended_offsets")
    if _count_beginnings(stored) > count:
        raise describe_excess_frames(count)
    frames = generate_frames(stored, number_of_frames=count, extended_offsets=offsets)
    for frame in itertools.islice(frames, count):
        if is_run_length_encoded:
            _require_short_frame(frame)
        _require_size(frame, sides)


def describe_excess_frames(stated: int) -> ImageError:
    """The fault of a file that holds more frames than it states."""
    return ImageError(
        "unreadable",
        f"holds more frames than the {stated} that its header states; "
        "expected as many, mend its NumberOfFrames or export it anew",
    )


def _count_beginnings(stored: bytes) -> int:
    """Fragments in which a compressed frame begins; a frame may have several fragments."""
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    buffer = io.BytesIO(stored)
    parse_basic_offsets(buffer)
    beginnings = 0
    for fragment in generate_fragments(buffer):
        is_codestream = fragment.startswith(CODESTREAMS)
        is_run_length_encoded = fragment[4:8] == FIRST_SEGMENT
        if is_codestream or is_run_length_encoded:
            beginnings += 1
    return beginnings


def _require_short_frame(frame: bytes) -> None:
    """Raise ImageError for a run-length encoded frame that could decode to too much."""
    if len(frame) > MAX_RLE:
        found, most = len(frame) / 1e6, MAX_RLE / 1e6
        raise ImageError(
            "too_large",
            f"holds {found:.0f} MB of run-length encoded values in a frame; expected at most {most:.0f} MB, "
            "save it uncompressed",
        )


def _require_size(frame: bytes, sides: tuple[int, int]) -> None:
    """Raise ImageError for a compressed frame that states another height and width."""
    stated = _read_stated_size(frame)
    if stated is None:
        return
    width, height = stated
    rows, columns = sides
    if (width, height) != (columns, rows):
        raise ImageError(
            "unreadable",
            f"holds a frame of {width}x{height} pixels; expected {columns}x{rows}, as its header",
        )


def _read_stated_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height that a compressed frame states, None where it states none.

    Raises ImageError for a JPEG frame of too many scans.
    """
    from PIL import Image, UnidentifiedImageError

    stated = read_frame_size(frame)
    if stated is not None:
        require_few_scans(frame)
        return stated
    file = io.BytesIO(frame)
    with suppress(UnidentifiedImageError), Image.open(file, formats=("JPEG2000",)) as picture:
        return picture.size
    return None
