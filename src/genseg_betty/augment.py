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
        # All faults are told at once.
        faults = _find_faults(rotate, flip, translate)
        faults += _find_faults_of_border("mask_border", mask_border)
        faults += _find_faults_of_border("pair_border", pair_border)
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
        moves = self._send_moves(mask)
        return _move_mask(mask, moves, self.mask_border)

    def pair(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Image [B, C, *] in [-1, 1] and mask [B, *], moved by the same draw; the image linearly."""
        moves = self._send_moves(mask)
        shifted = image + 1  # so that "zeros" is black
        moved = _resample_values(shifted, moves, "bilinear", self.pair_border)
        return moved - 1, _move_mask(mask, moves, self.pair_border)

    def _send_moves(self, mask: Tensor) -> Tensor:
        """Draw one move an image of `mask`, and send them to its device: [B, n, n + 1], see `_normalise_moves`."""
        count, *size = mask.shape

        def draw_normalised() -> Tensor:
            matrices = self.draw_moves(count, *size)
            return _normalise_moves(matrices, size)

        return send_from_host(draw_normalised, mask.device)

    def draw_moves(self, count: int, *size: int) -> Tensor:
        """Matrices [count, n + 1, n + 1], float64: (row, column, 1) of a result's pixel -> that of its source.

        `size` is (H, W) or (D, H, W); of volumes the slice comes before row and column.
        """
        from monai.transforms.utils import create_translate

        # Everything follows from one seed, which torch's generator of the CPU gives.
        seed = int(torch.randint(2**31, ()))
        random = np.random.RandomState(seed)
        dims = len(size)
        centre = [(side - 1) / 2 for side in size]
        opposite = [-at for at in centre]
        to_centre = create_translate(dims, centre)
        back = create_translate(dims, opposite)
        moves = []
        for _ in range(count):
            about_centre = self._draw_move(random, size)
            moves.append(to_centre @ about_centre @ back)
        return torch.from_numpy(np.stack(moves))

    def _draw_move(self, random: np.random.RandomState, size: Sequence[int]) -> np.ndarray:
        """One image's matrix about its centre.

        The first operation stands leftmost: a pixel of the result is traced back through the last operation
        first.
        """
        from monai.transforms.utils import create_rotate, create_scale, create_translate

        dims = len(size)
        angles_of_turn = 2 * dims - 3  # one in the plane, three in space
        most = self.rotate
        degrees = [random.uniform(-most, most) for _ in range(angles_of_turn)]
        signs = self._draw_signs(random, dims)
        most = self.translate
        shift = [side * random.uniform(-most, most) for side in size]

        # A turn goes from voxels to mm, and back.
        spacing = self.spacing or (1.0,) * dims
        steps = np.array([*spacing, 1.0])
        angles = [math.radians(angle) for angle in degrees]
        turn = create_rotate(dims, angles) * steps
        turn = turn / steps[:, None]

        mirror = create_scale(dims, signs)
        operations = [turn, mirror, create_translate(dims, shift)]
        order = random.permutation(3)
        first, second, third = [operations[number] for number in order]
        return first @ second @ third

    def _draw_signs(self, random: np.random.RandomState, dims: int) -> list[float]:
        """-1 for each axis that is mirrored, else 1; of volumes the slices come first."""
        axes = (2, 0, 1)[-dims:]
        signs = []
        for axis in axes:
            mirrored = axis in self.flip and random.rand() < 0.5
            signs.append(-1.0 if mirrored else 1.0)
        return signs


def _find_faults(rotate: float, flip: Sequence[int], translate: float) -> list[str]:
    """A line for each of these arguments that is out of range."""
    faults = []
    if not 0 <= rotate <= 180:
        faults.append(f"augment.rotate={rotate}: expected degrees within 0 to 180")
    if not 0 <= translate < 1:
        faults.append(f"augment.translate={translate}: expected a fraction of the side, 0 <= translate < 1")
    axes = set(flip)
    if len(axes) != len(flip) or not axes <= {0, 1, 2}:
        faults.append(f"augment.flip={list(flip)}: expected axes out of [0, 1, 2], each once, or []")
    return faults


def _find_faults_of_border(name: str, border: str) -> list[str]:
    if border in BORDERS:
        return []
    known = ", ".join(BORDERS)
    return [f"augment.{name}={border}: expected one of {known}"]


def _move_mask(mask: Tensor, moves: Tensor, border: str) -> Tensor:
    """Nearest neighbour, so that no class index appears that was not there."""
    moved = _resample_values(mask[:, None], moves, "nearest", border)
    return moved[:, 0]


def _normalise_moves(matrices: Tensor, size: Sequence[int]) -> Tensor:
    """Matrices in pixels [B, n + 1, n + 1] -> in the coordinates of `affine_grid`, -1..1 and x first: [B, n, n + 1].

    This runs on the CPU, where the matrices are drawn: MONAI's own transform would do it on the GPU, and wait for it.
    """
    from monai.networks.utils import to_norm_affine

    dims = len(size)
    normalised = to_norm_affine(matrices, size, size, align_corners=True)
    moves = normalised[:, :dims].flip(1)
    turn = moves[..., :dims].flip(2)
    shift = moves[..., dims:]
    return torch.cat([turn, shift], dim=2)


def _resample_values(values: Tensor, moves: Tensor, mode: str, border: str) -> Tensor:
    """Values [B, C, *] where `moves` lead.

    Computed in float64, which autocast and TF32 leave alone: both would move pixels by rounding the coordinates.
    """
    shape = list(values.shape)
    grid = functional.affine_grid(moves, shape, align_corners=True)
    moved = functional.grid_sample(
        values.double(),
        grid,
        mode=mode,
        padding_mode=border,
        align_corners=True,
    )
    return moved.to(values.dtype)
