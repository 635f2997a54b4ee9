"""Colours of a phantom, and how they are laid on its picture."""

import numpy as np

from genseg_betty.data.phantom.pose import Array

Colour = tuple[float, float, float]  # RGB in [0, 1]


def make_colour(red: float, green: float, blue: float) -> Array:
    """A colour to mix with float32 pictures."""
    return np.array((red, green, blue), dtype=np.float32)


def paint_over(image: Array, colour: Array | float, coverage: Array, opacity: float = 1.0) -> Array:
    """Lay a colour, or a coloured picture [H, W, 3], on the image [H, W, 3] where `coverage` [H, W] says."""
    share = coverage[..., None]
    beneath = image * (1 - opacity * share)
    return beneath + colour * opacity * share


def tint_plane(plane: Array, colour: Colour | Array) -> Array:
    """The picture [H, W, 3] of a plane [H, W] in that colour."""
    return plane[..., None] * colour
