"""The pixels of a DICOM file: stored values, and the intensities or colours that they stand for.

Intensities are those after the modality's rescale or table, of each slice or frame its own. The window of display is
left alone: it says how a slice is best looked at, not what was measured.
"""

import io
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.dicom_file import EXPECTED, interpretation, number, sizes, whole
from genseg_betty.data.formats.dicom_place import frame_groups
from genseg_betty.data.formats.jpeg import frame_size, require_few_scans

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.pixels.decoders.base import Decoder
    from pydicom.uid import UID

INSTALL = "pip install 'genseg-betty[dicom]'"
MAX_RLE = 2**24  # bytes of a run-length encoded frame, which may decode to 64 times as many
BYTE = 256  # values that 8 bits can hold


def read_stored(data: "Dataset") -> np.ndarray:
    """[H, W, C] or [D, H, W, C] values as stored, frames in the file's order; YCbCr as RGB. Raises ImageError."""
    frames, rows, columns = sizes(data)
    bits, highest = whole(data, "BitsStored"), whole(data, "HighBit")
    if bits and highest is not None and highest != bits - 1:
        message = f"keeps {bits} bits a value, the highest in place {highest}; expected it in place {bits - 1}"
        raise ImageError("unreadable", f"{message}, export it anew")
    if "NumberOfFrames" in data and not data.NumberOfFrames:
        del data.NumberOfFrames  # pydicom asks for a number
    syntax = data.file_meta.TransferSyntaxUID
    advice = _require_decoder(syntax, bits or 0)
    try:
        _check_frames(data, (rows, columns))
        data.pixel_array_options(allow_excess_frames=False)
        shape = (rows, columns) if frames == 1 else (frames, rows, columns)
        return np.asarray(data.pixel_array).reshape((*shape, -1))
    except ImageError:
        raise
    except Exception as error:  # a damaged file fails in any of the decoders
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError("unreadable", f"cannot be read ({reason[:300]}); expected {EXPECTED}{advice}") from error


def read_intensities(data: "Dataset", turn: float | None = None) -> np.ndarray:
    """[H, W, C] or [D, H, W, C], what the stored values stand for: intensities after the rescale, or RGB.

    MONOCHROME1, where large values are dark, is turned round: `turn` minus the intensity, by default the sum of what
    this file's own values may reach. Raises ImageError.
    """
    values = read_stored(data)
    try:
        if interpretation(data) == "PALETTE COLOR":
            return _coloured(values[..., 0], data)
        if values.shape[-1] > 1:
            return values
        values = _rescaled(values, data)
    except ImageError:
        raise
    except Exception as error:  # tables may be shorter than they say
        raise ImageError("unreadable", f"cannot be read ({error}); expected {EXPECTED}") from error
    if interpretation(data) == "MONOCHROME1":
        values = (sum(reach(data)) if turn is None else turn) - values
    return values


def reach(data: "Dataset") -> tuple[float, float]:
    """The lowest and the highest intensity that stored values may stand for, whatever this file holds."""
    table = list(data.get("ModalityLUTSequence") or ())
    if table:
        return 0.0, float(2 ** int(table[0].LUTDescriptor[2]) - 1)
    bits = whole(data, "BitsStored")
    if bits is None or not 0 < bits <= 64:
        raise ImageError("unreadable", f"states BitsStored as {bits}; expected the bits of a MONOCHROME1 value")
    signed = whole(data, "PixelRepresentation")
    stored = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    ends = [value * slope + intercept for slope, intercept in set(_rescales(data)) for value in stored]
    return min(ends), max(ends)


def _rescales(data: "Dataset") -> list[tuple[float, float]]:
    """Slope and intercept of each frame that the file describes; 1 and 0 where it states none."""
    found = []
    for one in frame_groups(data, "PixelValueTransformationSequence"):
        slope, intercept = number(one, "RescaleSlope"), number(one, "RescaleIntercept")
        if slope == 0:
            raise ImageError("unreadable", "states a RescaleSlope of 0; expected another number, mend its header")
        found.append((1.0 if slope is None else slope, intercept or 0.0))
    return found


