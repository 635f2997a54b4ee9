"""Test cases as pictures: outlines lie where the masks end, whatever the image's size, channels and intensities."""

import numpy as np
import pytest

from genseg_betty.samples import PREDICTION, TRUTH
from genseg_betty.training.case_overlays import draw_overlay


def find_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> list[tuple[int, int]]:
    rows, columns = np.nonzero((picture == colour).all(axis=-1))
    return sorted(zip(rows.tolist(), columns.tolist(), strict=True))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("highest", [1.0, 255.0, 65535.0])
def test_outlines_are_the_borders_of_the_masks(channels: int, highest: float) -> None:
    image = np.zeros((128, 160, channels), dtype=np.float32)
    image[:, 80:] = highest
    truth, prediction = np.zeros((2, 128, 160), dtype=np.int64)
    truth[10:13, 20:24] = 1
    prediction[60:62, 100:102] = 1
    picture = draw_overlay(image, truth, prediction)
    border = [(row, column) for row in range(10, 13) for column in range(20, 24)]
    assert find_colour(picture, TRUTH) == [place for place in border if place not in ((11, 21), (11, 22))]
    assert find_colour(picture, PREDICTION) == [(60, 100), (60, 101), (61, 100), (61, 101)]
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert picture[0, 159].tolist() == [255, 255, 255]


def test_a_large_image_is_shrunk_and_a_volume_shows_the_slice_with_most_truth() -> None:
    volume = np.zeros((3, 512, 256, 1), dtype=np.float32)
    volume[1, ..., 0] = np.linspace(0, 1, 256)
    truth, prediction = np.zeros((2, 3, 512, 256), dtype=np.int64)
    truth[0, :4, :4] = 1
    truth[1, 100:200, 100:200] = 1
    prediction[2] = 1
    picture = draw_overlay(volume, truth, prediction)
    assert picture.shape == (256, 128, 3)
    inner = {(row, column) for row in range(51, 99) for column in range(51, 99)}
    square = {(row, column) for row in range(50, 100) for column in range(50, 100)}
    assert {*find_colour(picture, TRUTH)} == square - inner
    assert find_colour(picture, PREDICTION) == []
