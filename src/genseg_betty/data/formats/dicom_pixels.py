"""What the stored values of a DICOM file stand for: intensities, or colours.

Intensities are those after the modality's rescale or table, of each slice or frame its own. The window of display is
left alone: it says how a slice is best looked at, not what was measured.
"""

from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.dicom_file import EXPECTED, read_interpretation, read_number, read_whole
from genseg_betty.data.formats.dicom_place import find_frame_groups
from genseg_betty.data.formats.dicom_stored import read_stored

if TYPE_CHECKING:
    from pydicom import Dataset

BYTE = 256  # values that 8 bits can hold
TURNED = "MONOCHROME1"  # large values are dark
UNCHANGED = (1.0, 0.0)  # slope and intercept of values that are what they are stored as


def read_intensities(data: "Dataset", turn: float | None = None) -> np.ndarray:
    """[H, W, C] or [D, H, W, C], what the stored values stand for: intensities after the rescale, or RGB.

    MONOCHROME1, where large values are dark, is turned round: `turn` minus the intensity, by default the sum of what
    this file's own values may reach. Raises ImageError.
    """
    values = read_stored(data)
    try:
        if read_interpretation(data) == "PALETTE COLOR":
            return _apply_palette(values[..., 0], data)
        if values.shape[-1] > 1:
            return values
        values = _apply_rescale(values, data)
    except ImageError:
        raise
    except Exception as error:  # tables may be shorter than they say
        raise ImageError("unreadable", f"cannot be read ({error}); expected {EXPECTED}") from error
    if read_interpretation(data) != TURNED:
        return values
    if turn is None:
        turn = sum(measure_reach(data))
    return turn - values


def measure_reach(data: "Dataset") -> tuple[float, float]:
    """The lowest and the highest intensity that stored values may stand for, whatever this file holds."""
    table = list(data.get("ModalityLUTSequence") or ())
    if table:
        depth = int(table[0].LUTDescriptor[2])
        return 0.0, float(2**depth - 1)
    bits = read_whole(data, "BitsStored")
    if bits is None or not 0 < bits <= 64:
        raise ImageError("unreadable", f"states BitsStored as {bits}; expected the bits of a {TURNED} value")
    lowest, highest = 0, 2**bits - 1
    if read_whole(data, "PixelRepresentation"):
        lowest = -(2 ** (bits - 1))
        highest = -lowest - 1
    rescales = set(_list_rescales(data))
    ends = [value * slope + intercept for slope, intercept in rescales for value in (lowest, highest)]
    return min(ends), max(ends)


def stated_rescale(data: "Dataset") -> tuple[float, float] | None:
    """Slope and intercept that a slice states, UNCHANGED for a table; None for neither.

    Raises ImageError for a slope of 0.
    """
    if data.get("ModalityLUTSequence"):
        return UNCHANGED
    return _read_rescale(find_frame_groups(data, "PixelValueTransformationSequence")[0])


def _read_rescale(group: "Dataset") -> tuple[float, float] | None:
    slope, intercept = read_number(group, "RescaleSlope"), read_number(group, "RescaleIntercept")
    if slope == 0:
        raise ImageError("unreadable", "states a RescaleSlope of 0; expected another number, mend its header")
    if slope is None and intercept is None:
        return None
    return 1.0 if slope is None else slope, intercept or 0.0


def _list_rescales(data: "Dataset") -> list[tuple[float, float]]:
    """Slope and intercept of each frame that the file describes, UNCHANGED where none states any.

    Raises ImageError where some frames state none and others do.
    """
    found = [_read_rescale(group) for group in find_frame_groups(data, "PixelValueTransformationSequence")]
    without = found.count(None)
    if without and {*found} - {None, UNCHANGED}:
        message = f"holds {without} of {len(found)} frames that state no rescale, as the others do"
        raise ImageError("unreadable", f"{message}; expected it of each, mend its header")
    return [rescale or UNCHANGED for rescale in found]


def _apply_rescale(values: np.ndarray, data: "Dataset") -> np.ndarray:
    from pydicom.pixels import apply_modality_lut

    if data.get("ModalityLUTSequence"):
        return apply_modality_lut(values, data)
    rescales = _list_rescales(data)
    if set(rescales) == {UNCHANGED}:
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


def _apply_palette(values: np.ndarray, data: "Dataset") -> np.ndarray:
    """[..., 3] colours from places in the palette. Raises ImageError for a palette that pydicom would misread."""
    from pydicom.pixels import apply_color_lut

    entries = int(data.RedPaletteColorLookupTableDescriptor[0]) or 2**16  # 0 stands for 2^16
    stored = len(data.get("RedPaletteColorLookupTableData") or b"")
    of_bytes = entries > BYTE and stored <= entries + 1
    if of_bytes or not data.file_meta.TransferSyntaxUID.is_little_endian:
        message = "has a palette of more than 256 colours of 8 bits, in segments, or big endian; expected a plain one"
        raise ImageError("unreadable", f"{message}, save it as RGB")
    return apply_color_lut(values, data)[..., :3]
