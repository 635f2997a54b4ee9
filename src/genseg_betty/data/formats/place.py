"""Where an image lies: how its axes run through the body, and how the grid of one file lies on that of another.

An affine goes from voxels (i, j, k) to millimetres in RAS+, see `Header`. Arrays have their axes the other way round,
[k, j, i], channels behind them. An orientation names where i, j and k lead, "LPS" to the left, the back and the head;
that of an image has two letters. A turn permutes and flips axes and computes nothing: it is an array as
`nibabel.orientations` has them, in the order of (i, j, k), and None where nothing is to be turned. nibabel is imported
where there is a place: pictures do not wait for it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from genseg_betty.data.formats.common import Header

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
STRAY = 0.001  # relative difference up to which two spacings are one, written with other digits
NEAR = 0.5  # voxels by which one grid may lie beside another, anywhere in it
FLAT = 1e-6  # volume of a voxel with sides of length 1 from which its axes span space
UNTURNED = np.array([[0, 1], [1, 1], [2, 1]], dtype=np.float64)

Turn = np.ndarray
Side = TypeVar("Side", int, float)


def affine_from_axes(axes: np.ndarray, origin: Sequence[float]) -> np.ndarray:
    """[4, 4] from the steps [axes, dimensions] along i, j (and k) in mm, and the place of the first voxel.

    Of a plane in space k is its normal, of one without a third dimension the third axis; both of 1 mm.
    """
    affine = np.eye(4)
    count, dimensions = axes.shape
    affine[:dimensions, :count] = axes.T
    if count == 2 and dimensions == 3:
        normal = np.cross(axes[0], axes[1])
        affine[:3, 2] = normal / (np.linalg.norm(normal) or 1.0)
    affine[: len(origin), 3] = origin
    return affine


def affine_from_orientation(orientation: str, spacing: Sequence[float]) -> np.ndarray:
    """[4, 4] of a volume of that orientation and spacing (along D, H, W in mm), its first voxel at 0."""
    from nibabel.orientations import axcodes2ornt

    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    steps = reversed(spacing)
    for column, (step, (row, flip)) in enumerate(zip(steps, axcodes2ornt(orientation), strict=True)):
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
    return bool(abs(np.linalg.det(axes / lengths)) > FLAT)


def spacing_of(affine: np.ndarray, stated: Sequence[float]) -> tuple[float, ...]:
    """The spacing by an affine, in the order of an array's axes; as `stated` where that says the same."""
    found = np.linalg.norm(affine[:3, : len(stated)], axis=0)[::-1]
    same = are_alike(found, stated)
    return tuple(stated) if same else tuple(map(float, found))


def are_alike(own: Sequence[float] | np.ndarray, other: Sequence[float]) -> bool:
    """Whether two spacings differ by digits alone."""
    pairs = zip(own, other, strict=True)
    return all(abs(one - another) <= STRAY * abs(another) for one, another in pairs)


def spacing_in_words(spacing: Sequence[float]) -> str:
    """A spacing, for a message: along x, y and z, the last axis of an array first."""
    return " x ".join(f"{step:g}" for step in reversed(spacing))


def orientation_of(header: Header) -> str | None:
    """Where the axes of an image lead, one letter each; None where it states no place."""
    if header.affine is None:
        return None
    from nibabel.orientations import aff2axcodes

    return "".join(aff2axcodes(header.affine)[: len(header.shape)])


def turn_to(orientation: str | None, wanted: str | None) -> Turn | None:
    """What brings an array of one orientation to another.

    None where one of them is unknown, and for two images of which one is not of the other's plane.
    """
    if orientation is None or wanted is None or orientation == wanted or len(orientation) != len(wanted):
        return None
    from nibabel.orientations import axcodes2ornt, ornt_transform

    own, other = axcodes2ornt(orientation), axcodes2ornt(wanted)
    if set(own[:, 0]) != set(other[:, 0]):
        return None
    return ornt_transform(own, other)


