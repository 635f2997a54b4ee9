"""Where an image lies: how its axes run through the body, and how the grid of one file lies on that of another.

An affine goes from voxels (i, j, k) to millimetres in RAS+, see `Header`. Arrays have their axes the other way round,
[k, j, i], channels behind them. An orientation names where i, j and k lead, "LPS" to the left, the back and the head;
that of an image has two letters. nibabel is imported where there is a place: pictures do not wait for it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from genseg_betty.data.formats.common import Header

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
STRAY = 0.001  # relative difference up to which two spacings are one, written with other digits
NEAR = 0.5  # voxels by which one grid may lie beside another, anywhere in it
FLAT = 1e-6  # volume of a voxel with sides of length 1 from which its axes span space


def affine_from_axes(axes: np.ndarray, origin: Sequence[float]) -> np.ndarray:
    """[4, 4] from the steps [axes, dimensions] along i, j (and k) in mm, and the place of the first voxel.

    With two axes, k is the normal of their plane, or the third axis where they have two dimensions; it is 1 mm long.
    """
    affine = np.eye(4)
    count, dimensions = axes.shape
    affine[:dimensions, :count] = axes.T
    if count == 2 and dimensions == 3:
        normal = np.cross(axes[0], axes[1])
        length = np.linalg.norm(normal) or 1.0
        affine[:3, 2] = normal / length
    affine[: len(origin), 3] = origin
    return affine


def affine_from_orientation(orientation: str, spacing: Sequence[float]) -> np.ndarray:
    """[4, 4] of a volume of that orientation and spacing (along D, H, W in mm), its first voxel at 0."""
    from nibabel.orientations import axcodes2ornt

    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    steps = reversed(spacing)
    axes = axcodes2ornt(orientation)
    pairs = zip(steps, axes, strict=True)
    for column, (step, (row, flip)) in enumerate(pairs):
        affine[int(row), column] = flip * step
    return affine


def is_proper(affine: np.ndarray) -> bool:
    """Whether an affine is finite and its axes span space."""
    if not np.isfinite(affine).all():
        return False
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if lengths.min() == 0:
        return False
    volume = np.linalg.det(axes / lengths)
    return bool(abs(volume) > FLAT)


def spacing_of(affine: np.ndarray, stated: Sequence[float]) -> tuple[float, ...]:
    """The spacing by an affine, in the order of an array's axes; the `stated` one where both are alike."""
    columns = affine[:3, : len(stated)]
    lengths = np.linalg.norm(columns, axis=0)
    found = lengths[::-1]
    if are_alike(found, stated):
        return tuple(stated)
    return tuple(float(step) for step in found)


def are_alike(own: Sequence[float] | np.ndarray, other: Sequence[float]) -> bool:
    """Whether two spacings are the same but for rounding."""
    for one, another in zip(own, other, strict=True):
        allowed = STRAY * abs(another)
        if not abs(one - another) <= allowed:  # also where one is NaN
            return False
    return True


def spacing_in_words(spacing: Sequence[float]) -> str:
    """A spacing, for a message: along x, y and z, the last axis of an array first."""
    steps = [f"{step:g}" for step in reversed(spacing)]
    return " x ".join(steps)


def mismatch(mask: Sequence[int], image: Sequence[int]) -> str:
    """The message of a size_mismatch; sizes are (height, width) or (depth, height, width)."""
    is_plane = len(image) == 2
    unit = "pixels" if is_plane else "voxels"
    of_mask = _size_in_words(mask)
    of_image = _size_in_words(image)
    sizes = f"mask is {of_mask} {unit} and its image {of_image}"
    swapped = tuple(image)[::-1]
    if is_plane and tuple(mask) == swapped:
        return (
            f"{sizes} (turned: one of them has lost its EXIF orientation); expected equal sizes, turn the mask until "
            "it lies on the image as a viewer shows that"
        )
    return f"{sizes}; expected equal sizes, bring both to one size"


def orientation_of(header: Header) -> str | None:
    """Where the axes of an image lead, one letter each; None where it states no place."""
    if header.affine is None:
        return None
    from nibabel.orientations import aff2axcodes

    letters = aff2axcodes(header.affine)
    count = len(header.shape)
    return "".join(letters[:count])


def rescaled_header(header: Header, shape: Sequence[int]) -> Header:
    """The header of an image brought to another size; its outer edges stay where they are."""
    new_shape = tuple(shape)
    sides = zip(header.shape, new_shape, strict=True)
    ratios = [old / new for old, new in sides]
    spacing = None
    if header.spacing:
        steps = zip(header.spacing, ratios, strict=True)
        spacing = tuple(step * ratio for step, ratio in steps)
    if header.affine is None:
        return replace(header, shape=new_shape, spacing=spacing)

    # From the new voxels to the old ones: the middle of the first voxel moves as its size changes.
    of_three_axes = (*reversed(ratios), 1.0)[:3]
    scales = np.array(of_three_axes)
    to_old = np.diag([*scales, 1.0])
    to_old[:3, 3] = (scales - 1) / 2
    affine = header.affine @ to_old
    return replace(header, shape=new_shape, spacing=spacing, affine=affine)


def find_corners(header: Header) -> np.ndarray:
    """[8, 4] the voxels at the corners of an image, homogeneous (i, j, k, 1)."""
    sides = (*reversed(header.shape), 1)[:3]
    ends = [(0, side - 1) for side in sides]
    voxels = [(*voxel, 1) for voxel in itertools.product(*ends)]
    return np.array(voxels, dtype=np.float64)


def voxels_apart(one: Header, other: Header) -> float:
    """The greatest distance between a voxel of one grid and the same voxel of another, in voxels of `other`.

    Both grids have one shape and state a place. The distance is that along one axis; it is greatest at a corner.
    """
    assert one.affine is not None
    assert other.affine is not None
    corners = find_corners(other)
    one_to_other = np.linalg.inv(other.affine) @ one.affine
    found = corners @ one_to_other.T
    distances = np.abs(found - corners)
    return float(distances.max())


def lie_together(one: Header, other: Header, allowed: float = NEAR) -> bool:
    """Whether two grids of one shape, which both state a place, are at most `allowed` voxels of `other` apart."""
    return voxels_apart(one, other) <= allowed


def in_words(header: Header) -> str:
    """The place of an image, for a message: where its axes lead, and its first and last voxel."""
    assert header.affine is not None
    corners = find_corners(header)
    places = corners @ header.affine.T
    first = _point_in_words(places[0])
    last = _point_in_words(places[-1])
    orientation = orientation_of(header)
    return f"{orientation}, from {first} to {last} mm"


def _size_in_words(size: Sequence[int]) -> str:
    """Width first, as programs show it."""
    sides = [str(side) for side in reversed(size)]
    return "x".join(sides)


def _point_in_words(place: np.ndarray) -> str:
    numbers = [f"{value:.4g}" for value in place[:3]]
    joined = ", ".join(numbers)
    return f"({joined})"
