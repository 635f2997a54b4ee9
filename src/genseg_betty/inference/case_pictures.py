"""Pictures of test cases: the image, its true mask and the predicted one, at the size of the mask."""

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from genseg_betty.data.inspect.tiles import choose_slice, make_pixels
from genseg_betty.data.intensities import is_eight_bit
from genseg_betty.data.source.case import Case, Sample
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.files import atomic_write
from genseg_betty.inference.predictor import Predictor
from genseg_betty.run.names import DICE
from genseg_betty.run.pictures import IMAGE, PANELS, PREDICTION, ROLES, TRUTH, PicturedCase, choose_cases, name_panel
from genseg_betty.samples import PALETTE

MAX_SIDE = 1024
"""Pixels of the longer side; larger pictures are made smaller."""
QUALITY = 90
"""Of the JPEG of an image, in which no number is measured."""


def keep_pictures(
    folder: Path,
    test_set: str,
    predictor: Predictor,
    dataset: Dataset,
    cases: Sequence[Case],
    rows: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Write the pictures of the best, the median and the worst case, and of some chosen by their ids, into `folder`.

    Those of an earlier test are deleted. Each case is predicted a second time, for no more than a few are held at once.

    Args:
        rows: the scores of the cases, as `score_cases` finds them.

    Returns what `pictures.json` says of the test set. Raises UserError for a case that cannot be read, and OSError.
    """
    for role, panel in itertools.product(ROLES, PANELS):
        (folder / name_panel(test_set, role, panel)).unlink(missing_ok=True)
    by_id = {case.id: case for case in cases}
    scores = {row["id"]: row[DICE] for row in rows if row[DICE] is not None}
    kept = []
    for chosen in choose_cases(scores):
        shown = _draw_case(folder, test_set, chosen, predictor, dataset, by_id[chosen.id])
        kept.append(shown._asdict())
    return kept


class Panels(NamedTuple):
    """The pictures of a case; those of its masks are palette images whose values are the classes.

    `slice` is the one that is shown of a volume, from 0; None of an image.
    """

    image: Image.Image
    truth: Image.Image
    prediction: Image.Image
    slice: int | None = None


def draw_panels(sample: Sample, prediction: np.ndarray, shows_errors: bool = False) -> Panels:
    """Draw a case with its true mask and the class indices [*] predicted for it.

    Of a volume the slice with the most foreground in its true mask is shown, with `shows_errors` that with the most
    wrong voxels.
    """
    image, truth = sample.image, sample.mask
    assert truth is not None
    eight_bit = is_eight_bit(image)
    index = None
    if truth.ndim == 3:
        wrong = truth != prediction
        index = choose_slice(wrong if shows_errors and wrong.any() else truth)
        image, truth, prediction = image[index], truth[index], prediction[index]
    return Panels(
        image=Image.fromarray(make_pixels(image, eight_bit)),
        truth=_paint_mask(truth),
        prediction=_paint_mask(prediction),
        slice=index,
    )


def _draw_case(
    folder: Path, test_set: str, chosen: PicturedCase, predictor: Predictor, dataset: Dataset, case: Case
) -> PicturedCase:
    """Write the panels of a case."""
    sample = dataset.load(case)
    scaled = predictor.preprocessing.in_units_of_training(sample.image, dataset.scale([case]))
    prediction = predictor(scaled, sample.spacing, sample.affine)
    panels = draw_panels(sample, prediction)
    pictures = {IMAGE: panels.image, TRUTH: panels.truth, PREDICTION: panels.prediction}
    for panel, picture in pictures.items():
        content = _encode_picture(picture)
        atomic_write(folder / name_panel(test_set, chosen.name, panel), content)
    return chosen._replace(slice=panels.slice)


def _paint_mask(mask: np.ndarray) -> Image.Image:
    """Class indices [H, W] as a palette image whose values they are."""
    picture = Image.fromarray(mask.astype(np.uint8)).convert("P")
    first, *others = PALETTE
    colours = [*first]
    for index in range(255):
        colours += others[index % len(others)]
    picture.putpalette(colours)
    return picture


def _encode_picture(picture: Image.Image) -> bytes:
    """A mask as PNG, in which each pixel stays what it is, an image as JPEG."""
    is_mask = picture.mode == "P"
    longest = max(picture.size)
    if longest > MAX_SIDE:
        width, height = (max(1, round(side * MAX_SIDE / longest)) for side in picture.size)
        resampling = Image.Resampling.NEAREST if is_mask else Image.Resampling.LANCZOS
        picture = picture.resize((width, height), resampling)
    encoded = io.BytesIO()
    if is_mask:
        picture.save(encoded, "PNG", optimize=True)
    else:
        picture.save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()
