"""Where a NIfTI image lies: where its sform says or, without one, where its qform says, as nibabel has it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import Header
from genseg_betty.data.formats.place import are_alike, is_proper, lie_together, spacing_in_words, spacing_of

if TYPE_CHECKING:
    from nibabel import Nifti1Header

MILLIMETRES = {1: 1000.0, 3: 0.001}  # by the code of the unit: metres and micrometres; others are taken for mm
UNIT_BITS = 7  # of xyzt_units


@dataclass(frozen=True)
class Forms:
    """The two places that a header may state, in mm; None where one is not stated, or its axes do not span space."""

    sform: np.ndarray | None
    qform: np.ndarray | None

    @property
    def affine(self) -> np.ndarray | None:
        """The place that counts."""
        return self.qform if self.sform is None else self.sform


def read_forms(header: "Nifti1Header", unit: float = 1.0) -> Forms:
    """The places of a header whose unit has so many millimetres."""
    sform = np.full((4, 4), np.nan)
    if int(header["sform_code"]) > 0:
        with suppress(ValueError):
            sform = np.array(header.get_sform(), dtype=np.float64)
    qform = np.full((4, 4), np.nan)
    if int(header["qform_code"]) > 0:
        with suppress(ValueError):  # a quaternion that is no rotation
            qform = np.array(header.get_qform(), dtype=np.float64)
    return Forms(_scale_place(sform, unit), _scale_place(qform, unit))


def describe_place(header: "Nifti1Header", stored: "Nifti1Header", shape: tuple[int, ...]) -> Header:
    """The place and the spacing of an image of that shape, and how its header contradicts itself.

    Args:
        header: as nibabel mends it.
        stored: as the file has it.
        shape: (H, W) or (D, H, W).
    """
    unit_code = int(stored["xyzt_units"]) & UNIT_BITS
    unit = MILLIMETRES.get(unit_code, 1.0)
    forms = read_forms(header, unit)
    affine = forms.affine
    count = len(shape)
    steps = header["pixdim"][1 : 1 + count]
    in_millimetres = [unit * float(step) for step in steps]
    spacing = tuple(reversed(in_millimetres))
    if affine is not None:
        spacing = spacing_of(affine, spacing)

    # A header may state its steps and its place several times, and each time otherwise.
    doubts = _find_unusable_forms(header, forms)
    stored_steps = unit * stored["pixdim"]
    odd_steps = _find_odd_steps(stored_steps, spacing, forms.sform is not None)
    if odd_steps:
        doubts.append(odd_steps)
    elif _lie_apart(forms, shape):  # a qform has the steps of pixdim, so that odd ones alone make it differ
        doubts.append("a place by the qform and another by the sform, which counts")
    return Header(shape, spacing, affine, " and ".join(doubts))


def _scale_place(affine: np.ndarray, unit: float) -> np.ndarray | None:
    """An affine in mm; None where its axes do not span space."""
    affine[:3] *= unit
    return affine if is_proper(affine) else None


def _find_unusable_forms(header: "Nifti1Header", forms: Forms) -> list[str]:
    """Sentences on the places that a header states but that are none."""
    doubts = []
    if forms.sform is None and int(header["sform_code"]) > 0:
        doubts.append("an sform whose axes span no space, which is passed over")
    if forms.qform is None and int(header["qform_code"]) > 0:
        doubts.append("a qform whose axes span no space, which is passed over")
    return doubts


def _lie_apart(forms: Forms, shape: tuple[int, ...]) -> bool:
    """Whether a header states two places that differ."""
    if forms.sform is None or forms.qform is None:
        return False
    by_qform = Header(shape, None, forms.qform)
    by_sform = Header(shape, None, forms.sform)
    return not lie_together(by_qform, by_sform)


def _find_odd_steps(pixdim: np.ndarray, spacing: Sequence[float], by_sform: bool) -> str:
    """How the steps of a header as stored differ from the spacing that counts; empty where they do not."""
    steps = pixdim[len(spacing) : 0 : -1]
    stated = [float(step) for step in steps]
    if are_alike(stated, spacing):
        return ""
    found = spacing_in_words(stated)
    taken = spacing_in_words(spacing)
    if by_sform:
        return f"voxels of {found} mm by pixdim and of {taken} mm by the sform, which counts"
    return f"voxels of {found} mm by pixdim, which are taken for {taken} mm"
