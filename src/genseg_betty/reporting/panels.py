"""The pictures of a test case on a page: image, truth, prediction, and where they differ. No model draws them anew."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from genseg_betty.reporting.elements import UNREADABLE, build_element, build_figure, read_picture, tag_picture
from genseg_betty.run.pictures import IMAGE, PANELS, PicturedCase, name_panel

SIDES = {8: 1024, 32: 512, 128: 256}
"""Up to so many cases on a page, the longer side of each picture has so many pixels."""
LEAST_SIDE = 128
"""Of the pictures of more cases: a page with fifty Runs is still a file to send."""
QUALITY = 85
# What became of a pixel, and its colour: of Okabe and Ito, whom the colour-blind can tell apart.
RIGHT, MISSED, SURPLUS, CONFUSED = 1, 2, 3, 4
COLOURS = {
    0: (0, 0, 0),
    RIGHT: (225, 225, 225),
    MISSED: (86, 180, 233),
    SURPLUS: (230, 159, 0),
    CONFUSED: (204, 121, 167),
}
LEGEND = "Errors: found is white, missed blue, found where there is none orange, of another class pink."

Indices = NDArray[np.uint8]


def read_panels(folder: Path, test_set: str, case: PicturedCase) -> dict[str, Image.Image]:
    """image, truth, prediction and error of a case; none where a file cannot be read or they do not fit together.

    `folder` is that of the Run.
    """
    try:
        image, truth, prediction = (_read_panel(folder, name_panel(test_set, case.name, panel)) for panel in PANELS)
    except UNREADABLE:
        return {}
    are_masks = truth.mode == prediction.mode == "P"
    if not are_masks or truth.size != prediction.size:
        return {}
    error = draw_error(np.asarray(truth), np.asarray(prediction))
    return {"image": image, "truth": truth, "prediction": prediction, "error": error}


def _read_panel(folder: Path, name: str) -> Image.Image:
    """A picture in samples/ with its pixels. Raises one of `UNREADABLE`."""
    kind = "JPEG" if name.endswith(IMAGE) else "PNG"
    content = read_picture(folder / "samples" / name, kind)
    picture = Image.open(io.BytesIO(content), formats=[kind])
    picture.load()
    return picture


def find_side(cases: int) -> int:
    """The longer side of a picture, on a page with so many cases."""
    sides = [side for most, side in SIDES.items() if cases <= most]
    return sides[0] if sides else LEAST_SIDE


def draw_error(truth: Indices, prediction: Indices) -> Image.Image:
    """Where two masks [H, W] of class indices agree and where they do not, as a palette image."""
    is_true = truth > 0
    is_found = prediction > 0
    error = np.zeros(truth.shape, np.uint8)
    error[is_true & is_found] = CONFUSED
    error[is_true & (truth == prediction)] = RIGHT
    error[is_true & ~is_found] = MISSED
    error[~is_true & is_found] = SURPLUS
    picture = Image.fromarray(error).convert("P")
    picture.putpalette([level for colour in COLOURS.values() for level in colour])
    return picture


def show_panels(panels: Mapping[str, Image.Image], side: int, id: str, caption: str) -> str:
    """The panels of a case side by side below a caption, each with its name; `side`: pixels of the longer side."""
    shown = ""
    for name, picture in panels.items():
        embedded = embed_panel(picture, side, f"{name} of {id}")
        shown += build_element("span", embedded + build_element("small", name))
    return build_figure(caption, build_element("div", shown, "panels"))


def embed_panel(picture: Image.Image, side: int, caption: str) -> str:
    """A picture inside the page, its longer side of at most so many pixels: a mask as PNG, an image as JPEG."""
    is_mask = picture.mode == "P"
    if max(picture.size) > side:
        picture = picture.copy()
        resampling = Image.Resampling.NEAREST if is_mask else Image.Resampling.LANCZOS
        picture.thumbnail((side, side), resampling)
    encoded = io.BytesIO()
    if is_mask:
        picture.save(encoded, "PNG", optimize=True)
        return tag_picture(encoded.getvalue(), "png", caption)
    picture.convert("RGB").save(encoded, "JPEG", quality=QUALITY)
    return tag_picture(encoded.getvalue(), "jpeg", caption)
