"""Where the slices of a DICOM series, or the frames of one file, lie in the patient.

Each states the place of its first pixel and the directions of its rows and columns (PS3.3 C.7.6.2, for frames
C.7.6.16.2). Slices of one volume are parallel, lie straight above one another at equal distances, and are put in
order along their normal. What does not fit that is refused: no number of a file or frame is taken for a place.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.dicom_file import read_number, read_numbers, read_sizes
from genseg_betty.data.formats.place import LPS_TO_RAS
from genseg_betty.faults import list_first

if TYPE_CHECKING:
    from pydicom import Dataset

UNEVEN = 0.1  # relative difference of slice distances from which a slice is taken to be missing
PARALLEL = 0.01  # difference of directions, as components of vectors of length 1
SAME_SIZE = 0.001  # mm up to which the sides of two pixels are one, written with other digits
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
STRAIGHT = 0.01  # shift to the side, as a share of the way along the normal: half a degree of tilt


@dataclass(frozen=True, eq=False)
class Plane:
    """Where one slice or frame lies, in mm and in DICOM's axes: to the left, the back and the head."""

    name: str  # of its file, or which frame it is
    position: tuple[float, ...] | None  # of the centre of the first pixel
    directions: tuple[float, ...] | None  # of a row, then of a column: 2 unit vectors
    spacing: tuple[float, ...] | None  # of rows and of columns
    thickness: float | None  # of a slice that lies alone


@dataclass(frozen=True, eq=False)
class Stack:
    """Parallel planes as a volume: their order along the normal, voxels in mm (D, H, W), and voxels to RAS+ in mm."""

    order: list[int]
    spacing: tuple[float, ...] | None = None
    affine: np.ndarray | None = None


def find_frame_groups(data: "Dataset", sequence: str) -> list["Dataset"]:
    """What describes each frame: a functional group of its own, one shared by all, else the file's own header.

    Raises ImageError where the frames that are described are not those that the file holds.
    """
    if not has_frame_groups(data):
        return [data]
    frames, _, _ = read_sizes(data)
    own = list(data.get("PerFrameFunctionalGroupsSequence") or ())
    shared = list(data.get("SharedFunctionalGroupsSequence") or ())[:1]
    if own and len(own) != frames:
        message = f"describes {len(own)} frames and holds {frames}; expected as many, export it anew"
        raise ImageError("unreadable", message)
    if not own:
        return [_find_first_item(shared, sequence, data)] * frames
    return [_find_first_item([groups, *shared], sequence, data) for groups in own]


def _find_first_item(groups: Sequence["Dataset"], sequence: str, otherwise: "Dataset") -> "Dataset":
    found = [list(one.get(sequence) or ()) for one in groups]
    return next((items[0] for items in found if items), otherwise)


def has_frame_groups(data: "Dataset") -> bool:
    """Whether a file describes its frames one by one (enhanced objects)."""
    return any(name in data and data[name].value for name in GROUPS)


def read_planes(data: "Dataset", name: str = "") -> list[Plane]:
    """Where each frame lies that a file describes; one without functional groups describes its first alone."""
    positions = find_frame_groups(data, "PlanePositionSequence")
    orientations = find_frame_groups(data, "PlaneOrientationSequence")
    measures = find_frame_groups(data, "PixelMeasuresSequence")
    found = []
    for index, position in enumerate(positions):
        plane = Plane(
            name=name or f"frame {index + 1}",
            position=read_numbers(position, "ImagePositionPatient", 3),
            directions=read_numbers(orientations[index], "ImageOrientationPatient", 6),
            spacing=_read_pixel_spacing(measures[index]),
            thickness=_read_thickness(measures[index]),
        )
        found.append(plane)
    return found


def _read_pixel_spacing(measures: "Dataset") -> tuple[float, ...] | None:
    """Of rows and of columns; on the detector where a projection states that alone."""
    return read_numbers(measures, "PixelSpacing", 2) or read_numbers(measures, "ImagerPixelSpacing", 2)


def _read_thickness(measures: "Dataset") -> float | None:
    return read_number(measures, "SpacingBetweenSlices") or read_number(measures, "SliceThickness")


def stack_planes(found: Sequence[Plane]) -> Stack:
    """Put parallel planes in order. Raises ImageError for planes that are not the slices of one volume."""
    alone = len(found) == 1
    unplaced = [plane.name for plane in found if plane.position is None or plane.directions is None]
    if alone and unplaced:
        return Stack([0], _combine_spacing(found[0].thickness, found[0]))
    if unplaced:
        raise _not_placed(len(found), unplaced)
    normal = _find_common_normal(found)
    if not alone and found[0].spacing is None:
        message = f"holds {len(found)} slices that say where they lie, and not how large their pixels are"
        raise ImageError("unreadable", f"{message}; expected PixelSpacing, mend their headers or convert to NIfTI")
    places = np.array([plane.position for plane in found])
    heights = places @ normal
    order = [int(index) for index in np.argsort(heights, kind="stable")]
    in_order = [found[index].name for index in order]
    _require_equal_distances(heights[order], in_order)
    _require_straight(places[order], normal)
    first = found[order[0]]
    length = float(heights.max() - heights.min())
    between = first.thickness if alone else length / (len(found) - 1)
    spacing = _combine_spacing(between, first)
    return Stack(order, spacing, _compute_affine(first, normal, spacing) if spacing else None)


