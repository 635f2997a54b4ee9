"""What lies on the film of a chest X-ray phantom: the side marker, devices, a label; and the black bands around it."""

import numpy as np

from genseg_betty.data.phantom.canvas import Array, Canvas, Stroke, make_segment
from genseg_betty.data.phantom.lung_domains import LungDomain
from genseg_betty.data.phantom.pose import Pose

MARKER = ((0, 0), (0, 0.09), (0.05, 0.09))  # the letter L
PACEMAKER_WIRE = (  # from below the collarbone into the heart
    (0.06, -0.3),
    (0.02, 0.1),
    (0.15, 0.3),
)


def draw_film_objects(canvas: Canvas, domain: LungDomain, pose: Pose) -> list[Stroke]:
    """The side marker, and perhaps electrodes with leads, a pacemaker, a printed label."""
    strokes = [_draw_marker(canvas)]
    if canvas.flip_coin(domain.devices):
        for _ in range(canvas.draw_count((2, 4))):
            strokes += _draw_electrode(canvas, pose)
    if canvas.flip_coin(domain.devices):
        strokes += _draw_pacemaker(canvas, pose)
    if canvas.flip_coin(domain.devices):
        strokes += _draw_label(canvas)
    return strokes


def add_black_bands(canvas: Canvas, image: Array) -> Array:
    """Blacken what the collimator keeps from the beam, below and at both sides."""
    x, y = canvas.grid
    limits = (0.86, 1.06)
    below = canvas.draw_number(limits)
    right = canvas.draw_number(limits)
    left = canvas.draw_number(limits)
    from_sides = np.minimum(right - x, left + x)
    within = np.minimum(below - y, from_sides)
    return image * canvas.soft_step(within)


def _draw_marker(canvas: Canvas) -> Stroke:
    right = canvas.draw_number((0.62, 0.85))
    down = canvas.draw_number((-0.92, -0.7))
    corner = np.array([right, down])
    letter = corner + np.array(MARKER)
    return Stroke(letter, 0.02)


def _draw_electrode(canvas: Canvas, pose: Pose) -> list[Stroke]:
    """The electrode on the skin, and its lead out of the picture."""
    right = canvas.draw_offset(0.6)
    down = canvas.draw_number((-0.4, 0.5))
    place = np.array([right, down])
    end = (canvas.draw_offset(0.5), 1.1)
    pad = make_segment(place, (0.05, 0))
    lead = make_segment(place, (0.12, 0.25))
    lead = np.append(lead, [end], axis=0)
    return [
        Stroke(pose.to_picture(pad), 0.05),
        Stroke(pose.to_picture(lead), 0.012),
    ]


def _draw_pacemaker(canvas: Canvas, pose: Pose) -> list[Stroke]:
    """The box below the left collarbone, and its wire."""
    right = canvas.draw_number((0.38, 0.5))
    down = canvas.draw_number((-0.4, -0.3))
    place = np.array([right, down])
    box = make_segment(place, (0.14, 0))
    wire = make_segment(place, (-0.1, -0.15))
    wire = np.append(wire, PACEMAKER_WIRE, axis=0)
    return [
        Stroke(pose.to_picture(box), 0.13),
        Stroke(pose.to_picture(wire), 0.018),
    ]


def _draw_label(canvas: Canvas) -> list[Stroke]:
    """Two lines of print in white."""
    right = canvas.draw_number((-0.9, 0.5))
    place = np.array([right, -0.9])
    below = place + np.array([0, 0.1])
    first = make_segment(place, (0.22, 0))
    second = make_segment(below, (0.3, 0))
    return [Stroke(first, 0.09), Stroke(second, 0.05)]
