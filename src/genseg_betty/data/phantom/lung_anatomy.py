"""One patient of the chest X-ray phantom: the measures of the chest, and where in the picture the lungs lie."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from genseg_betty.data.phantom.canvas import Array, Canvas, Range, bell_curve, clip_to_unit
from genseg_betty.data.phantom.lung_domains import LungDomain
from genseg_betty.data.phantom.pose import Pose

Sides = tuple[float, float]  # the patient's right and left, which are left and right in the picture

APEX = 0.26  # distance of a lung's tip from the midline


@dataclass(frozen=True)
class Anatomy:
    """One patient's measures."""

    width: Sides
    top: Sides
    base: Sides
    bulge: Sides
    mediastinum: float
    roundness: float
    rib_spacing: float
    rib_phase: float

    @classmethod
    def draw_random(cls, canvas: Canvas, domain: LungDomain) -> "Anatomy":
        """The measures of a random patient of the domain."""
        right_base, left_base = _draw_sides(canvas, domain.base, 0.03)
        width = _draw_sides(canvas, domain.width, 0.025)
        top = _draw_sides(canvas, domain.top, 0.02)
        right_bulge = canvas.draw_number((0.02, 0.08))
        left_bulge = canvas.draw_number(domain.heart)
        return cls(
            width=width,
            top=top,
            base=(right_base - 0.04, left_base),  # the liver lifts the right side
            bulge=(right_bulge, left_bulge),
            mediastinum=canvas.draw_number((0.1, 0.15)),
            roundness=canvas.draw_number((1.9, 2.6)),
            rib_spacing=canvas.draw_number((0.14, 0.17)),
            rib_phase=canvas.draw_number((0, 1)),
        )

    def measure_depth(self, x: Array, y: Array) -> Array:
        """Distance into the nearer lung, negative outside."""
        is_left = x > 0
        side = np.abs(x)
        top = _choose_side(is_left, self.top)
        base = _choose_side(is_left, self.base)
        width = _choose_side(is_left, self.width)
        bulge = _choose_side(is_left, self.bulge)

        # The outer edge runs from the tip down the ribs, the inner one along the midline and around the heart.
        height = base + 0.15 - top
        rest = 1 - clip_to_unit((y - top) / height)  # 1 at the tip, 0 at the base
        narrowing = np.power(rest, self.roundness)
        widening = np.power(1 - narrowing, 0.52)
        outer = APEX + (width - APEX) * widening
        breadth = APEX - self.mediastinum
        inner = self.mediastinum + breadth * rest**9
        from_heart = (y - base + 0.1) / 0.27
        inner = inner + bulge * bell_curve(from_heart)

        # The diaphragm is a dome, steeper on its outer side.
        from_dome = side - 0.36
        steepness = np.where(from_dome > 0, 2.0, 0.7)
        dome = base + from_dome**2 * steepness

        across = np.minimum(outer - side, side - inner)
        down = np.minimum(dome - y, y - top)
        depth = np.minimum(across, down)
        return depth.astype(np.float32)


@dataclass(frozen=True)
class Patient:
    """A patient before the X-ray: the measures, the pose, and where each pixel lies in the body, [H, W] each."""

    anatomy: Anatomy
    pose: Pose
    x: Array
    y: Array
    inside: Array  # distance into the nearer lung, negative outside

    @classmethod
    def draw_random(cls, canvas: Canvas, domain: LungDomain) -> "Patient":
        """A random patient of the domain, in a random pose."""
        anatomy = Anatomy.draw_random(canvas, domain)
        pose = canvas.draw_pose(
            domain.degrees,
            domain.scale,
            domain.aspect,
            domain.shift,
        )
        x, y = pose.to_subject(*canvas.grid)
        x = x + 0.012 * canvas.draw_noise(3)
        y = y + 0.012 * canvas.draw_noise(3)
        inside = anatomy.measure_depth(x, y)
        return cls(anatomy, pose, x, y, inside)

    @cached_property
    def side(self) -> Array:
        """Distance from the midline."""
        return np.abs(self.x)


def _draw_sides(canvas: Canvas, limits: Range, spread: float) -> Sides:
    middle = canvas.draw_number(limits)
    right = middle + canvas.draw_offset(spread)
    left = middle + canvas.draw_offset(spread)
    return right, left


def _choose_side(is_left: Array, sides: Sides) -> Array:
    """Of each pixel, the measure of the side on which it lies."""
    right, left = sides
    return np.where(is_left, left, right)
