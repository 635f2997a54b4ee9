"""Surface metrics against worked examples, SciPy's distance transform of whole arrays, MONAI's metrics, and a loop."""

import itertools
import math
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage

from genseg_betty.metrics.surfaces import TOLERANCES, measure_surfaces, name_unit

Spacing = Sequence[float] | None


def find_surface(mask: np.ndarray) -> np.ndarray:
    """Pixels of the mask with a neighbour, along any axis, that is outside of the mask or of the image."""
    padded = np.pad(mask, 1)
    surface = np.zeros_like(mask)
    middle = (slice(1, -1),) * mask.ndim
    for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
        surface |= mask & ~np.roll(padded, step, axis)[middle]
    return surface


def measure_by_scipy(prediction: np.ndarray, truth: np.ndarray, spacing: Spacing) -> tuple[float, float, float]:
    """HD95, ASSD and surface Dice of two masks, by distance transforms of the whole arrays."""
    surfaces = find_surface(prediction), find_surface(truth)
    sampling = spacing or [1] * truth.ndim
    to_truth, to_prediction = (
        ndimage.distance_transform_edt(~other, sampling=sampling)[own] for own, other in (surfaces, surfaces[::-1])
    )
    every = np.concatenate([to_truth, to_prediction])
    hd95 = max(np.quantile(to_truth, 0.95), np.quantile(to_prediction, 0.95))
    tolerance = 1 if spacing is None else 2
    return hd95, every.sum() / every.size, (every <= tolerance + 1e-9).sum() / every.size


