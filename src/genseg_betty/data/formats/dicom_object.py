"""Whether a DICOM object is an image that can be read: many hold contours, doses, reports or masks of other kinds."""

from typing import TYPE_CHECKING

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.dicom_header import (
    COLOURS,
    GRAYS,
    MAX_SHOWN,
    PALETTE,
    read_interpretation,
    read_whole,
)

if TYPE_CHECKING:
    from pydicom import Dataset

EXPECTED = "a DICOM image"
SEGMENTATION = "SEG"
ADVICE = {
    SEGMENTATION: "convert it to NIfTI, for example with 3D Slicer",
    "RTSTRUCT": "convert its contours to a NIfTI mask, for example with 3D Slicer",
    "RTDOSE": "give the images that the dose was planned on",
}
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # bits, and a map of labels


def require_image(data: "Dataset") -> None:
    """Raise ImageError for objects that hold no image, for masks of other kinds, and for parts of an image."""
    modality = _find_modality(data)
    if modality in ADVICE or not _states_sides(data):
        raise _describe_other_object(data, modality)
    _require_whole_image(data)
    _require_known_colours(data)


def _states_sides(data: "Dataset") -> bool:
    """Whether a file says how high and how wide its image is."""
    rows = read_whole(data, "Rows")
    return rows is not None and read_whole(data, "Columns") is not None


def _find_modality(data: "Dataset") -> str:
    """The modality that a file states; that of a segmentation follows from the kind of its object."""
    if data.get("SOPClassUID") in SEGMENTATIONS:
        return SEGMENTATION
    stated = data.get("Modality") or ""
    return str(stated)


def _describe_other_object(data: "Dataset", modality: str) -> ImageError:
    """The fault of a file that holds no plain image, or does not state the sides of one."""
    kind = data.get("SOPClassUID")
    name = str(getattr(kind, "name", ""))
    may_be_image = not name or "Image" in name
    if modality not in ADVICE and may_be_image:
        cause = "it does not state its rows and columns, so it may be cut short"
        return ImageError("unreadable", f"cannot be read ({cause}); expected {EXPECTED}")
    advice = ADVICE.get(modality, "move it away")
    found = name or modality
    return ImageError("unreadable", f"is no plain image but a {found}; expected {EXPECTED}, {advice}")


def _require_whole_image(data: "Dataset") -> None:
    """Raise ImageError for one of the several files over which a long image may be distributed."""
    parts = read_whole(data, "InConcatenationTotalNumber")
    part = read_whole(data, "InConcatenationNumber")
    if (parts or part or 1) > 1:
        number = part or "?"
        count = parts or "several"
        raise ImageError(
            "unreadable",
            f"is part {number} of the {count} of a concatenation; expected a whole image, join its parts or convert "
            "it to NIfTI with dcm2niix",
        )


def _require_known_colours(data: "Dataset") -> None:
    """Raise ImageError for an unknown way to show gray or colour, and for a number of values that does not fit it."""
    found = read_interpretation(data)
    samples = read_whole(data, "SamplesPerPixel") or 1
    expected = 3 if found in COLOURS and found != PALETTE else 1
    is_known = found in GRAYS + COLOURS
    if found and (not is_known or samples != expected):
        shown = found[:MAX_SHOWN]
        known = ", ".join(GRAYS + COLOURS)
        raise ImageError(
            "unreadable",
            f"has {samples} samples a pixel of {shown}; expected one of {known}, save it as MONOCHROME2 or RGB",
        )
