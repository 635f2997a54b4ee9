"""Intensities of one dataset in the units of another: by black and white, or refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genseg_betty.data.cases import open_dataset
from genseg_betty.data.scale import EIGHT_BIT, rescaled, scale_of_files
from genseg_betty.errors import UserError

TWELVE_BIT = (0.0, 4095.0)


def test_bytes_in_the_units_of_twelve_bits() -> None:
    image = np.array([[[0], [51]], [[204], [255]]], np.float32)
    expected = [[[0], [819]], [[3276], [4095]]]  # fifths of the range
    assert rescaled(image, EIGHT_BIT, TWELVE_BIT).tolist() == expected
    assert rescaled(rescaled(image, EIGHT_BIT, TWELVE_BIT), TWELVE_BIT, EIGHT_BIT).tolist() == image.tolist()
    shifted = rescaled(image, EIGHT_BIT, (-1000.0, 1000.0))
    assert shifted.ravel().tolist() == [-1000, -600, 600, 1000]
    assert shifted.dtype == np.float32


@pytest.mark.parametrize("scale", [None, EIGHT_BIT, TWELVE_BIT])
def test_equal_scales_change_nothing(scale) -> None:
    image = np.array([[[0.1], [300]]], np.float32)
    assert rescaled(image, scale, scale) is image


def test_known_and_unknown_do_not_compare() -> None:
    image = np.zeros((2, 2, 1), np.float32)
    for own, other in ((None, EIGHT_BIT), (EIGHT_BIT, None), (TWELVE_BIT, None)):
        with pytest.raises(UserError, match=r"do not compare; .* dataset\.range=\[low, high\]"):
            rescaled(image, own, other)


def test_scales_of_files(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "gray.png")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "colour.jpg")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    np.save(tmp_path / "bytes.npy", np.zeros((4, 4), np.uint8))
    np.save(tmp_path / "floats.npy", np.zeros((4, 4), np.float32))
    eight = [tmp_path / name for name in ("gray.png", "colour.jpg", "bytes.npy")]
    assert scale_of_files(eight) == EIGHT_BIT
    assert scale_of_files(eight, TWELVE_BIT) == EIGHT_BIT  # what is declared is of the others
    for name in ("deep.png", "floats.npy"):
        assert scale_of_files([tmp_path / name]) is None
        assert scale_of_files([*eight, tmp_path / name], TWELVE_BIT) == TWELVE_BIT


def test_white_is_above_black(folder: Path, dataset_yaml) -> None:
    with pytest.raises(UserError, match=r"dataset\.range is \[5, 5\]; expected \[black, white\]"):
        open_dataset(dataset_yaml("folder", root=str(folder), range=[5, 5]))
