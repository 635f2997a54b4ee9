"""The positions in which a picture may lie: mirrored or not, turned by quarters; of a volume the slices in reverse too.

A position is a number. Bit 2: rows become columns; then bit 1: upside down; then bit 0: left to right. Of volumes
bit 3: slices in reverse.
"""

from dataclasses import dataclass

from torch import Tensor

from genseg_betty.data.inspect.signatures import join_slabs, part_slabs

PICTURE_POSITIONS = 8
VOLUME_POSITIONS = 16
LEFT_TO_RIGHT = 1
UPSIDE_DOWN = 2
TRANSPOSED = 4
IN_REVERSE = 8
# Of each position the one that brings a picture back.
INVERSE = (0, 1, 2, 3, 4, 6, 5, 7, 8, 9, 10, 11, 12, 14, 13, 15)


@dataclass(frozen=True)
class Turn:
    """Brings thumbnails [..., s, s] into one of the eight positions of a square, or of a volume's sixteen."""

    position: int
    of_volumes: bool

    def __call__(self, thumbnails: Tensor) -> Tensor:
        if not self.of_volumes:
            return self._turn_square(thumbnails)
        slabs = part_slabs(thumbnails)
        turned = self._turn_square(slabs)
        if self.position & IN_REVERSE:
            turned = turned.flip(-3)
        return join_slabs(turned)

    def _turn_square(self, images: Tensor) -> Tensor:
        if self.position & TRANSPOSED:
            images = images.mT
        axes = []
        if self.position & UPSIDE_DOWN:
            axes.append(-2)
        if self.position & LEFT_TO_RIGHT:
            axes.append(-1)
        return images.flip(axes) if axes else images


def list_turns(volumes: bool) -> list[Turn]:
    """A turn for each position, by its number."""
    count = VOLUME_POSITIONS if volumes else PICTURE_POSITIONS
    return [Turn(position, volumes) for position in range(count)]
