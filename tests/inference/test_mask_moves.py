"""The move that a table of pairs tells of a mask is the one that the augmentation made."""

import math

import pytest
import torch

from genseg_betty.augment import Augmentation
from genseg_betty.inference.mask_moves import MaskMove, replay_move
from genseg_betty.randomness import seeded

RECIPES = {
    "paper": {},
    "still": {"rotate": 0.0, "flip": (), "translate": 0.0},
    "strong": {"rotate": 180.0, "flip": (0, 1), "scale": (0.7, 1.4), "translate": 0.1},
    "elastic": {"elastic": {"cells": 4, "shift": 0.3}},
}


def draw_mask(*size: int) -> torch.Tensor:
    mask = torch.zeros(size, dtype=torch.int64)
    mask[tuple(slice(side // 4, side // 2 + 3) for side in size)] = 1
    mask[tuple(slice(side // 4, side // 4 + 2) for side in size)] = 2
    return mask


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("size", [(40, 30), (8, 20, 16)])
def test_the_replayed_move_makes_the_same_mask(name: str, size: tuple[int, ...]) -> None:
    augment = Augmentation(**RECIPES[name])
    mask = draw_mask(*size)
    for seed in range(3):
        with seeded(seed):
            moved = augment.mask(mask[None])[0]
        move = replay_move(augment, seed, size)
        assert move is not None
        assert torch.equal(move.move_values(mask[None, None], "nearest")[0, 0], moved)
        assert (move.bend is not None) == (name == "elastic")


def test_an_augmentation_of_others_is_not_replayed() -> None:
    class Own(Augmentation):
        pass

    assert replay_move(Own(), 0, (8, 8)) is None


def make_matrix(degrees: float, mirrored: bool, scale: float, down: float, right: float, size: int) -> torch.Tensor:
    """From a pixel of the result to its source: mirrored, turned against the clock, scaled, then shifted."""
    angle, centre = math.radians(degrees), (size - 1) / 2
    cosine, sine = math.cos(angle), math.sin(angle)
    # (x right, y up) turned against the clock; rows run down.
    turn = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
    mirror = torch.diag(torch.tensor([-1.0 if mirrored else 1.0, 1.0], dtype=torch.float64))
    to_plane = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    forward = torch.eye(3, dtype=torch.float64)
    forward[:2, :2] = to_plane.T @ (scale * turn @ mirror) @ to_plane
    middle = torch.full((2,), centre, dtype=torch.float64)
    forward[:2, 2] = middle + torch.tensor([down, right], dtype=torch.float64) - forward[:2, :2] @ middle
    return torch.linalg.inv(forward)


@pytest.mark.parametrize(
    ("degrees", "mirrored", "scale", "down", "right"),
    [
        (0, False, 1, 0, 0),
        (12.5, False, 1, 3, -2),
        (-40, True, 0.8, 0, 5),
        (170, False, 1.3, -1, 0),
        (0, True, 1, 0, 0),
    ],
)
def test_a_move_is_told_in_numbers(degrees: float, mirrored: bool, scale: float, down: float, right: float) -> None:
    move = MaskMove(make_matrix(degrees, mirrored, scale, down, right, 20), (20, 20))
    found = move.describe()
    assert found.pop("move")
    assert found == {
        "rotation": pytest.approx(degrees),
        "mirrored": int(mirrored),
        "scale": pytest.approx(scale),
        "shift_down": pytest.approx(down),
        "shift_right": pytest.approx(right),
    }


def test_a_quarter_turn_against_the_clock_brings_the_right_to_the_top() -> None:
    mask = torch.zeros(1, 1, 21, 21)
    mask[0, 0, 10, 18] = 1
    moved = MaskMove(make_matrix(90, False, 1, 0, 0, 21), (21, 21)).move_values(mask, "nearest")
    assert moved.nonzero().tolist() == [[0, 0, 2, 10]]


def test_the_matrix_of_a_table_is_the_matrix() -> None:
    move = replay_move(Augmentation(), 5, (9, 12, 14))
    assert move is not None
    found = move.describe()
    assert "rotation" not in found
    rows = [[float(number) for number in row.split()] for row in str(found["move"]).split("; ")]
    torch.testing.assert_close(torch.tensor(rows).double(), move.matrix[:-1], atol=1e-6, rtol=0)
