"""What a camera makes of a scene: colours in uneven light, then blur and grain."""

import numpy as np

from genseg_betty.data.phantom.canvas import Array, Canvas, Range, clip_to_unit


def expose_colours(canvas: Canvas, image: Array, light: Array, imbalance: float, gamma: Range) -> Array:
    """A colour picture [H, W, 3] under `light` [H, W], with a white balance that is off by about `imbalance`."""
    balance = 1 + canvas.rng.normal(0, imbalance, 3)
    lit = image * light[..., None] * balance
    lit = clip_to_unit(lit)
    return lit ** canvas.draw_number(gamma)


def add_blur_and_grain(canvas: Canvas, image: Array, blur: Range, grain: Range) -> Array:
    """A picture [H, W] or [H, W, 3] out of focus, and with white noise; `blur` is in pixels at 96 a side."""
    image = image.astype(np.float32)
    image = canvas.blur_image(image, canvas.draw_number(blur))
    strength = canvas.draw_number(grain)
    noise = canvas.grain_rng.standard_normal(image.shape, dtype=np.float32)
    return image + strength * noise
