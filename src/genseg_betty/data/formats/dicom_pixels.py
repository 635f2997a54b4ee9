"""What the stored values of a DICOM file stand for: intensities, or colours.

Intensities are those after the modality's rescale or table, of each slice or frame its own. The window of display is
left alone: it says how a slice is best looked at, not what was measured.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.dicom_header import (
    INVERTED,
    PALETTE,
    read_interpretation,
    read_number,
    read_whole,
)
from genseg_betty.data.formats.dicom_object import EXPECTED
from genseg_betty.data.formats.dicom_place import find_frame_groups
from genseg_betty.data.formats.dicom_stored import read_stored

if TYPE_CHECKING:
    from pydicom import Dataset

BYTE = 256  # values that 8 bits can hold
UNCHANGED = (1.0, 0.0)  # slope and intercept of values that are what they are stored as


def read_intensities(data: "Dataset", inversion_sum: float | None = None) -> np.ndarray:
    """[H, W, C] or [D, H, W, C], what the stored values stand for: intensities after the rescale, or RGB.

    Intensities of MONOCHROME1, where large values are dark, are subtracted from `inversion_sum`. By default that is the
    lowest plus the highest intensity that this file's values may stand for. Raises ImageError.
    """
    values = read_stored(data)
    try:
        if read_interpretation(data) == PALETTE:
            return _apply_palette(values[..., 0], data)
        if values.shape[-1] > 1:
            return values
        values = _apply_rescale(values, data)
    except ImageError:
        raise
    except Exception as error:  # tables may be shorter than they say
        raise ImageError("unreadable", f"cannot be read ({error}); expected {EXPECTED}") from error
    if read_interpretation(data) != INVERTED:
        return values
    if inversion_sum is None:
        inversion_sum = sum(measure_reach(data))
    return inversion_sum - values


def measure_reach(data: "Dataset") -> tuple[float, float]:
    """The lowest and the highest intensity that stored values may stand for, whatever this file holds."""
    table = list(data.get("ModalityLUTSequence") or ())
    if table:
        depth = int(table[0].LUTDescriptor[2])
        highest_entry = 2**depth - 1
        return 0.0, float(highest_entry)
    lowest, highest = _find_stored_range(data)
    ends = []
    for slope, intercept in set(_list_rescales(data)):
        ends.append(lowest * slope + intercept)
        ends.append(highest * slope + intercept)
    return min(ends), max(ends)


def _find_stored_range(data: "Dataset") -> tuple[int, int]:
    """The lowest and the highest value that the bits of a file can store."""
    bits = read_whole(data, "BitsStored")
    if bits is None or not 0 < bits <= 64:
        message = f"states BitsStored as {bits}; expected the bits of a {INVERTED} value"
        raise ImageError("unreadable", message)
    is_signed = read_whole(data, "PixelRepresentation")
    if is_signed:
        half = 2 ** (bits - 1)
        return -half, half - 1
    return 0, 2**bits - 1


def read_stated_rescale(data: "Dataset") -> tuple[float, float] | None:
    """Slope and intercept that a slice states, UNCHANGED for a table; None for neither.

    Raises ImageError for a slope of 0.
    """
    if data.get("ModalityLUTSequence"):
        return UNCHANGED
    groups = find_frame_groups(data, "PixelValueTransformationSequence")
    return _read_rescale(groups[0])


def _read_rescale(group: "Dataset") -> tuple[float, float] | None:
    """Slope and intercept that a group states, by default 1 and 0; None where it states neither."""
    slope = read_number(group, "RescaleSlope")
    intercept = read_number(group, "RescaleIntercept")
    if slope == 0:
        raise ImageError("unreadable", "states a RescaleSlope of 0; expected another number, mend its header")
    if slope is None and intercept is None:
        return None
    if slope is None:
        slope = 1.0
    return slope, intercept or 0.0


def _list_rescales(data: "Dataset") -> list[tuple[float, float]]:
    """Slope and intercept of each frame that the file describes, UNCHANGED where none states any.

    Raises ImageError where some frames state none and others do.
    """
    groups = find_frame_groups(data, "PixelValueTransformationSequence")
    stated = [_read_rescale(group) for group in groups]
    without = stated.count(None)
    if without and any_has_effect(stated):
        raise ImageError(
            "unreadable",
            f"holds {without} of {len(stated)} frames that state no rescale, as the others do; "
            "expected it of each, mend its header",
        )
    return [rescale or UNCHANGED for rescale in stated]


def any_has_effect(rescales: Sequence[tuple[float, float] | None]) -> bool:
    """Whether one of the rescales is stated and changes values."""
    return any(rescale not in (None, UNCHANGED) for rescale in rescales)


def _apply_rescale(values: np.ndarray, data: "Dataset") -> np.ndarray:
    """Intensities from stored values, by the table or the rescales of a file."""
    from pydicom.pixels import apply_modality_lut

    if data.get("ModalityLUTSequence"):
        return apply_modality_lut(values, data)
    rescales = _list_rescales(data)
    distinct = set(rescales)
    if distinct == {UNCHANGED}:
        return values
    if len(distinct) == 1:
        slope, intercept = rescales[0]
        scaled = values.astype(np.float64) * slope
        scaled += intercept
        return scaled
    intensities = np.empty(values.shape, np.float32)
    for frame, (slope, intercept) in enumerate(rescales):
        stored = values[frame].astype(np.float64)
        intensities[frame] = stored * slope + intercept
    return intensities


def _apply_palette(values: np.ndarray, data: "Dataset") -> np.ndarray:
    """[..., 3] colours from places in the palette. Raises ImageError for a palette that pydicom would misread."""
    from pydicom.pixels import apply_color_lut

    stated_entries = int(data.RedPaletteColorLookupTableDescriptor[0])
    entries = stated_entries or 2**16  # 0 stands for 2^16
    table = data.get("RedPaletteColorLookupTableData") or b""
    is_of_bytes = entries > BYTE and len(table) <= entries + 1
    if is_of_bytes or not data.file_meta.TransferSyntaxUID.is_little_endian:
        raise ImageError(
            "unreadable",
            "has a palette of more than 256 colours of 8 bits, in segments, or big endian; expected a plain one, "
            "save it as RGB",
        )
    colours = apply_color_lut(values, data)
    return colours[..., :3]
