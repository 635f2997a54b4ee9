"""The parallel planes of a DICOM series, or of the frames of one file, as one volume.

Slices of one volume are parallel, lie straight above one another at equal distances, and are put in order along their
normal. Slices that do not fit that are refused.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.dicom_place import Plane
from genseg_betty.data.formats.place import LPS_TO_RAS
from genseg_betty.faults import list_first

UNEVEN = 0.1  # relative difference of slice distances from which a slice is taken to be missing
PARALLEL = 0.01  # difference of directions, as components of vectors of length 1
SAME_SIZE = 0.001  # mm up to which the sides of two pixels are one, written with other digits
STRAIGHT = 0.01  # shift to the side, as a share of the way along the normal: half a degree of tilt
LEAST_HEIGHT = 1e-6  # mm along the normal that a shift is compared with


@dataclass(frozen=True, eq=False)
class Stack:
    """Parallel planes as a volume: their order along the normal, voxels in mm (D, H, W), and voxels to RAS+ in mm."""

    order: list[int]
    spacing: tuple[float, ...] | None = None
    affine: np.ndarray | None = None


def stack_planes(planes: Sequence[Plane]) -> Stack:
    """Put parallel planes in order. Raises ImageError for planes that are not the slices of one volume."""
    alone = len(planes) == 1
    if alone and not planes[0].is_placed:
        spacing = _combine_spacing(planes[0].thickness, planes[0])
        return Stack([0], spacing)
    _require_places(planes)
    normal = _find_common_normal(planes)
    if not alone:
        _require_pixel_spacing(planes)

    # A slice's height is where the normal meets its plane.
    positions = np.array([plane.position for plane in planes])
    heights = positions @ normal
    by_height = np.argsort(heights, kind="stable")
    order = [int(index) for index in by_height]
    in_order = [planes[index] for index in order]
    names = [plane.name for plane in in_order]
    _require_equal_distances(heights[order], names)
    _require_straight(positions[order], normal)

    first = in_order[0]
    between = first.thickness
    if not alone:
        length = float(heights.max() - heights.min())
        between = length / (len(planes) - 1)
    spacing = _combine_spacing(between, first)
    if spacing is None:
        return Stack(order)
    affine = _compute_affine(first, normal, spacing)
    return Stack(order, spacing, affine)


def _combine_spacing(between: float | None, plane: Plane) -> tuple[float, ...] | None:
    """The spacing of slices, rows and columns; None where one of them is not known."""
    if not between or not plane.spacing:
        return None
    distance = abs(float(between))
    return (distance, *plane.spacing)


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
    length_error = abs(lengths - 1).max()
    cosine = abs(found[0] @ found[1])
    if length_error > PARALLEL or cosine > PARALLEL:
        components = [f"{component:g}" for component in found.ravel()]
        stated = ", ".join(components)
        raise ImageError(
            "unreadable",
            f"states directions ({stated}) in {plane.name}; expected two perpendicular vectors of length 1, "
            "mend ImageOrientationPatient",
        )
    directions: np.ndarray = found / lengths
    return directions


def _find_common_normal(planes: Sequence[Plane]) -> np.ndarray:
    """[3], of length 1. Raises ImageError for planes of several directions or pixel sizes."""
    usual = _find_most_common([plane.directions for plane in planes])
    _require_parallel(planes, usual)
    _require_one_pixel_size(planes)
    like_most = next(plane for plane in planes if plane.directions == usual)
    along_row, along_column = _read_directions(like_most)
    normal = np.cross(along_row, along_column)
    unit: np.ndarray = normal / np.linalg.norm(normal)
    return unit


def _find_most_common(values: Sequence[tuple[float, ...] | None]) -> tuple[float, ...] | None:
    """The value that occurs most often, of several the first."""
    [(value, _)] = Counter(values).most_common(1)
    return value


# -- what is refused -----------------------------------------------------------------------------------------------


def _require_places(planes: Sequence[Plane]) -> None:
    """Raise ImageError for slices that do not say where they lie."""
    unplaced = [plane.name for plane in planes if not plane.is_placed]
    if unplaced:
        slices = len(planes)
        raise ImageError(
            "unreadable",
            f"holds {slices} slices of which {len(unplaced)} do not say where they lie ({list_first(unplaced)}); "
            "expected ImagePositionPatient and ImageOrientationPatient: export the series with them, "
            "or convert it to NIfTI where its slices are known to be in order",
        )


def _require_pixel_spacing(planes: Sequence[Plane]) -> None:
    """Raise ImageError for slices that do not say how large their pixels are."""
    if planes[0].spacing is None:
        raise ImageError(
            "unreadable",
            f"holds {len(planes)} slices that say where they lie, and not how large their pixels are; "
            "expected PixelSpacing, mend their headers or convert to NIfTI",
        )


def _require_parallel(planes: Sequence[Plane], usual: tuple[float, ...] | None) -> None:
    """Raise ImageError for slices of other directions than the usual ones."""
    directions = [plane.directions for plane in planes]
    turned = _name_unlike(planes, directions, usual, PARALLEL)
    if turned:
        raise ImageError(
            "unreadable",
            f"holds {len(turned)} of {len(planes)} slices that are turned against the others ({list_first(turned)}); "
            "expected parallel slices, a localizer may lie among them; give each series a folder of its own",
        )


def _require_one_pixel_size(planes: Sequence[Plane]) -> None:
    """Raise ImageError for slices whose pixels are of another size than those of most."""
    spacings = [plane.spacing for plane in planes]
    usual = _find_most_common(spacings)
    other = _name_unlike(planes, spacings, usual, SAME_SIZE)
    if other:
        raise ImageError(
            "unreadable",
            f"holds {len(other)} of {len(planes)} slices whose pixels have another size ({list_first(other)}); "
            "expected one PixelSpacing, give each series a folder of its own",
        )


def _name_unlike(
    planes: Sequence[Plane],
    values: Sequence[tuple[float, ...] | None],
    usual: tuple[float, ...] | None,
    tolerance: float,
) -> list[str]:
    """The names of the planes whose value is not the usual one."""
    names = []
    for plane, value in zip(planes, values, strict=True):
        if not _are_alike(value, usual, tolerance):
            names.append(plane.name)
    return names


def _are_alike(own: tuple[float, ...] | None, usual: tuple[float, ...] | None, tolerance: float) -> bool:
    if own is None or usual is None:
        return own == usual
    return np.allclose(own, usual, rtol=0, atol=tolerance)


def _require_equal_distances(heights: np.ndarray, names: Sequence[str]) -> None:
    """Raise ImageError for slices at one place, and for gaps."""
    steps = np.diff(heights)
    if not len(steps):
        return
    # Two slices at one place are no gap: without them the distances say more.
    _require_distinct_places(steps, names)
    _require_no_gap(steps, names)


def _require_distinct_places(steps: np.ndarray, names: Sequence[str]) -> None:
    """Raise ImageError for slices that lie at one place."""
    usual = float(np.median(steps))
    longest = float(steps.max())
    negligible = UNEVEN * max(usual, longest * UNEVEN)  # the usual step is 0 where each slice has copies
    same = np.flatnonzero(steps <= negligible)
    if len(same):
        slices = len(names)
        places = slices - len(same)
        first = int(same[0])
        one, other = names[first], names[first + 1]
        raise ImageError(
            "unreadable",
            f"holds {slices} slices at {places} places ({one} and {other} at one); "
            "expected one slice at each place: time points, echoes or copies of one slice lie among them, "
            "give each volume a folder or file of its own",
        )


def _require_no_gap(steps: np.ndarray, names: Sequence[str]) -> None:
    """Raise ImageError for a distance that is not about the usual one: a slice is missing there."""
    usual = float(np.median(steps))
    shortest, longest = steps.min(), steps.max()
    if shortest < (1 - UNEVEN) * usual or longest > (1 + UNEVEN) * usual:
        widest = int(steps.argmax())
        below, above = names[widest], names[widest + 1]
        raise ImageError(
            "unreadable",
            f"has slices {shortest:.3g} to {longest:.3g} mm apart; expected equal distances, "
            f"one is missing between {below} and {above}, or two series are mixed",
        )


def _require_straight(positions: np.ndarray, normal: np.ndarray) -> None:
    """Raise ImageError for slices that are shifted to the side against each other, as by a tilted gantry."""
    ways = positions - positions[0]
    along = ways @ normal
    aside = ways - along[:, None] * normal
    shifts = np.linalg.norm(aside, axis=1)
    widest = shifts.max()
    if widest > STRAIGHT * max(along[-1], LEAST_HEIGHT):
        tilt = np.arctan2(shifts[-1], along[-1])
        angle = np.degrees(tilt)
        raise ImageError(
            "unreadable",
            f"has slices shifted to the side by up to {widest:.3g} mm (a tilt of {angle:.3g} degrees); "
            "expected slices straight above one another: convert the series with dcm2niix, which corrects a tilt",
        )