def draw_blob(shape: Sequence[int], centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    """An ellipsoid, cut off at the borders."""
    axes = np.meshgrid(*map(np.arange, shape), indexing="ij")
    scaled = [((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, radii, strict=True)]
    return sum(scaled) <= 1


def draw_point(shape: Sequence[int], place: Sequence[int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(place)] = True
    return mask


FLAT, DEEP = (30, 40), (12, 24, 20)
RANDOM = np.random.default_rng(0)
PAIRS = {
    "blobs": (draw_blob(FLAT, (14, 20), (8, 11)), draw_blob(FLAT, (16, 17), (9, 7))),
    "at borders": (draw_blob(FLAT, (0, 0), (12, 9)), draw_blob(FLAT, (2, 0), (14, 6))),
    "whole image": (np.ones(FLAT, bool), draw_blob(FLAT, (15, 20), (10, 10))),
    "far apart": (draw_blob(FLAT, (4, 4), (3, 3)), draw_blob(FLAT, (25, 35), (4, 4))),
    "points": (draw_point(FLAT, (3, 5)), draw_point(FLAT, (6, 9))),
    "corners": (draw_point(FLAT, (0, 0)), draw_point(FLAT, (29, 39))),
    "with a hole": (
        draw_blob(FLAT, (15, 20), (12, 14)) & ~draw_blob(FLAT, (15, 20), (5, 5)),
        draw_blob(FLAT, (14, 22), (11, 14)),
    ),
    "noise": (RANDOM.random(FLAT) < 0.3, RANDOM.random(FLAT) < 0.1),
    "volumes": (draw_blob(DEEP, (6, 12, 10), (4, 9, 6)), draw_blob(DEEP, (5, 10, 11), (5, 7, 7))),
    "volumes at borders": (draw_blob(DEEP, (0, 0, 19), (7, 9, 8)), draw_blob(DEEP, (11, 3, 19), (11, 7, 5))),
    "points in a volume": (draw_point(DEEP, (2, 3, 4)), draw_point(DEEP, (5, 7, 4))),
    "noise in a volume": (RANDOM.random(DEEP) < 0.4, RANDOM.random(DEEP) < 0.05),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("spacing", [None, (3.0, 0.7, 0.4)], ids=["pixels", "anisotropic mm"])
def test_against_distance_transforms(pair: tuple[np.ndarray, np.ndarray], spacing: Spacing) -> None:
    spacing = spacing and spacing[-pair[0].ndim :]
    found = measure_surfaces(*(mask.astype(int) for mask in pair), 2, spacing)
    expected = measure_by_scipy(*pair, spacing)
    assert [found[name][0] for name in ("hd95", "assd", "surface_dice")] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["blobs", "noise", "volumes"])
def test_against_monais_metrics(name: str) -> None:
    masks = [torch.tensor(mask).long() for mask in PAIRS[name]]
    pair = [torch.stack([1 - mask, mask])[None] for mask in masks]
    found = measure_surfaces(*masks, 2)
    hd95 = compute_hausdorff_distance(*pair, percentile=95)
    assd = compute_average_surface_distance(*pair, symmetric=True)
    surface_dice = compute_surface_dice(*pair, [1.0])
    expected = [[float(value)] for value in (hd95, assd, surface_dice)]
    assert [found["hd95"], found["assd"], found["surface_dice"]] == [pytest.approx(value) for value in expected]


def test_worked_example() -> None:
    """Two points 3 rows and 4 columns apart: 5 pixels; with rows of 2 mm and columns of 0.5 mm √(6² + 2²) mm."""
    prediction, truth = (mask.astype(int) for mask in PAIRS["points"])
    assert measure_surfaces(prediction, truth, 2) == {"hd95": [5.0], "assd": [5.0], "surface_dice": [0.0]}
    found = measure_surfaces(prediction, truth, 2, (2.0, 0.5))
    assert found["hd95"] == found["assd"] == [pytest.approx(math.sqrt(40))]


@pytest.mark.parametrize(("columns", "spacing", "expected"), [
    (1, None, 1.0), (2, None, 0.0), (2, (1, 1), 1.0), (3, (1, 1), 0.0), (4, (9, 0.5), 1.0), (1, (1, 2.1), 0.0),
])  # fmt: skip
def test_the_tolerance_is_a_pixel_or_two_mm(columns: int, spacing: Spacing, expected: float) -> None:
    """Two lines that many columns apart."""
    prediction, truth = np.zeros((2, 5, 9), int)
    prediction[:, 2] = truth[:, 2 + columns] = 1
    assert measure_surfaces(prediction, truth, 2, spacing)["surface_dice"] == [expected]
    assert TOLERANCES[name_unit(spacing)] == (1 if spacing is None else 2)


def test_each_class_has_its_own_surface() -> None:
    """Class 2 inside of class 1: the outline of class 1 has a second side there."""
    prediction, truth = (mask.astype(int) for mask in PAIRS["blobs"])
    prediction[12:17, 15:22] = truth[13:18, 16:22] = 2
    found = measure_surfaces(prediction, truth, 4)
    for index in (1, 2):
        expected = measure_by_scipy(prediction == index, truth == index, None)
        values = [found[name][index - 1] for name in ("hd95", "assd", "surface_dice")]
        assert values == pytest.approx(expected, rel=1e-5)
    assert [found[name][2] for name in found] == [0.0, 0.0, 1.0]  # class 3 is in neither mask


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [(0, 0, [0.0, 0.0, 1.0]), (1, 0, [None, None, 0.0]), (0, 1, [None, None, 0.0]), (1, 1, [0.0, 0.0, 1.0])],
    ids=["both empty", "truth empty", "prediction empty", "both full"],
)
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)], ids=["image", "volume"])
def test_empty_masks(shape: tuple[int, ...], prediction: int, truth: int, expected: list[float | None]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure_surfaces(np.full(shape, prediction), np.full(shape, truth), 2)
    assert [found[name] for name in ("hd95", "assd", "surface_dice")] == [[value] for value in expected]


def test_a_large_volume_costs_what_its_masks_cost() -> None:
    """Two small masks in 512 x 512 x 300 voxels: distances of the whole volume would take a minute."""
    prediction, truth = np.zeros((2, 300, 512, 512), np.uint8)
    prediction[100:130, 200:260, 200:260] = truth[102:130, 200:264, 200:260] = 1
    start = time.process_time()
    found = measure_surfaces(prediction, truth, 2, (1.0, 0.5, 0.5))
    assert time.process_time() - start < 10
    assert found["surface_dice"] == [1.0]


def test_importing_the_metrics_loads_neither_monai_nor_torch() -> None:
    code = "import sys, genseg_betty.metrics.scores; print({'monai', 'torch', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
