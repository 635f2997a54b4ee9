"""What all phantoms are drawn on: a pixel grid in [-1, 1], random numbers, smooth noise, soft edges and strokes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from genseg_betty.data.phantom.colours import Colour
from genseg_betty.data.phantom.pose import Array, Pose

Range = tuple[float, float]

FULL_TURN = 2 * np.pi
SUPERSAMPLING = 3  # strokes are drawn that much larger and averaged down, for smooth edges


class Stroke(NamedTuple):
    """A polyline in units where the picture is 2 wide."""

    points: Array  # [N, 2] as (x, y)
    width: float


@dataclass
class Canvas:
    """A square picture of `size` pixels a side and the random numbers that it is drawn with."""

    rng: np.random.Generator
    size: int

    @cached_property
    def grid(self) -> tuple[Array, Array]:
        """x (to the right) and y (down) of the pixel centres, both [size, size] in [-1, 1]."""
        centres = np.arange(self.size, dtype=np.float32) + 0.5
        axis = centres * 2 / self.size - 1
        axis = axis.astype(np.float32)
        x, y = np.meshgrid(axis, axis)
        return x, y

    @property
    def pixel(self) -> float:
        """The side of a pixel."""
        return 2.0 / self.size

    @cached_property
    def grain_rng(self) -> np.random.Generator:
        """A generator for what grows with the picture's size, so that all else is the same at every size."""
        return self.rng.spawn(1)[0]

    def draw_number(self, limits: Range) -> float:
        """A uniform random number between the two limits."""
        return float(self.rng.uniform(*limits))

    def draw_offset(self, most: float) -> float:
        """A uniform random number from -most to most."""
        return self.draw_number((-most, most))

    def draw_angle(self) -> float:
        """A random direction in radians."""
        return self.draw_number((0, FULL_TURN))

    def draw_count(self, limits: Range) -> int:
        """A random whole number from the first limit to the second, both included."""
        least, most = limits
        behind = int(most) + 1
        count = self.rng.integers(int(least), behind)
        return int(count)

    def flip_coin(self, probability: float) -> bool:
        """True with that probability."""
        return bool(self.rng.random() < probability)

    def draw_tone(self, colours: Sequence[Colour]) -> Array:
        """One of the colours, a little off: [3]."""
        last = len(colours) - 1
        colour = colours[self.draw_count((0, last))]
        deviation = self.rng.normal(0, 0.025, 3)
        return np.array(colour) + deviation

    def draw_pose(self, degrees: float, scale: Range, aspect: Range, shift: float) -> Pose:
        """A pose with every part uniform in its range; `aspect` stretches x alone."""
        height = self.draw_number(scale)
        angle = np.deg2rad(self.draw_offset(degrees))
        width = height * self.draw_number(aspect)
        right = self.draw_offset(shift)
        down = self.draw_offset(shift)
        return Pose(angle, (width, height), (right, down))

    def draw_noise(self, cells: int) -> Array:
        """Smooth noise [size, size] of mean 0 and deviation about 1 with `cells` bumps a side."""
        side = cells + 2
        coarse = self.rng.standard_normal((side, side), dtype=np.float32)
        picture = Image.fromarray(coarse * 1.3)
        size = (self.size, self.size)
        smooth = picture.resize(size, Image.Resampling.BICUBIC)
        return np.asarray(smooth)

    def soft_step(self, distance: Array, softness: float = 0.0) -> Array:
        """0 where `distance` is negative, 1 where it is positive, over `softness` (at least a pixel)."""
        width = max(softness, self.pixel)
        return clip_to_unit(distance / width + 0.5)

    def draw_strokes(self, strokes: Sequence[Stroke], pose: Pose | None = None) -> Array:
        """Coverage [size, size] in [0, 1] of the strokes; with a `pose`, they are in the subject's coordinates."""
        side = self.size * SUPERSAMPLING
        picture = Image.new("L", (side, side))
        pen = ImageDraw.Draw(picture)
        pixels = _find_pixels(strokes, side, pose)
        end = 0
        for line, width in strokes:
            start = end
            end += len(line)
            pen_width = max(1, round(width * side / 2))
            pen.line(pixels[start:end], fill=255, width=pen_width, joint="curve")
        coverage = np.asarray(picture.reduce(SUPERSAMPLING), dtype=np.float32)
        return coverage / 255

    def blur_image(self, image: Array, pixels_at_96: float) -> Array:
        """Gaussian blur of [H, W] or [H, W, C]; its width grows with the picture."""
        sigma = pixels_at_96 * self.size / 96
        if sigma < 0.2:
            return image
        sigmas = (sigma, sigma, 0)  # channels do not mix
        return gaussian_filter(image, sigmas[: image.ndim], truncate=2.5)


def _find_pixels(strokes: Sequence[Stroke], side: int, pose: Pose | None) -> list[tuple[float, float]]:
    """The points of all strokes, one after the other, in pixels of a picture of that side."""
    if not strokes:
        return []
    points = np.concatenate([stroke.points for stroke in strokes])
    if pose is not None:
        points = pose.to_picture(points)
    pixels = (points + 1) * (side / 2)
    return [tuple(point) for point in pixels.tolist()]


def clip_to_unit(values: Array) -> Array:
    """The values, those below 0 raised to 0 and those above 1 lowered to 1."""
    return np.clip(values, 0, 1)


def bell_curve(*distances: Array) -> Array:
    """1 where all distances are 0, and towards 0 where any of them passes 1 or -1."""
    squares = sum(distance**2 for distance in distances)
    return np.exp(-squares)


def make_segment(start: Array, by: tuple[float, float] | Array) -> Array:
    """The points [2, 2] of a straight line from `start`."""
    return np.stack([start, np.add(start, by)])
