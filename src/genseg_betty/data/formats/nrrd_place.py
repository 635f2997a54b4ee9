"""Where an NRRD image lies: its space, its units, and the steps along its axes of space.

Format: https://teem.sourceforge.net/nrrd/format.html
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from genseg_betty.data.formats.common import Header
from genseg_betty.data.formats.place import affine_from_axes

# The signs that lead from a space to RAS. ITK takes a space without a name, and a scanner's, for LPS, and so do we.
RAS = (1, 1, 1)
LAS = (-1, 1, 1)
LPS = (-1, -1, 1)
TO_RAS = {
    "right-anterior-superior": RAS,
    "ras": RAS,
    "rast": RAS,
    "left-anterior-superior": LAS,
    "las": LAS,
    "last": LAS,
    "left-posterior-superior": LPS,
    "lps": LPS,
    "lpst": LPS,
    "": LPS,
    "scanner-xyz": LPS,
    "3d-right-handed": LPS,
    "3d-left-handed": LPS,
}
# Of the units that a header may name; others are taken for mm.
MILLIMETRES = {
    "m": 1000.0,
    "cm": 10.0,
    "um": 0.001,
    "µm": 0.001,
    "micron": 0.001,
    "microns": 0.001,
}


def find_directions(fields: Mapping[str, Any]) -> Any:
    """The steps [axes, dimensions] of the header's axes, NaN for axes that have none; None where no axis has one."""
    directions = fields.get("space directions")
    if directions is None:
        return None
    says_none_of_each = np.shape(directions)[1:] == (0,)
    return None if says_none_of_each else directions


def describe_place(fields: Mapping[str, Any], sizes: tuple[int, ...], axes: list[int], directions: Any) -> Header:
    """The shape along the axes of space; its place where there are directions, else the spacing alone.

    Args:
        sizes: of all axes, the fastest first.
        axes: those among them that are of space.
        directions: as `find_directions` gives them.

    Raises ValueError for a space, an origin or directions that do not fit each other.
    """
    slowest_first = axes[::-1]
    shape = tuple(sizes[axis] for axis in slowest_first)
    spacing = _find_spacing(fields, axes)
    affine = None
    if directions is not None:
        steps = [directions[axis] for axis in axes]
        affine = _find_affine(fields, np.array(steps, dtype=np.float64))
        columns = affine[:3, : len(axes)]
        lengths = np.linalg.norm(columns, axis=0)
        spacing = tuple(float(length) for length in reversed(lengths))

    # A volume of one slice is an image.
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
        spacing = spacing[1:] if spacing else None
    return Header(shape, spacing, affine)


def _find_affine(fields: Mapping[str, Any], steps: np.ndarray) -> np.ndarray:
    """[4, 4] from voxels to mm in RAS, whatever the space of the steps is called."""
    to_ras = _find_way_to_ras(fields)
    units = fields.get("space units") or ["mm"]
    scale = _find_scale(units[0])

    steps = scale * steps[:, :3]  # a fourth dimension is time
    dimensions = steps.shape[1]
    at_zero = np.zeros(dimensions)
    stated = fields.get("space origin", at_zero)
    known = np.nan_to_num(stated)
    origin = scale * known[:3]
    if len(origin) != dimensions:
        raise ValueError(f"an origin of {len(origin)} numbers")
    return to_ras @ affine_from_axes(steps, origin)


def _find_way_to_ras(fields: Mapping[str, Any]) -> np.ndarray:
    """[4, 4] from the header's space to RAS."""
    space = fields.get("space", "").lower()
    space = space.removesuffix("-time")
    if space not in TO_RAS:
        raise ValueError(f"the space {fields['space']}, which NRRD does not know")
    signs = TO_RAS[space]
    return np.diag([*signs, 1.0])


def _find_spacing(fields: Mapping[str, Any], axes: list[int]) -> tuple[float, ...] | None:
    """In mm, the slowest axis first; None where an axis of space has no spacing."""
    given = fields.get("spacings")
    units = fields.get("units", [])
    if given is None or len(given) <= max(axes):
        return None
    stated = [given[axis] for axis in axes]
    if not np.isfinite(stated).all():
        return None

    scales = [_find_scale(unit) for unit in units]
    without_unit = len(given) - len(scales)
    scales += [1.0] * without_unit
    spacing = [scales[axis] * float(given[axis]) for axis in axes]
    return tuple(reversed(spacing))


def _find_scale(unit: str) -> float:
    """How many millimetres a unit has."""
    return MILLIMETRES.get(unit.lower(), 1.0)
