"""Copies of real images are near 0, whatever was done to the whole of them; other images are far."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from genseg_betty.augment import Augmentation
from genseg_betty.inference.mask_moves import replay_move
from genseg_betty.inference.nearest_real import COPY, find_nearest, make_moved_thumbnail, make_thumbnails

SIZE = (96, 80)


def draw_image(seed: int, size: tuple[int, ...] = SIZE, frame: bool = False) -> Tensor:
    """[1, *] in [-1, 1]: texture of several scales on a slope that all images share, on request in a round frame."""
    random = np.random.default_rng(seed)
    values = np.linspace(-1, 1, size[-1]) * np.ones(size)
    for sigma in (2, 4, 9):
        noise = ndimage.gaussian_filter(random.normal(size=size), sigma)
        values = values + noise / noise.std() / 2
    values = np.clip(values / 3, -0.9, 0.9)
    if frame:
        rows, columns = (np.linspace(-1, 1, side) for side in size)
        values[rows[:, None] ** 2 + columns**2 > 0.9] = -1
    return torch.from_numpy(values).float()[None]


@pytest.mark.parametrize("frame", [False, True])
def test_other_images_are_far_and_copies_near(frame: bool) -> None:
    real = [draw_image(seed, frame=frame) for seed in range(5)]
    thumbnails = make_thumbnails(real)
    for seed in range(10, 14):
        assert find_nearest(draw_image(seed, frame=frame), thumbnails).distance > 0.4
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.05, SIZE)).float()
    copies = {
        "same": real[3],
        "darker": real[3] * 0.6 - 0.3,
        "noisy": real[3] + noise,
        "colour": real[3].expand(3, -1, -1),
    }
    if frame:
        copies.pop("darker")  # its frame is black no longer: nobody's frame is
    for name, copy in copies.items():
        found = find_nearest(copy, thumbnails)
        assert (found.index, found.is_moved) == (3, False), name
        assert found.distance < COPY / 2, name


@pytest.mark.parametrize("recipe", [{}, {"rotate": 90.0, "flip": (0, 1)}, {"elastic": {"cells": 4, "shift": 0.25}}])
@pytest.mark.parametrize("size", [SIZE, (12, 40, 36)])
def test_a_copy_that_moved_with_its_mask_is_found(recipe: dict, size: tuple[int, ...]) -> None:
    real = [draw_image(seed, size) for seed in range(4)]
    thumbnails = make_thumbnails(real)
    for seed in range(3):
        move = replay_move(Augmentation(**recipe), seed, size)
        assert move is not None
        copy = move.move_values(real[2][None] + 1, "bilinear")[0] - 1
        moved = make_moved_thumbnail(real[2], move)
        found = find_nearest(copy.float(), thumbnails, 2, moved)
        assert (found.index, found.is_moved) == (2, True)
        assert found.distance < COPY
        assert find_nearest(draw_image(30 + seed, size), thumbnails, 2, moved).distance > 0.3


def test_a_copy_shifted_and_stretched_a_little_is_found() -> None:
    thumbnails = make_thumbnails([draw_image(seed) for seed in range(5)])
    trimmed = draw_image(1)[:, 3:93, 2:77]
    found = find_nearest(trimmed, thumbnails)
    assert found.index == 1
    assert found.distance < COPY


def test_a_flat_image_is_no_copy() -> None:
    thumbnails = make_thumbnails([draw_image(seed) for seed in range(2)])
    assert find_nearest(torch.zeros(1, *SIZE), thumbnails).distance > 0.9
