"""The values of a DICOM file as it stores them: decoded where a decoder is installed, never more than it states."""

import io
import itertools
import math
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.dicom_file import EXPECTED, read_sizes, read_whole
from genseg_betty.data.formats.jpeg import read_frame_size, require_few_scans

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.pixels.decoders.base import Decoder
    from pydicom.uid import UID

INSTALL = "pip install 'genseg-betty[dicom]'"
MAX_RLE = 2**24  # bytes of a run-length encoded frame, which may decode to 64 times as many
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
FIRST_SEGMENT = (64).to_bytes(4, "little")  # where the first segment of a run-length encoded frame begins
CODESTREAMS = (b"\xff\xd8", b"\xff\x4f")  # what frames of JPEG and JPEG-LS, and of JPEG 2000, begin with


def read_stored(data: "Dataset") -> np.ndarray:
    """[H, W, C] or [D, H, W, C] values as stored, frames in the file's order; YCbCr as RGB. Raises ImageError."""
    frames, rows, columns = read_sizes(data)
    bits, highest = read_whole(data, "BitsStored"), read_whole(data, "HighBit")
    if bits and highest is not None and highest != bits - 1:
        message = f"keeps {bits} bits a value, the highest in place {highest}; expected it in place {bits - 1}"
        raise ImageError("unreadable", f"{message}, export it anew")
    if "NumberOfFrames" in data and not data.NumberOfFrames:
        del data.NumberOfFrames  # pydicom asks for a number
    stored = _require_pixels(data)
    syntax = data.file_meta.TransferSyntaxUID
    advice = _require_decoder(syntax, bits or 0)
    try:
        if syntax.is_encapsulated:
            _check_compressed_frames(data, stored, (rows, columns))
        else:
            _require_no_more_values(data, len(stored))
        data.pixel_array_options(allow_excess_frames=False)
        shape = (rows, columns) if frames == 1 else (frames, rows, columns)
        return np.asarray(data.pixel_array).reshape((*shape, -1))
    except ImageError:
        raise
    except Exception as error:  # a damaged file fails in any of the decoders
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError("unreadable", f"cannot be read ({reason[:300]}); expected {EXPECTED}{advice}") from error


def _require_decoder(syntax: "UID", bits: int) -> str:
    """What else could be installed for these pixels, to end a sentence. Raises ImageError without any decoder."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGExtended12Bit

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        message = f"is compressed as {syntax.name}, which is not read; expected another transfer syntax"
        raise ImageError("unreadable", f"{message}, convert it to Explicit VR Little Endian") from error
    needed = _name_packages(decoder)
    beyond_pillow = syntax == JPEGExtended12Bit and bits > 8 and decoder.available_plugins == ("pillow",)
    if beyond_pillow or not decoder.is_available:
        message = f"is compressed as {syntax.name}, for which no decoder is installed"
        raise ImageError("unreadable", f"{message}; expected one: {INSTALL}, or alone {needed}")
    return f"; if it is sound, another decoder may read it: {needed}" if syntax.is_encapsulated and needed else ""


def _name_packages(decoder: "Decoder") -> str:
    """How to install what pydicom can decode this by: JPEG-LS by pyjpegls, all else by pylibjpeg and its plugins."""
    required = dict(line.split(" - requires ") for line in decoder.missing_dependencies)
    chosen = required.get("pyjpegls") or required.get("pylibjpeg") or ""
    names = [name.split(">=")[0] for name in chosen.split(" and ")]
    wanted = [name for name in names if name and name != "numpy"]
    return f"pip install {' '.join(wanted)}" if wanted else ""


def _require_pixels(data: "Dataset") -> bytes:
    """The values as they are stored. Raises ImageError for a file without any."""
    for keyword in PIXELS:
        stored = data.get(keyword)
        if stored:
            return bytes(stored)
    raise ImageError("unreadable", "holds no pixels, its PixelData is missing or empty; expected some, export it anew")


def _require_no_more_values(data: "Dataset", stored: int) -> None:
    """Raise ImageError for so many bytes of uncompressed values that they fill more frames than the header states."""
    frames, rows, columns = read_sizes(data)
    samples, bits = read_whole(data, "SamplesPerPixel") or 1, read_whole(data, "BitsAllocated") or 0
    bits_of_frame = rows * columns * samples * bits
    expected = math.ceil(frames * bits_of_frame / 8)
    one_more = math.ceil((frames + 1) * bits_of_frame / 8)
    padding = expected % 2
    if one_more > expected and stored >= one_more and stored > expected + padding:
        raise _too_many_frames(frames)


def _too_many_frames(stated: int) -> ImageError:
    message = f"holds more frames than the {stated} that its header states"
    return ImageError("unreadable", f"{message}; expected as many, mend its NumberOfFrames or export it anew")


def _check_compressed_frames(data: "Dataset", stored: bytes, sides: tuple[int, int]) -> None:
    """Raise ImageError for frames that would decode to more than their header says, or are more."""
    from pydicom.encaps import generate_frames
    from pydicom.pixels.utils import as_pixel_options
    from pydicom.uid import RLELossless

    syntax = data.file_meta.TransferSyntaxUID
    options = as_pixel_options(data)
    count, offsets = options["number_of_frames"], options.get("extended_offsets")
    if _count_beginnings(stored) > count:
        raise _too_many_frames(count)
    frames = generate_frames(stored, number_of_frames=count, extended_offsets=offsets)
    for frame in itertools.islice(frames, count):
        if syntax == RLELossless and len(frame) > MAX_RLE:
            message = f"holds {len(frame) / 1e6:.0f} MB of run-length encoded values in a frame; expected at most "
            raise ImageError("too_large", f"{message}{MAX_RLE / 1e6:.0f} MB, save it uncompressed")
        _require_size(frame, sides)


def _require_size(frame: bytes, sides: tuple[int, int]) -> None:
    """Raise ImageError for a compressed frame that states another height and width."""
    rows, columns = sides
    for width, height in _read_sizes_of_frame(frame):
        if (width, height) != (columns, rows):
            message = f"holds a frame of {width}x{height} pixels; expected {columns}x{rows}, as its header"
            raise ImageError("unreadable", message)


def _count_beginnings(stored: bytes) -> int:
    """Fragments in which a compressed frame begins; a frame may have several fragments."""
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    buffer = io.BytesIO(stored)
    parse_basic_offsets(buffer)
    fragments = generate_fragments(buffer)
    return sum(one.startswith(CODESTREAMS) or one[4:8] == FIRST_SEGMENT for one in fragments)


def _read_sizes_of_frame(frame: bytes) -> list[tuple[int, int]]:
    """Width and height that a compressed frame states. Raises ImageError for a JPEG frame of too many scans."""
    from PIL import Image, UnidentifiedImageError

    if stated := read_frame_size(frame):
        require_few_scans(frame)
        return [stated]
    with suppress(UnidentifiedImageError), Image.open(io.BytesIO(frame), formats=("JPEG2000",)) as picture:
        return [picture.size]
    return []
