"""Elastic displacement against the spline's own formula and SciPy's resampling; it is bounded and never folds."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from genseg_betty.augment import Augmentation
from genseg_betty.augment.elastic import Elastic, spread_weights
from genseg_betty.errors import UserError

STILL = {"rotate": 0, "flip": (), "translate": 0}


def basis(offset: float) -> list[float]:
    """The four cubic B-splines at an offset in [0, 1) within a cell, as Rueckert et al. write them."""
    u = offset
    return [(1 - u) ** 3 / 6, (3 * u**3 - 6 * u**2 + 4) / 6, (-3 * u**3 + 3 * u**2 + 3 * u + 1) / 6, u**3 / 6]


@pytest.mark.parametrize(("side", "cells"), [(23, 4), (8, 1), (6, 9)])
def test_weights_are_those_of_the_uniform_cubic_spline(side: int, cells: int) -> None:
    expected = np.zeros((side, cells + 3))
    for pixel in range(side):
        place = pixel / (side - 1) * cells
        cell = min(int(place), cells - 1)
        expected[pixel, cell : cell + 4] = basis(place - cell)
    np.testing.assert_allclose(spread_weights(side, cells), expected, atol=1e-12)


@pytest.mark.parametrize("size", [(40, 56), (12, 20, 16)])
def test_images_and_masks_bend_as_scipy_bends_them(size: tuple[int, ...]) -> None:
    settings = {"cells": 3, "shift": 0.3}
    mask = torch.randint(0, 3, (3, *size))
    image = torch.rand(3, 2, *size, dtype=torch.float64) * 2 - 1
    torch.manual_seed(4)
    torch.randint(2**31, ())  # that of the geometry, which is drawn first
    displacements = Elastic(**settings).draw_displacements(3, size).numpy()
    torch.manual_seed(4)
    moved_image, moved_mask = Augmentation(**STILL, elastic=settings).pair(image, mask)
    assert abs(displacements).max() > 1
    for index, displacement in enumerate(displacements):
        places = np.indices(size) + np.moveaxis(displacement, -1, 0)
        for channel in range(2):
            values = ndimage.map_coordinates(image[index, channel].numpy(), places, order=1, mode="nearest")
            np.testing.assert_allclose(moved_image[index, channel].numpy(), values, atol=1e-9)
        labels = ndimage.map_coordinates(mask[index].numpy(), places, order=0, mode="nearest")
        assert (labels == moved_mask[index].numpy()).mean() > 0.999


@pytest.mark.parametrize(("size", "cells"), [((61, 45), 5), ((25, 31, 28), 4)])
def test_no_pixel_moves_too_far_and_nothing_folds(size: tuple[int, ...], cells: int) -> None:
    displacements = Elastic(cells=cells, shift=0.4).draw_displacements(10, size).numpy()
    most = 0.4 * np.array(size) / cells
    assert (abs(displacements) <= most).all()
    assert (abs(displacements).max(axis=tuple(range(displacements.ndim - 1))) > most / 3).all()
    for displacement in displacements:
        places = np.indices(size) + np.moveaxis(displacement, -1, 0)
        slopes = np.stack([np.stack(np.gradient(place)) for place in places])
        assert (np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1))) > 0).all()


def test_a_share_of_the_images_bends() -> None:
    displacements = Elastic(cells=2, shift=0.2, probability=0.3).draw_displacements(2000, (4, 5))
    bends = displacements.flatten(1).abs().amax(dim=1) > 0
    assert abs(bends.double().mean() - 0.3) < 0.04
    assert len(displacements[bends].unique(dim=0)) == bends.sum()


def test_the_same_seed_bends_alike() -> None:
    augment, mask = Augmentation(elastic={"cells": 4, "shift": 0.4}), torch.arange(900).reshape(1, 30, 30)
    torch.manual_seed(3)
    first = augment.mask(mask)
    again = augment.mask(mask)
    torch.manual_seed(3)
    assert torch.equal(augment.mask(mask), first)
    assert not torch.equal(again, first)


def test_faults_are_told_with_what_is_expected() -> None:
    with pytest.raises(UserError) as raised:
        Augmentation(elastic={"cells": 0, "shift": 0.5, "probability": 2})
    for expected in (
        "augment.elastic.cells=0: expected an integer from 1 to 64",
        "augment.elastic.shift=0.5: expected a share of the distance between control points, from 0 to 0.4",
        "augment.elastic.probability=2: expected a share of the images, from 0 to 1",
    ):
        assert expected in str(raised.value)
