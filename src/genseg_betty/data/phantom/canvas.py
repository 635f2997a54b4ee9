"""What all phantoms are drawn with: a pixel grid in [-1, 1], smooth noise, soft edges, strokes, a pose, a camera."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter

Array = np.ndarray
Range = tuple[float, float]
Stroke = tuple[Array, float]  # points [N, 2] as (x, y), width; in units where the picture is 2 wide

KEPT_TURN = 0.85  # of a vessel's turn at the next step, so that it keeps its heading in the long run
SUPERSAMPLING = 3  # strokes are drawn that much larger and averaged down, for smooth edges


@dataclass
class Canvas:
    """A square picture of `size` pixels a side and the random numbers that it is drawn with."""

    rng: np.random.Generator
    size: int

    @cached_property
    def grid(self) -> tuple[Array, Array]:
        """x (to the right) and y (down) of the pixel centres, both [size, size] in [-1, 1]."""
        axis = ((np.arange(self.size, dtype=np.float32) + 0.5) * 2 / self.size - 1).astype(np.float32)
        x, y = np.meshgrid(axis, axis)
        return x, y

    def draw(self, limits: Range) -> float:
        """A uniform random number between the two."""
        return float(self.rng.uniform(*limits))

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return bool(self.rng.random() < probability)

    def count(self, limits: Range) -> int:
        """A random whole number from the first to the second, both included."""
        return int(self.rng.integers(int(limits[0]), int(limits[1]) + 1))

    def noise(self, cells: int) -> Array:
        """Smooth noise [size, size] of mean 0 and deviation about 1 with `cells` bumps a side."""
        coarse = self.rng.standard_normal((cells + 2, cells + 2), dtype=np.float32) * 1.3
        return np.asarray(Image.fromarray(coarse).resize((self.size, self.size), Image.Resampling.BICUBIC))

    @cached_property
    def _grain(self) -> np.random.Generator:
        """A generator for what grows with the picture's size, so that all else is the same at every size."""
        return self.rng.spawn(1)[0]

    def grain(self, channels: int) -> Array:
        """White noise [size, size, channels] of deviation 1."""
        return self._grain.standard_normal((self.size, self.size, channels), dtype=np.float32)

    def step(self, distance: Array, softness: float = 0.0) -> Array:
        """0 where `distance` is negative, 1 where it is positive, over `softness` (at least a pixel)."""
        return np.clip(distance / max(softness, 2.0 / self.size) + 0.5, 0, 1)

    def strokes(self, strokes: Sequence[Stroke], pose: "Pose | None" = None) -> Array:
        """Coverage [size, size] in [0, 1] of polylines; with a `pose`, they are in the subject's coordinates."""
        side = self.size * SUPERSAMPLING
        picture = Image.new("L", (side, side))
        pen = ImageDraw.Draw(picture)
        if strokes:
            points = np.concatenate([points for points, _ in strokes])
            points = pose.to_picture(points) if pose else points
            pixels = [tuple(point) for point in ((points + 1) * (side / 2)).tolist()]
            end = 0
            for line, width in strokes:
                start, end = end, end + len(line)
                pen.line(pixels[start:end], fill=255, width=max(1, round(width * side / 2)), joint="curve")
        return np.asarray(picture.reduce(SUPERSAMPLING), dtype=np.float32) / 255

    def blur(self, image: Array, pixels_at_96: float) -> Array:
        """Gaussian blur of [H, W] or [H, W, C]; its width grows with the picture."""
        sigma = pixels_at_96 * self.size / 96
        if sigma < 0.2:
            return image
        return gaussian_filter(image, (sigma, sigma, 0)[: image.ndim], truncate=2.5)


@dataclass(frozen=True)
class Pose:
    """Where the subject stands in the picture: turned by `angle` (radians), then scaled, then moved."""

    angle: float
    scale: tuple[float, float]
    shift: tuple[float, float]

    @classmethod
    def random(cls, canvas: Canvas, degrees: float, scale: Range, aspect: Range, shift: float) -> "Pose":
        """A pose with every part uniform in its range; `aspect` stretches x alone."""
        size = canvas.draw(scale)
        return cls(
            np.deg2rad(canvas.draw((-degrees, degrees))),
            (size * canvas.draw(aspect), size),
            (canvas.draw((-shift, shift)), canvas.draw((-shift, shift))),
        )

    def to_subject(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Picture coordinates as the subject's own."""
        x, y = x - self.shift[0], y - self.shift[1]
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        return (cos * x + sin * y) / self.scale[0], (cos * y - sin * x) / self.scale[1]

    def to_picture(self, points: Array) -> Array:
        """The subject's points [N, 2] in picture coordinates."""
        x, y = (np.asarray(points, dtype=np.float32) * self.scale).T
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.stack([cos * x - sin * y, sin * x + cos * y], axis=1) + self.shift


@dataclass(frozen=True)
class Tree:
    """How a vessel tree grows: a walk of short steps that bends, thins and branches."""

    length: float  # of a step
    bend: float  # deviation of the turn at each step, radians
    taper: float  # width kept from step to step
    fork: float  # chance of a branch at each step
    least: float  # width at which a vessel ends
    steps: int = 60  # at most, from root or fork


def rgb(red: float, green: float, blue: float) -> Array:
    """A colour to mix with float32 pictures."""
    return np.array((red, green, blue), dtype=np.float32)


def segment(start: Array, by: tuple[float, float]) -> Array:
    """The points [2, 2] of a straight line from `start`."""
    return np.stack([start, np.add(start, by)])


def grow(rng: np.random.Generator, tree: Tree, start: Array, heading: float, width: float) -> list[Stroke]:
    """The strokes of one tree from `start` [2] on."""
    strokes: list[Stroke] = []
    tips = [(start, heading, width)]
    while tips:
        start, heading, width = tips.pop()
        steps = min(tree.steps, int(np.log(tree.least / width) / np.log(tree.taper)))
        if steps < 2:
            continue
        angles = heading + lfilter([tree.bend], [1, -KEPT_TURN], rng.standard_normal(steps))
        walk = tree.length * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = np.concatenate([start[None], start + np.cumsum(walk, axis=0)])
        strokes += [(points[max(i - 1, 0) : i + 4], width * tree.taper**i) for i in range(0, steps, 3)]
        for i in np.flatnonzero(rng.random(steps) < tree.fork):
            turn = rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
            tips.append((points[i], angles[i] + turn, width * tree.taper**i * rng.uniform(0.5, 0.8)))
    return strokes
