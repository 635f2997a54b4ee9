"""The values of a DICOM file as it stores them: decoded where a decoder is installed, never more than it states."""

import math
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.dicom_frames import check_compressed_frames, describe_excess_frames
from genseg_betty.data.formats.dicom_header import read_sizes, read_whole
from genseg_betty.data.formats.dicom_object import EXPECTED

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.pixels.decoders.base import Decoder
    from pydicom.uid import UID

INSTALL = "pip install 'genseg-betty[dicom]'"
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
MAX_REASON = 300  # characters of a decoder's message


def read_stored(data: "Dataset") -> np.ndarray:
    """[H, W, C] or [D, H, W, C] values as stored, frames in the file's order; YCbCr as RGB. Raises ImageError."""
    frames, rows, columns = read_sizes(data)
    bits = read_whole(data, "BitsStored") or 0
    _require_lowest_bits(data, bits)
    if "NumberOfFrames" in data and not data.NumberOfFrames:
        del data.NumberOfFrames  # pydicom asks for a number
    stored = _require_pixels(data)
    syntax = data.file_meta.TransferSyntaxUID
    advice = _require_decoder(syntax, bits)

    # pydicom decodes as much as the pixels hold, so they are first compared with what the header states.
    try:
        if syntax.is_encapsulated:
            check_compressed_frames(data, stored, (rows, columns))
        else:
            _require_no_more_values(data, len(stored))
        data.pixel_array_options(allow_excess_frames=False)
        shape = (rows, columns) if frames == 1 else (frames, rows, columns)
        values = np.asarray(data.pixel_array)
        return values.reshape((*shape, -1))
    except ImageError:
        raise
    except Exception as error:  # a damaged file fails in any of the decoders
        words = str(error).split()
        reason = " ".join(words) or type(error).__name__
        shown = reason[:MAX_REASON]
        raise ImageError("unreadable", f"cannot be read ({shown}); expected {EXPECTED}{advice}") from error


def _require_lowest_bits(data: "Dataset", bits: int) -> None:
    """Raise ImageError for values that do not fill the lowest of the bits that are allocated to them."""
    highest = read_whole(data, "HighBit")
    expected = bits - 1
    if bits and highest is not None and highest != expected:
        raise ImageError(
            "unreadable",
            f"keeps {bits} bits a value, the highest in place {highest}; expected it in place {expected}, "
            "export it anew",
        )


def _require_pixels(data: "Dataset") -> bytes:
    """The values as they are stored. Raises ImageError for a file without any."""
    for keyword in PIXELS:
        stored = data.get(keyword)
        if stored:
            return bytes(stored)
    raise ImageError("unreadable", "holds no pixels, its PixelData is missing or empty; expected some, export it anew")


def _require_decoder(syntax: "UID", bits: int) -> str:
    """What else could be installed for these pixels, to end a sentence. Raises ImageError without any decoder."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGExtended12Bit

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise ImageError(
            "unreadable",
            f"is compressed as {syntax.name}, which is not read; expected another transfer syntax, "
            "convert it to Explicit VR Little Endian",
        ) from error
    needed = _name_packages(decoder)
    has_pillow_alone = decoder.available_plugins == ("pillow",)
    beyond_pillow = syntax == JPEGExtended12Bit and bits > 8 and has_pillow_alone
    if beyond_pillow or not decoder.is_available:
        raise ImageError(
            "unreadable",
            f"is compressed as {syntax.name}, for which no decoder is installed; "
            f"expected one: {INSTALL}, or alone {needed}",
        )
    if not syntax.is_encapsulated or not needed:
        return ""
    return f"; if it is sound, another decoder may read it: {needed}"


def _name_packages(decoder: "Decoder") -> str:
    """How to install what pydicom can decode this by: JPEG-LS by pyjpegls, all else by pylibjpeg and its plugins.

    pydicom lists one plugin a line, as "pylibjpeg - requires numpy, pylibjpeg>=2.0 and pylibjpeg-openjpeg>=2.0".
    """
    required = dict(line.split(" - requires ") for line in decoder.missing_dependencies)
    chosen = required.get("pyjpegls") or required.get("pylibjpeg") or ""
    wanted = []
    for requirement in chosen.split(" and "):
        name = requirement.split(">=")[0]
        if name and name != "numpy":
            wanted.append(name)
    if not wanted:
        return ""
    return f"pip install {' '.join(wanted)}"


def _require_no_more_values(data: "Dataset", stored: int) -> None:
    """Raise ImageError for so many bytes of uncompressed values that they fill more frames than the header states."""
    frames, rows, columns = read_sizes(data)
    samples = read_whole(data, "SamplesPerPixel") or 1
    bits = read_whole(data, "BitsAllocated") or 0
    bits_of_frame = rows * columns * samples * bits
    expected = math.ceil(frames * bits_of_frame / 8)
    one_more = math.ceil((frames + 1) * bits_of_frame / 8)
    padding = expected % 2
    holds_more = stored >= one_more and stored > expected + padding
    if one_more > expected and holds_more:
        raise describe_excess_frames(frames)