def _rescaled(values: np.ndarray, data: "Dataset") -> np.ndarray:
    from pydicom.pixels import apply_modality_lut

    if data.get("ModalityLUTSequence"):
        return apply_modality_lut(values, data)
    rescales = _rescales(data)
    if set(rescales) == {(1.0, 0.0)}:
        return values
    if len(set(rescales)) == 1:
        slope, intercept = rescales[0]
        scaled = values.astype(np.float64) * slope
        scaled += intercept
        return scaled
    out = np.empty(values.shape, np.float32)
    for frame, (slope, intercept) in enumerate(rescales):
        out[frame] = values[frame].astype(np.float64) * slope + intercept
    return out


def _coloured(values: np.ndarray, data: "Dataset") -> np.ndarray:
    """[..., 3] colours from places in the palette."""
    from pydicom.pixels import apply_color_lut

    entries, _, _ = (int(one) for one in data.RedPaletteColorLookupTableDescriptor)
    plain = data.get("RedPaletteColorLookupTableData") or b""
    narrow = (entries or 2**16) > BYTE and (len(plain) <= (entries or 2**16) + 1 or not plain)
    if narrow or not data.file_meta.TransferSyntaxUID.is_little_endian:
        message = "has a palette of more than 256 colours of 8 bits, in segments, or big endian; expected a plain one"
        raise ImageError("unreadable", f"{message}, save it as RGB")
    return apply_color_lut(values, data)[..., :3]


def _require_decoder(syntax: "UID", bits: int) -> str:
    """What else could be installed for these pixels, to end a sentence. Raises ImageError without any decoder."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGExtended12Bit

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        message = f"is compressed as {syntax.name}, which is not read; expected another transfer syntax"
        raise ImageError("unreadable", f"{message}, convert it to Explicit VR Little Endian") from error
    needed = _packages(decoder)
    beyond_pillow = syntax == JPEGExtended12Bit and bits > 8 and decoder.available_plugins == ("pillow",)
    if beyond_pillow or not decoder.is_available:
        message = f"is compressed as {syntax.name}, for which no decoder is installed"
        raise ImageError("unreadable", f"{message}; expected one: {INSTALL}, or alone {needed}")
    return f"; if it is sound, another decoder may read it: {needed}" if syntax.is_encapsulated and needed else ""


def _packages(decoder: "Decoder") -> str:
    """How to install what pydicom can decode this by: JPEG-LS by pyjpegls, all else by pylibjpeg and its plugins."""
    required = dict(line.split(" - requires ") for line in decoder.missing_dependencies)
    chosen = required.get("pyjpegls") or required.get("pylibjpeg") or ""
    names = [name.split(">=")[0] for name in chosen.split(" and ") if name and name != "numpy"]
    return f"pip install {' '.join(names)}" if names else ""


def _check_frames(data: "Dataset", sides: tuple[int, int]) -> None:
    """Raise ImageError for compressed frames that would decode to more than their header says."""
    from pydicom.encaps import generate_frames
    from pydicom.pixels.utils import as_pixel_options
    from pydicom.uid import RLELossless

    syntax = data.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return
    options = as_pixel_options(data)
    count, offsets = options["number_of_frames"], options.get("extended_offsets")
    frames = generate_frames(data.PixelData, number_of_frames=count, extended_offsets=offsets)
    for frame in itertools.islice(frames, count):
        if syntax == RLELossless and len(frame) > MAX_RLE:
            message = f"holds {len(frame) / 1e6:.0f} MB of run-length encoded values in a frame; expected at most "
            raise ImageError("too_large", f"{message}{MAX_RLE / 1e6:.0f} MB, save it uncompressed")
        for size in _sizes_of_frame(frame):
            if size != sides[::-1]:
                found, expected = ("x".join(map(str, one)) for one in (size, sides[::-1]))
                raise ImageError("unreadable", f"holds a frame of {found} pixels; expected {expected}, as its header")


def _sizes_of_frame(frame: bytes) -> list[tuple[int, int]]:
    """Width and height that a compressed frame states. Raises ImageError for a JPEG frame of too many scans."""
    from PIL import Image, UnidentifiedImageError

    if stated := frame_size(frame):
        require_few_scans(frame)
        return [stated]
    with suppress(UnidentifiedImageError), Image.open(io.BytesIO(frame), formats=("JPEG2000",)) as picture:
        return [picture.size]
    return []
