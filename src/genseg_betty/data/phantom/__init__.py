"""The data that ships: procedural 2D images with exact masks, in two domains.

`lung` is a chest X-ray (both lungs), `lesion` a dermoscopy image (the pigmented lesion), `vessel` a fetoscopy frame
(the placental vessels). Domain `source` is one scanner and its patients; `shifted` is another hospital: other
contrast, noise, pose, shapes and objects in the picture, so that a model trained on `source` loses accuracy there.
"""

import numpy as np

from genseg_betty.data.phantom.canvas import Canvas, clip_to_unit
from genseg_betty.data.phantom.lesion import draw_lesion
from genseg_betty.data.phantom.lung import draw_lungs
from genseg_betty.data.phantom.vessel import draw_vessels
from genseg_betty.data.source.case import Sample
from genseg_betty.errors import UserError

SUBJECTS = {
    "lung": draw_lungs,
    "lesion": draw_lesion,
    "vessel": draw_vessels,
}
KINDS = tuple(SUBJECTS)
DOMAINS = ("source", "shifted")
MIN_SIZE = 32  # pixels; below it a vessel is thinner than one


def draw_phantom(kind: str, domain: str, size: int, seed: int, index: int) -> Sample:
    """Draw one case; the same arguments give the same arrays, in any order of calls.

    `kind` is lung, lesion or vessel, `domain` source or shifted, `size` the side in pixels (at least 32). Image
    [size, size, C] whole numbers 0..255 (lung C = 1, else 3), mask [size, size] with classes 0 and 1.
    Raises UserError naming every argument that does not fit.
    """
    _require_fitting(kind, domain, size, seed, index)
    entropy = (KINDS.index(kind), DOMAINS.index(domain), seed, index)
    rng = np.random.default_rng(entropy)
    draw_subject = SUBJECTS[kind]
    image, mask = draw_subject(Canvas(rng, size), shifted=domain == "shifted")
    levels = np.rint(clip_to_unit(image) * 255)
    pixels = levels.astype(np.float32).reshape(size, size, -1)
    return Sample(pixels, mask.astype(np.int64))


def _require_fitting(kind: str, domain: str, size: int, seed: int, index: int) -> None:
    """Raise UserError naming every argument that does not fit."""
    faults = []
    if kind not in KINDS:
        known = ", ".join(KINDS)
        faults.append(f"kind is {kind!r}; expected one of {known}")
    if domain not in DOMAINS:
        known = ", ".join(DOMAINS)
        faults.append(f"domain is {domain!r}; expected one of {known}")
    if size < MIN_SIZE:
        faults.append(f"size is {size}; expected at least {MIN_SIZE} pixels")
    for name, value in (("seed", seed), ("index", index)):
        if value < 0:
            faults.append(f"{name} is {value}; expected 0 or more")
    if faults:
        raise UserError("phantom: " + "; ".join(faults))
