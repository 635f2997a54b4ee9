"""A recipe: what is changed at random, in which ranges and how often. conf/augment holds those that have a name.

Three ways lead through it. GenSeg augments the mask alone, and the generator renders the result (M̂ in Eq. 2): `mask`.
The rendered image may then be changed in its intensities: `image`. A real image and its mask are moved together, and
then the image is changed in its intensities: `pair`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from genseg_betty.augment.copy_paste import CopyPaste, paste_labels, paste_pixels
from genseg_betty.augment.elastic import Elastic
from genseg_betty.augment.geometry import BORDERS, Geometry, resample_values
from genseg_betty.augment.intensity import Intensity
from genseg_betty.errors import UserError
from genseg_betty.multilevel.step_inputs import send_from_host


class Augmentation:
    """Random geometry of masks and of image-mask pairs, and random intensities of images; each image draws for itself.

    Each part that a recipe has (geometry, elastic, copy-paste, intensity) draws one seed of a call from torch's default
    CPU generator, in this order, and all but the noise follows from these seeds; the noise comes from the generator of
    the image's device. A part that a recipe does not have draws nothing.

    Args:
        rotate: degrees; the angle, of volumes one about each axis, is uniform in [-rotate, rotate], 0 <= rotate <= 180.
        flip: axes (0 = up-down, 1 = left-right, 2 = first to last slice), each mirrored with probability 0.5.
        translate: fraction of a side; the shift is uniform in [-translate, translate], 0 <= translate < 1.
        mask_border: what `mask` shows outside the old frame: "zeros" (background), "border" (the nearest
            pixel repeated) or "reflection".
        pair_border: the same for `pair`; "zeros" is black (-1) in the image, background in the mask.
        spacing: mm between the voxels of volumes, along each axis, so that they turn as bodies do where slices lie
            further apart than pixels; None: the same along each, as for images.
        rotate_volumes: as `rotate`, of volumes; None: as of images.
        rotate_probability: the share of images that are turned.
        scale: the least and the most that things are enlarged by, uniform between them; None: sizes stay.
        scale_probability: the share of images whose scale changes.
        elastic: the arguments of `Elastic`; None: nothing is bent.
        intensity: the arguments of `Intensity`; None: intensities stay.
        copy_paste: the share of images that get the objects of another one of the batch, after both have moved.

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
        rotate_volumes: float | None = None,
        rotate_probability: float = 1.0,
        scale: Sequence[float] | None = None,
        scale_probability: float = 1.0,
        elastic: Mapping[str, Any] | None = None,
        intensity: Mapping[str, Any] | None = None,
        copy_paste: float = 0.0,
    ) -> None:
        self.geometry = Geometry(
            rotate=rotate,
            rotate_volumes=rotate_volumes,
            rotate_probability=rotate_probability,
            scale=None if scale is None else tuple(scale),
            scale_probability=scale_probability,
            flip=tuple(flip),
            translate=translate,
            spacing=None if spacing is None else tuple(spacing),
        )
        self.elastic = None if elastic is None else Elastic(**elastic)
        self.intensity = Intensity(**(intensity or {}))
        self.copy_paste = CopyPaste(probability=copy_paste) if copy_paste else None
        self.mask_border = mask_border
        self.pair_border = pair_border

        faults = self._find_faults()
        if faults:
            raise UserError("\n".join(faults))

    def mask(self, mask: Tensor) -> Tensor:
        """Mask [B, H, W] or [B, D, H, W] of class indices -> augmented mask, same shape, type and device; no new
        labels."""
        moves, displacements = self._draw_geometry(mask)
        moved = _move_mask(mask, moves, displacements, self.mask_border)
        if self.copy_paste is None:
            return moved
        return paste_labels(moved, self._draw_donors(self.copy_paste, moved))

    def image(self, image: Tensor) -> Tensor:
        """Image [B, C, *] in [-1, 1] -> the same with other intensities, in [-1, 1], differentiable by the image.

        A recipe without intensities gives back the image itself.
        """
        return self.intensity.change_images(image)

    def pair(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Image [B, C, *] in [-1, 1] and mask [B, *], moved by the same draw, the image linearly.

        Then objects are pasted onto both, and then follows `image`.
        """
        moves, displacements = self._draw_geometry(mask)
        shifted = image + 1  # so that "zeros" is black
        moved = resample_values(shifted, moves, displacements, "bilinear", self.pair_border)
        moved_mask = _move_mask(mask, moves, displacements, self.pair_border)
        if self.copy_paste is not None:
            donors = self._draw_donors(self.copy_paste, moved_mask)
            moved = paste_pixels(moved, moved_mask, donors)
            moved_mask = paste_labels(moved_mask, donors)
        return self.image(moved - 1), moved_mask

    def _find_faults(self) -> list[str]:
        """A line for each argument that is out of range."""
        faults = _find_faults_of_border("mask_border", self.mask_border)
        faults += _find_faults_of_border("pair_border", self.pair_border)
        faults += self.geometry.find_faults()
        faults += self.intensity.find_faults()
        if self.elastic is not None:
            faults += self.elastic.find_faults()
        if self.copy_paste is not None:
            faults += self.copy_paste.find_faults()
        return faults

    def _draw_donors(self, copy_paste: CopyPaste, mask: Tensor) -> Tensor:
        """Whose objects each image of the batch gets: [B] int64."""
        count = len(mask)
        return send_from_host(lambda: copy_paste.draw_donors(count), mask.device)

    def _draw_geometry(self, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """One move an image [B, n, n + 1] and, where the recipe bends, its displacements [B, *, n]."""
        count, size = len(mask), tuple(mask.shape[1:])
        moves = send_from_host(lambda: self.geometry.draw_normalised(count, size), mask.device)
        elastic = self.elastic
        if elastic is None:
            return moves, None
        return moves, send_from_host(lambda: elastic.draw_normalised(count, size), mask.device)


def _find_faults_of_border(name: str, border: str) -> list[str]:
    if border in BORDERS:
        return []
    known = ", ".join(BORDERS)
    return [f"augment.{name}={border}: expected one of {known}"]


def _move_mask(mask: Tensor, moves: Tensor, displacements: Tensor | None, border: str) -> Tensor:
    """Nearest neighbour, so that no class index appears that was not there."""
    moved = resample_values(mask[:, None], moves, displacements, "nearest", border)
    return moved[:, 0]
