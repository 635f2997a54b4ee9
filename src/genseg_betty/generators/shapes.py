"""The shapes of what a generator reads and draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from genseg_betty.errors import UserError

LEAST_SIDE = 32  # pixels


@dataclass(frozen=True)
class Shapes:
    """Channels and size of the encoded masks that come in and of the images that go out.

    Args:
        in_channels: channels of the encoded mask, see `encoding.encode_mask`.
        out_channels: channels of the image.
        image_size: (H, W), (D, H, W) or one number for a square; at least 32.
    """

    in_channels: int
    out_channels: int
    image_size: int | Sequence[int]

    def list_sides(self, halvings: int = 0) -> list[int]:
        """Height and width, or depth, height and width, after so many halvings, each rounded up."""
        size = self.image_size
        sides = [size, size] if isinstance(size, int) else size
        return [math.ceil(side / 2**halvings) for side in sides]

    def count_halvings(self) -> int:
        """How often the smallest side can be halved: log2 of it, rounded down. Raises UserError below 32 pixels."""
        side = min(self.list_sides())
        if side < LEAST_SIDE:
            found = f"image_size is {self.image_size}"
            raise UserError(f"{found}; the generator needs at least {LEAST_SIDE} pixels on each side")
        return int(math.log2(side))
