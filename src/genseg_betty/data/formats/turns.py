"""Turn the axes of an array to another orientation: permute and flip them, compute nothing.

A turn is an array as `nibabel.orientations` has them, a row (axis, flip) for each of (i, j, k), and None where nothing
is to be turned. Arrays have their axes the other way round, [k, j, i], channels behind them. nibabel is imported where
something is turned: pictures do not wait for it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from genseg_betty.data.formats.common import Header

UNTURNED = np.array([[0, 1], [1, 1], [2, 1]], dtype=np.float64)

Turn = np.ndarray
Side = TypeVar("Side", int, float)


def turn_to(orientation: str | None, wanted: str | None) -> Turn | None:
    """The turn that brings an array of one orientation to another.

    None where both are the same, where one is unknown, and for two images whose planes cross.
    """
    if orientation is None or wanted is None or orientation == wanted:
        return None
    if len(orientation) != len(wanted):
        return None
    from nibabel.orientations import axcodes2ornt, ornt_transform

    own = axcodes2ornt(orientation)
    other = axcodes2ornt(wanted)
    own_axes = set(own[:, 0])
    other_axes = set(other[:, 0])
    return ornt_transform(own, other) if own_axes == other_axes else None


def turn_onto(mask: Header, image: Header) -> Turn | None:
    """The turn that brings the axes of a mask's array closest to those of its image's; both state a place.

    None where nothing is to be turned, and for a mask whose plane crosses the image's.
    """
    from nibabel.orientations import io_orientation

    assert mask.affine is not None
    assert image.affine is not None
    mask_to_image = np.linalg.inv(image.affine) @ mask.affine
    count = len(mask.shape)
    turn = io_orientation(mask_to_image)[:count]
    if np.array_equal(turn, UNTURNED[:count]):
        return None
    reached = set(turn[:, 0])
    crosses_image = reached != set(range(count))
    return None if crosses_image else turn


def undone(turn: Turn | None) -> Turn | None:
    """The turn that leads back."""
    if turn is None:
        return None
    from nibabel.orientations import ornt_transform

    count = len(turn)
    return ornt_transform(UNTURNED[:count], turn)


def turned(array: np.ndarray, turn: Turn | None) -> np.ndarray:
    """An array [H, W, *] or [D, H, W, *] with its axes permuted and flipped; a copy, unless nothing is turned."""
    if turn is None:
        return array
    from nibabel.orientations import apply_orientation

    count = len(turn)
    spatial = reversed(range(count))
    others = range(count, array.ndim)
    axes = (*spatial, *others)  # from [k, j, i] to [i, j, k], and back again
    fastest_first = array.transpose(axes)
    result = apply_orientation(fastest_first, turn)
    return np.ascontiguousarray(result.transpose(axes))


def turned_sides(sides: Sequence[Side], turn: Turn | None) -> tuple[Side, ...]:
    """The sizes, or the spacing, of an array after a turn."""
    if turn is None:
        return tuple(sides)
    fastest_first = sides[::-1]
    result = list(fastest_first)
    for axis, (target, _) in enumerate(turn):
        result[int(target)] = fastest_first[axis]
    return tuple(reversed(result))


def turned_header(header: Header, turn: Turn | None) -> Header:
    """The header of a turned array, which lies at the same place in space."""
    if turn is None or header.affine is None:
        return header
    from nibabel.orientations import inv_ornt_aff

    normal = UNTURNED[len(turn) :]  # of an image; a volume has none
    whole = np.concatenate([turn, normal])
    sides = (*reversed(header.shape), 1)[:3]
    to_old = inv_ornt_aff(whole, sides)
    spacing = turned_sides(header.spacing, turn) if header.spacing else None
    shape = turned_sides(header.shape, turn)
    return replace(header, shape=shape, spacing=spacing, affine=header.affine @ to_old)