def _not_placed(slices: int, unplaced: Sequence[str]) -> ImageError:
    message = f"holds {slices} slices of which {len(unplaced)} do not say where they lie ({list_first(unplaced)})"
    expected = "expected ImagePositionPatient and ImageOrientationPatient: export the series with them"
    otherwise = "convert it to NIfTI where its slices are known to be in order"
    return ImageError("unreadable", f"{message}; {expected}, or {otherwise}")


def _combine_spacing(between: float | None, plane: Plane) -> tuple[float, ...] | None:
    if not between or not plane.spacing:
        return None
    return (abs(float(between)), *plane.spacing)


def _compute_affine(first: Plane, normal: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """[4, 4] from voxels (along W, H, D) to mm to the right, the front and the head."""
    between, rows, columns = spacing
    along_row, along_column = _read_directions(first)
    lps = np.eye(4)
    lps[:3, 0] = along_row * columns
    lps[:3, 1] = along_column * rows
    lps[:3, 2] = normal * between
    lps[:3, 3] = first.position
    affine: np.ndarray = LPS_TO_RAS @ lps
    return affine


def _read_directions(plane: Plane) -> np.ndarray:
    """[2, 3], of length 1: along a row, along a column. Raises ImageError unless they are perpendicular."""
    found = np.array(plane.directions).reshape(2, 3)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    if abs(lengths - 1).max() > PARALLEL or abs(found[0] @ found[1]) > PARALLEL:
        stated = ", ".join(f"{value:g}" for value in found.ravel())
        message = f"states directions ({stated}) in {plane.name}; expected two perpendicular vectors of length 1"
        raise ImageError("unreadable", f"{message}, mend ImageOrientationPatient")
    directions: np.ndarray = found / lengths
    return directions


def _find_common_normal(found: Sequence[Plane]) -> np.ndarray:
    """[3], of length 1. Raises ImageError for planes of several directions or pixel sizes."""
    usual = Counter(plane.directions for plane in found).most_common(1)[0][0]
    turned = [plane.name for plane in found if not _are_alike(plane.directions, usual, PARALLEL)]
    if turned:
        message = f"holds {len(turned)} of {len(found)} slices that are turned against the others"
        advice = "a localizer may lie among them; give each series a folder of its own"
        raise ImageError("unreadable", f"{message} ({list_first(turned)}); expected parallel slices, {advice}")
    sides = Counter(plane.spacing for plane in found).most_common(1)[0][0]
    other = [plane.name for plane in found if not _are_alike(plane.spacing, sides, SAME_SIZE)]
    if other:
        message = f"holds {len(other)} of {len(found)} slices whose pixels have another size ({list_first(other)})"
        raise ImageError("unreadable", f"{message}; expected one PixelSpacing, give each series a folder of its own")
    along_row, along_column = _read_directions(next(plane for plane in found if plane.directions == usual))
    normal = np.cross(along_row, along_column)
    unit: np.ndarray = normal / np.linalg.norm(normal)
    return unit


def _are_alike(own: tuple[float, ...] | None, usual: tuple[float, ...] | None, tolerance: float) -> bool:
    if own is None or usual is None:
        return own == usual
    return np.allclose(own, usual, rtol=0, atol=tolerance)


def _require_equal_distances(heights: np.ndarray, names: Sequence[str]) -> None:
    """Raise ImageError for slices at one place, and for gaps."""
    steps = np.diff(heights)
    if not len(steps):
        return
    usual = float(np.median(steps))
    # Two slices at one place are no gap: without them the distances say more.
    same = np.flatnonzero(steps <= UNEVEN * max(usual, float(steps.max()) * UNEVEN))
    if len(same):
        distinct, first = len(names) - len(same), int(same[0])
        pair = f"{names[first]} and {names[first + 1]}"
        message = f"holds {len(names)} slices at {distinct} places ({pair} at one)"
        expected = "expected one slice at each place: time points, echoes or copies of one slice lie among them"
        raise ImageError("unreadable", f"{message}; {expected}, give each volume a folder or file of its own")
    if steps.min() < (1 - UNEVEN) * usual or steps.max() > (1 + UNEVEN) * usual:
        widest = int(steps.argmax())
        message = f"has slices {steps.min():.3g} to {steps.max():.3g} mm apart"
        where = f"one is missing between {names[widest]} and {names[widest + 1]}"
        raise ImageError("unreadable", f"{message}; expected equal distances, {where}, or two series are mixed")


def _require_straight(places: np.ndarray, normal: np.ndarray) -> None:
    """Raise ImageError for slices that are shifted to the side against each other, as by a tilted gantry."""
    ways = places - places[0]
    along = ways @ normal
    shifts = np.linalg.norm(ways - along[:, None] * normal, axis=1)
    if shifts.max() > STRAIGHT * max(along[-1], 1e-6):
        angle = np.degrees(np.arctan2(shifts[-1], along[-1]))
        message = f"has slices shifted to the side by up to {shifts.max():.3g} mm (a tilt of {angle:.3g} degrees)"
        expected = "expected slices straight above one another: convert the series with dcm2niix, which corrects a tilt"
        raise ImageError("unreadable", f"{message}; {expected}")
