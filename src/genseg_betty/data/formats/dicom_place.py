"""Where the slices of a DICOM series, or the frames of one file, lie in the patient.

Each states the place of its first pixel and the directions of its rows and columns (PS3.3 C.7.6.2, for frames
C.7.6.16.2). No number of a file or frame is taken for a place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.dicom_header import read_number, read_numbers, read_sizes

if TYPE_CHECKING:
    from pydicom import Dataset

SHARED_GROUPS = "SharedFunctionalGroupsSequence"
GROUPS_OF_FRAMES = "PerFrameFunctionalGroupsSequence"


@dataclass(frozen=True, eq=False)
class Plane:
    """Where one slice or frame lies, in mm and in DICOM's axes: to the left, the back and the head."""

    name: str  # of its file, or which frame it is
    position: tuple[float, ...] | None  # of the centre of the first pixel
    directions: tuple[float, ...] | None  # of a row, then of a column: 2 unit vectors
    spacing: tuple[float, ...] | None  # of rows and of columns
    thickness: float | None  # of a slice that lies alone

    @property
    def is_placed(self) -> bool:
        return self.position is not None and self.directions is not None


def has_frame_groups(data: "Dataset") -> bool:
    """Whether a file describes its frames one by one (enhanced objects)."""
    return _holds_items(data, SHARED_GROUPS) or _holds_items(data, GROUPS_OF_FRAMES)


def _holds_items(data: "Dataset", sequence: str) -> bool:
    """Whether a sequence is there and not empty."""
    return sequence in data and bool(data[sequence].value)


def find_frame_groups(data: "Dataset", sequence: str) -> list["Dataset"]:
    """What describes each frame: a functional group of its own, one shared by all, else the file's own header.

    Raises ImageError where the file describes more or fewer frames than it holds.
    """
    if not has_frame_groups(data):
        return [data]
    frames, _, _ = read_sizes(data)
    groups_of_frames = _list_items(data, GROUPS_OF_FRAMES)
    shared = _list_items(data, SHARED_GROUPS)[:1]
    if not groups_of_frames:
        described = _find_first_item(shared, sequence, data)
        return [described] * frames
    if len(groups_of_frames) != frames:
        described_frames = len(groups_of_frames)
        message = f"describes {described_frames} frames and holds {frames}; expected as many, export it anew"
        raise ImageError("unreadable", message)
    return [_find_first_item([own, *shared], sequence, data) for own in groups_of_frames]


def _find_first_item(groups: Sequence["Dataset"], sequence: str, otherwise: "Dataset") -> "Dataset":
    """The first item that one of the groups holds in a sequence, `otherwise` where none holds any."""
    all_items = [_list_items(group, sequence) for group in groups]
    for items in all_items:
        if items:
            return items[0]
    return otherwise


def _list_items(data: "Dataset", sequence: str) -> list["Dataset"]:
    """The items of a sequence, none where it is absent or empty."""
    return list(data.get(sequence) or ())


def read_planes(data: "Dataset", name: str = "") -> list[Plane]:
    """Where each frame lies that a file describes; a file without functional groups describes its first alone."""
    positions = find_frame_groups(data, "PlanePositionSequence")
    orientations = find_frame_groups(data, "PlaneOrientationSequence")
    measures = find_frame_groups(data, "PixelMeasuresSequence")
    planes = []
    for index, position in enumerate(positions):
        plane = Plane(
            name=name or f"frame {index + 1}",
            position=read_numbers(position, "ImagePositionPatient", 3),
            directions=read_numbers(orientations[index], "ImageOrientationPatient", 6),
            spacing=_read_pixel_spacing(measures[index]),
            thickness=_read_thickness(measures[index]),
        )
        planes.append(plane)
    return planes


def _read_pixel_spacing(measures: "Dataset") -> tuple[float, ...] | None:
    """The spacing of rows and of columns, on the detector where a projection states that alone."""
    in_patient = read_numbers(measures, "PixelSpacing", 2)
    return in_patient or read_numbers(measures, "ImagerPixelSpacing", 2)


def _read_thickness(measures: "Dataset") -> float | None:
    """The distance to the next slice, else the slice's own thickness."""
    between = read_number(measures, "SpacingBetweenSlices")
    return between or read_number(measures, "SliceThickness")