def turn_onto(mask: Header, image: Header) -> Turn | None:
    """What brings the axes of a mask's array closest to those of its image's; both state a place.

    None where nothing is to be turned, and for a plane that crosses the image's.
    """
    from nibabel.orientations import io_orientation

    assert mask.affine is not None
    assert image.affine is not None
    turn = io_orientation(np.linalg.inv(image.affine) @ mask.affine)[: len(mask.shape)]
    same = np.array_equal(turn, UNTURNED[: len(turn)])
    crossing = set(turn[:, 0]) != set(range(len(turn)))
    return None if same or crossing else turn


def undone(turn: Turn | None) -> Turn | None:
    """The turn that leads back."""
    if turn is None:
        return None
    from nibabel.orientations import ornt_transform

    return ornt_transform(UNTURNED[: len(turn)], turn)


def turned(array: np.ndarray, turn: Turn | None) -> np.ndarray:
    """An array [H, W, *] or [D, H, W, *] with its axes permuted and flipped; a copy, unless nothing is turned."""
    if turn is None:
        return array
    from nibabel.orientations import apply_orientation

    axes = (*reversed(range(len(turn))), *range(len(turn), array.ndim))  # to (i, j, k), and back again
    return np.ascontiguousarray(apply_orientation(array.transpose(axes), turn).transpose(axes))


def turned_sides(sides: Sequence[Side], turn: Turn | None) -> tuple[Side, ...]:
    """What there is of each axis of an array, its size or its spacing, after a turn."""
    if turn is None:
        return tuple(sides)
    result = list(sides)
    for index, (target, _) in enumerate(turn):
        result[-1 - int(target)] = sides[-1 - index]
    return tuple(result)


def turned_header(header: Header, turn: Turn | None) -> Header:
    """The header of an array that was turned: of the same place in space."""
    if turn is None or header.affine is None:
        return header
    from nibabel.orientations import inv_ornt_aff

    whole = np.concatenate([turn, UNTURNED[len(turn) :]])
    affine = header.affine @ inv_ornt_aff(whole, (*reversed(header.shape), 1)[:3])
    spacing = turned_sides(header.spacing, turn) if header.spacing else None
    return replace(header, shape=turned_sides(header.shape, turn), spacing=spacing, affine=affine)


def rescaled_header(header: Header, shape: Sequence[int]) -> Header:
    """The header of an image brought to another size: of the same place, its outer edges where they were."""
    ratios = [old / new for old, new in zip(header.shape, shape, strict=True)]
    spacing = None
    if header.spacing:
        spacing = tuple(step * ratio for step, ratio in zip(header.spacing, ratios, strict=True))
    if header.affine is None:
        return replace(header, shape=tuple(shape), spacing=spacing)
    steps = np.array([*reversed(ratios), 1.0][:3])
    to_old = np.diag([*steps, 1.0])
    to_old[:3, 3] = (steps - 1) / 2
    return replace(header, shape=tuple(shape), spacing=spacing, affine=header.affine @ to_old)


def corners(header: Header) -> np.ndarray:
    """[8, 4] the voxels at the corners of an image, homogeneous (i, j, k, 1)."""
    last = [side - 1 for side in (*reversed(header.shape), 1)[:3]]
    ends = [(0, side) for side in last]
    return np.array([(*voxel, 1) for voxel in itertools.product(*ends)], dtype=np.float64)


def voxels_apart(one: Header, other: Header) -> float:
    """How far apart a voxel of one grid and the same voxel of another lie, in voxels of `other`, where that is most.

    Both grids have one shape and state a place. The most is at a corner, along one of the axes.
    """
    assert one.affine is not None
    assert other.affine is not None
    places = corners(other)
    found = places @ (np.linalg.inv(other.affine) @ one.affine).T
    return float(np.abs(found - places).max())


def lie_together(one: Header, other: Header, allowed: float = NEAR) -> bool:
    """Whether two grids of one shape, which both state a place, are `allowed` voxels of `other` apart at most."""
    return voxels_apart(one, other) <= allowed


def in_words(header: Header) -> str:
    """The place of an image, for a message: where its axes lead, and its first and last voxel."""
    assert header.affine is not None
    places = corners(header) @ header.affine.T
    first, last = _point_in_words(places[0]), _point_in_words(places[-1])
    return f"{orientation_of(header)}, from {first} to {last} mm"


def _point_in_words(place: np.ndarray) -> str:
    return "({})".format(", ".join(f"{value:.4g}" for value in place[:3]))
