"""How a phantom's subject stands in the picture."""

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Pose:
    """The subject is turned by `angle` (radians), then scaled, then moved."""

    angle: float
    scale: tuple[float, float]  # of x and y
    shift: tuple[float, float]

    def to_subject(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Picture coordinates as the subject's own."""
        x = x - self.shift[0]
        y = y - self.shift[1]
        cos = np.float32(np.cos(self.angle))
        sin = np.float32(np.sin(self.angle))
        turned_x = cos * x + sin * y
        turned_y = cos * y - sin * x
        scale_x, scale_y = self.scale
        return turned_x / scale_x, turned_y / scale_y

    def to_picture(self, points: Array) -> Array:
        """The subject's points [N, 2] in picture coordinates."""
        scaled = np.asarray(points, dtype=np.float32) * self.scale
        x, y = scaled.T
        cos = np.cos(self.angle)
        sin = np.sin(self.angle)
        turned_x = cos * x - sin * y
        turned_y = sin * x + cos * y
        turned = np.stack([turned_x, turned_y], axis=1)
        return turned + self.shift


def point_towards(angles: Array | float) -> Array:
    """Unit vectors [..., 2] in these directions, in radians."""
    x = np.cos(angles)
    y = np.sin(angles)
    return np.stack([x, y], axis=-1)
