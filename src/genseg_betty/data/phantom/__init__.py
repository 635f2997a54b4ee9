"""The data that ships: procedural 2D images with exact masks, in two domains.

`lung` is a chest X-ray (both lungs), `lesion` a dermoscopy image (the pigmented lesion), `vessel` a fetoscopy frame
(the placental vessels). Domain `source` is one scanner and its patients; `shifted` is another hospital: other
contrast, noise, pose, shapes and objects in the picture, so that a model trained on `source` loses accuracy there.
"""

import numpy as np

from genseg_betty.data.phantom import lesion, lung, vessel
from genseg_betty.data.phantom.canvas import Canvas
from genseg_betty.data.source.case import Sample
from genseg_betty.errors import UserError

KINDS = ("lung", "lesion", "vessel")
DOMAINS = ("source", "shifted")
MIN_SIZE = 32  # pixels; below it a vessel is thinner than one


def render(kind: str, domain: str, size: int, seed: int, index: int) -> Sample:
    """Draw one case; the same arguments give the same arrays, in any order of calls.

    `kind` is lung, lesion or vessel, `domain` source or shifted, `size` the side in pixels (at least 32). Image
    [size, size, C] whole numbers 0..255 (lung C = 1, else 3), mask [size, size] with classes 0 and 1.
    Raises UserError naming every argument that does not fit.
    """
    _check(kind, domain, size, seed, index)
    entropy = (KINDS.index(kind), DOMAINS.index(domain), seed, index)
    canvas = Canvas(np.random.default_rng(entropy), size)
    draw = {"lung": lung.draw, "lesion": lesion.draw, "vessel": vessel.draw}[kind]
    image, mask = draw(canvas, shifted=domain == "shifted")
    image = np.rint(np.clip(image, 0, 1) * 255).astype(np.float32)
    return Sample(image.reshape(size, size, -1), mask.astype(np.int64))


def _check(kind: str, domain: str, size: int, seed: int, index: int) -> None:
    faults = []
    if kind not in KINDS:
        faults.append(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
    if domain not in DOMAINS:
        faults.append(f"domain is {domain!r}; expected one of {', '.join(DOMAINS)}")
    if size < MIN_SIZE:
        faults.append(f"size is {size}; expected at least {MIN_SIZE} pixels")
    faults += [
        f"{name} is {value}; expected 0 or more" for name, value in (("seed", seed), ("index", index)) if value < 0
    ]
    if faults:
        raise UserError("phantom: " + "; ".join(faults))
