"""Augmentation of masks and of image-mask pairs by rotation, flip and translation.

GenSeg augments the mask alone, and the generator renders the result: M̂ in Eq. 2 (Methods, stage II: the
operations are applied "in random sequence"). The Combine baseline moves an image and its mask together.

Rotation, flip and translation are affine. Drawn one by one and multiplied in their random order, they become
one matrix an image and one resampling: the same geometry as applying them in sequence, but nothing is
interpolated twice, and nothing that one operation moves out of sight is lost before the next brings it back.

MONAI is imported where it is used: that takes seconds, which a mistyped command should not cost.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from genseg_betty.errors import UserError
from genseg_betty.multilevel.step_inputs import send_from_host

BORDERS = ("zeros", "border", "reflection")


class Augmentation:
    """Random rotation, flip and translation in random order, drawn for each image by itself.

    Each call draws one seed from torch's default CPU generator, and everything else follows from it:
    `torch.manual_seed` replays a call on any device.

    Args:
        rotate: degrees; the angle, of volumes one about each axis, is uniform in [-rotate, rotate], 0 <= rotate <= 180.
        flip: axes (0 = up-down, 1 = left-right, 2 = first to last slice), each mirrored with probability 0.5.
        translate: fraction of a side; the shift is uniform in [-translate, translate], 0 <= translate < 1.
        mask_border: what `mask` shows outside the old frame: "zeros" (background), "border" (the nearest
            pixel repeated) or "reflection".
        pair_border: the same for `pair`; "zeros" is black (-1) in the image, background in the mask.
        spacing: mm between the voxels of volumes, along each axis, so that they turn as bodies do where slices lie
            further apart than pixels; None: the same along each, as for images.

    Raises:
        UserError: listing every argument out of range.
    """

    def __init__(
        self,
        rotate: float = 15.0,
        flip: Sequence[int] = (1,),
        translate: float = 0.1,
        mask_border: str = "zeros",
        pair_border: str = "border",
        spacing: Sequence[float] | None = None,
    ) -> None:
        faults = []
        if not 0 <= rotate <= 180:
            faults.append(f"augment.rotate={rotate}: expected degrees within 0 to 180")
        if not 0 <= translate < 1:
            faults.append(f"augment.translate={translate}: expected a fraction of the side, 0 <= translate < 1")
        if len(set(flip)) != len(flip) or not set(flip) <= {0, 1, 2}:
            faults.append(f"augment.flip={list(flip)}: expected axes out of [0, 1, 2], each once, or []")
        for name, border in (("mask_border", mask_border), ("pair_border", pair_border)):
            if border not in BORDERS:
                faults.append(f"augment.{name}={border}: expected one of {', '.join(BORDERS)}")
        if faults:
            raise UserError("\n".join(faults))
        self.rotate = rotate
        self.flip = tuple(flip)
        self.translate = translate
        self.mask_border = mask_border
        self.pair_border = pair_border
        self.spacing = None if spacing is None else tuple(spacing)

    def mask(self, mask: Tensor) -> Tensor:
        """Mask [B, H, W] or [B, D, H, W] of class indices -> augmented mask, same shape, type and device; no new
        labels."""
        return _move_mask(mask, self._send_moves(mask), self.mask_border)

    def pair(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Image [B, C, *] in [-1, 1] and mask [B, *], moved by the same draw; the image linearly."""
        moves = self._send_moves(mask)
        moved = _resample(image + 1, moves, "bilinear", self.pair_border) - 1  # so that "zeros" is black
        return moved, _move_mask(mask, moves, self.pair_border)

    def _send_moves(self, mask: Tensor) -> Tensor:
        """Draw one move an image of `mask` and send it to the mask's device: [B, n, n + 1], see `_normalise`."""
        shape = tuple(mask.shape)
        return send_from_host(lambda: _normalise(self.draw(*shape), shape[1:]), mask.device)

    def draw(self, count: int, *size: int) -> Tensor:
        """Matrices [count, n + 1, n + 1], float64: (row, column, 1) of a result's pixel -> that of its source.

        `size` is (H, W) or (D, H, W); of volumes the slice comes before row and column.
        """
        from monai.transforms.utils import create_translate

        random = np.random.RandomState(int(torch.randint(2**31, ())))
        centre = [(side - 1) / 2 for side in size]
        to_centre, back = (create_translate(len(size), [sign * at for at in centre]) for sign in (1, -1))
        moves = [to_centre @ self._draw_one(random, size) @ back for _ in range(count)]
        return torch.from_numpy(np.stack(moves))

    def _draw_one(self, random: np.random.RandomState, size: Sequence[int]) -> np.ndarray:
        """One image's matrix about its centre.

        The first operation stands leftmost: a pixel of the result is traced back through the last operation
        first.
        """
        from monai.transforms.utils import create_rotate, create_scale, create_translate

        dims = len(size)
        angles = [math.radians(random.uniform(-self.rotate, self.rotate)) for _ in range(2 * dims - 3)]
        signs = [-1.0 if axis in self.flip and random.rand() < 0.5 else 1.0 for axis in (2, 0, 1)[-dims:]]
        shift = [side * random.uniform(-self.translate, self.translate) for side in size]
        steps = np.array([*(self.spacing or (1.0,) * dims), 1.0])
        turn = create_rotate(dims, angles) * steps / steps[:, None]  # from voxels to mm, and back
        operations = [turn, create_scale(dims, signs), create_translate(dims, shift)]
        first, second, third = random.permutation(3)
        return operations[first] @ operations[second] @ operations[third]


def _move_mask(mask: Tensor, moves: Tensor, border: str) -> Tensor:
    """Nearest neighbour, so that no class index appears that was not there."""
    return _resample(mask[:, None], moves, "nearest", border)[:, 0]


def _normalise(matrices: Tensor, size: Sequence[int]) -> Tensor:
    """Matrices in pixels [B, n + 1, n + 1] -> in the coordinates of `affine_grid`, -1..1 and x first: [B, n, n + 1].

    On the CPU, where the matrices are drawn: MONAI's own transform would do this on the GPU, and wait for it.
    """
    from monai.networks.utils import to_norm_affine

    dims = len(size)
    moves = to_norm_affine(matrices, size, size, align_corners=True)[:, :dims].flip(1)
    return torch.cat([moves[..., :dims].flip(2), moves[..., dims:]], dim=2)


def _resample(values: Tensor, moves: Tensor, mode: str, border: str) -> Tensor:
    """Values [B, C, *] where `moves` lead; in float64, which autocast and TF32 leave alone: both would move pixels by
    rounding the coordinates."""
    grid = functional.affine_grid(moves, list(values.shape), align_corners=True)
    moved = functional.grid_sample(values.double(), grid, mode, border, align_corners=True)
    return moved.to(values.dtype)
