"""Augmentation against scipy's affine_transform, exact flips, and its promises on randomness."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from genseg_betty.augment import Augmentation
from genseg_betty.augment.geometry import Geometry
from genseg_betty.errors import UserError

SCIPY_MODES = {"zeros": "grid-constant", "border": "nearest", "reflection": "mirror"}


def blobs(count: int = 3, height: int = 40, width: int = 56) -> Tensor:
    """Smooth masks of classes 0, 1 and 2."""
    fields = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((count, height, width)), (0, 4, 4))
    return torch.from_numpy(np.digitize(fields, np.quantile(fields, [0.5, 0.8])))


@pytest.mark.parametrize("border", SCIPY_MODES)
def test_pair_matches_scipy(border: str) -> None:
    augment = Augmentation(rotate=40, flip=(0, 1), translate=0.3, mask_border=border, pair_border=border)
    mask = blobs()
    image = torch.rand(3, 2, 40, 56, dtype=torch.float64) * 2 - 1
    torch.manual_seed(5)
    matrices = augment.geometry.draw_moves(3, 40, 56).numpy()
    torch.manual_seed(5)
    moved_image, moved_mask = augment.pair(image, mask)
    torch.manual_seed(5)
    assert torch.equal(augment.mask(mask), moved_mask)
    for index, matrix in enumerate(matrices):
        labels = ndimage.affine_transform(mask[index].numpy(), matrix, order=0, mode=SCIPY_MODES[border])
        assert (labels == moved_mask[index].numpy()).mean() > 0.999  # ties may round either way
        for channel in range(2):
            values = ndimage.affine_transform(
                image[index, channel].numpy(), matrix, order=1, mode=SCIPY_MODES[border], cval=-1
            )
            np.testing.assert_allclose(moved_image[index, channel].numpy(), values, atol=1e-9)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("size", [(7, 12), (256, 255)])
def test_flips_are_exact_and_even(axes: tuple[int, ...], size: tuple[int, int]) -> None:
    augment = Augmentation(rotate=0, flip=axes, translate=0)
    mask = torch.randint(0, 5, size).expand(64, *size)
    image = torch.randn(size).expand(64, 1, *size)
    moved_image, moved = augment.pair(image, mask)
    choices = [()] + [(axis,) for axis in axes] + ([(0, 1)] if axes == (0, 1) else [])
    flipped = [torch.flip(mask[0], choice) for choice in choices]
    drawn = [next(i for i, expected in enumerate(flipped) if torch.equal(m, expected)) for m in moved]
    shares = np.bincount(drawn, minlength=len(choices)) / 64
    assert (abs(shares - 1 / len(choices)) < 0.2).all()
    expected_images = torch.stack([torch.flip(image[0], [a + 1 for a in choices[i]]) for i in drawn])
    torch.testing.assert_close(moved_image, expected_images, rtol=0, atol=1e-5)


def test_nothing_asked_changes_nothing() -> None:
    mask, image = blobs(), torch.rand(3, 1, 40, 56) * 2 - 1
    moved_image, moved = Augmentation(rotate=0, flip=(), translate=0).pair(image, mask)
    assert torch.equal(moved, mask)
    torch.testing.assert_close(moved_image, image, rtol=0, atol=1e-6)


def test_rotation_keeps_the_centre_and_its_range() -> None:
    matrices = Augmentation(rotate=20, flip=(), translate=0).geometry.draw_moves(500, 31, 51)
    centre = torch.tensor([15.0, 25.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(matrices @ centre, centre.expand(500, 3))
    angles = torch.rad2deg(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert 18 < angles.max() <= 20
    assert -20 <= angles.min() < -18
    assert abs(angles.mean()) < 2


def test_translation_is_a_fraction_of_each_side() -> None:
    shifts = Augmentation(rotate=0, flip=(), translate=0.1).geometry.draw_moves(500, 100, 200)[:, :2, 2]
    for axis, limit in ((0, 10), (1, 20)):
        assert 0.9 * limit < shifts[:, axis].max() <= limit
        assert -limit <= shifts[:, axis].min() < -0.9 * limit


def test_order_is_random() -> None:
    """A shift that comes last keeps the centre within the box of the shifts; a rotation after it does not.

    The inverse matrices say the same of the other order. A random order leaves the box both ways.
    """
    matrices = Augmentation(rotate=180, flip=(), translate=0.1).geometry.draw_moves(1000, 101, 101)
    centre = torch.tensor([50.0, 50.0, 1.0], dtype=torch.float64)
    for moves in (matrices, torch.linalg.inv(matrices)):
        distance = (moves @ centre - centre).abs().amax(dim=1)
        assert distance.max() <= 10.1 * math.sqrt(2)
        assert 0.03 < (distance > 10.1).double().mean() < 0.2


def test_replays_from_one_seed_of_the_default_generator() -> None:
    augment, mask = Augmentation(), blobs()
    torch.manual_seed(3)
    first, after_call = augment.mask(mask), torch.get_rng_state()
    torch.manual_seed(3)
    assert torch.equal(augment.mask(mask), first)
    torch.manual_seed(3)
    torch.randint(2**31, ())
    assert torch.equal(torch.get_rng_state(), after_call)
    assert not torch.equal(augment.mask(mask), first)


def test_numpy_randomness_is_neither_used_nor_moved() -> None:
    augment, mask = Augmentation(), blobs()
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    torch.manual_seed(3)
    first = augment.mask(mask)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    np.random.seed(1)
    torch.manual_seed(3)
    assert torch.equal(augment.mask(mask), first)


def test_each_image_has_its_own_draw() -> None:
    moved = Augmentation().mask(blobs(1).expand(8, -1, -1))
    assert len({m.numpy().tobytes() for m in moved}) == 8


def test_labels_type_and_shape_are_kept() -> None:
    mask = blobs() * 100
    for border in SCIPY_MODES:
        moved = Augmentation(mask_border=border).mask(mask)
        assert moved.dtype == mask.dtype
        assert moved.shape == mask.shape
        assert set(moved.unique().tolist()) <= {0, 100, 200}


def test_zeros_are_black_and_background() -> None:
    augment = Augmentation(rotate=0, flip=(), translate=0.5, pair_border="zeros", mask_border="border")
    image, mask = augment.pair(torch.full((16, 3, 20, 20), 0.5), torch.ones(16, 20, 20, dtype=torch.int64))
    assert image.min() == -1
    assert image.max() == 0.5
    assert (image[(mask == 0)[:, None].expand_as(image)] < 0.5).all()
    assert (augment.mask(torch.ones(16, 20, 20, dtype=torch.int64)) == 1).all()


def test_image_and_mask_move_together() -> None:
    mask = (blobs() > 0).long()
    image = (mask[:, None] * 2 - 1).float()
    for border in SCIPY_MODES:
        moved_image, moved_mask = Augmentation(pair_border=border).pair(image, mask)
        assert ((moved_image[:, 0] > 0) == (moved_mask == 1)).double().mean() > 0.99
        assert moved_image.min() >= -1
        assert moved_image.max() <= 1


def test_autocast_does_not_move_pixels() -> None:
    mask = blobs(2, 300, 300)
    torch.manual_seed(1)
    expected = Augmentation().mask(mask)
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Augmentation().mask(mask), expected)


def test_all_faults_are_listed_at_once() -> None:
    with pytest.raises(UserError) as raised:
        Augmentation(rotate=-5, flip=(0, 3), translate=1.5, mask_border="zero", pair_border="wrap")
    for expected in (
        "rotate=-5",
        "0 to 180",
        "flip=[0, 3]",
        "translate=1.5",
        "mask_border=zero",
        "pair_border=wrap",
    ):
        assert expected in str(raised.value)
    with pytest.raises(UserError, match="each once"):
        Augmentation(flip=(1, 1))


def test_volumes_match_scipy() -> None:
    size = (10, 24, 18)
    fields = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((3, *size)), (0, 3, 3, 3))
    mask = torch.from_numpy(np.digitize(fields, np.quantile(fields, [0.5, 0.8])))
    image = torch.rand(3, 1, *size, dtype=torch.float64) * 2 - 1
    augment = Augmentation(rotate=25, flip=(0, 1, 2), translate=0.2, pair_border="border")
    torch.manual_seed(6)
    matrices = augment.geometry.draw_moves(3, *size).numpy()
    torch.manual_seed(6)
    moved_image, moved_mask = augment.pair(image, mask)
    for index, matrix in enumerate(matrices):
        labels = ndimage.affine_transform(mask[index].numpy(), matrix, order=0, mode="nearest")
        assert (labels == moved_mask[index].numpy()).mean() > 0.999
        values = ndimage.affine_transform(image[index, 0].numpy(), matrix, order=1, mode="nearest")
        np.testing.assert_allclose(moved_image[index, 0].numpy(), values, atol=1e-9)


@pytest.mark.parametrize(("axis", "dimension"), [(2, 1), (0, 2), (1, 3)])
def test_flips_of_volumes_are_named_as_those_of_images(axis: int, dimension: int) -> None:
    mask = torch.randint(0, 5, (4, 6, 5)).expand(64, 4, 6, 5)
    moved = Augmentation(rotate=0, flip=(axis,), translate=0).mask(mask)
    expected = mask[:1].flip(dimension)[0]
    flipped = [torch.equal(one, expected) for one in moved]
    assert all(same or torch.equal(one, mask[0]) for same, one in zip(flipped, moved, strict=True))
    assert 16 < sum(flipped) < 48


def test_volumes_of_thick_slices_turn_as_bodies_do() -> None:
    """Distances in mm stay, which they would not if slices 5 mm apart were turned like pixels."""
    steps = torch.tensor([5.0, 1.0, 0.8], dtype=torch.float64)
    moved = Augmentation(rotate=30, flip=(), translate=0, spacing=steps.tolist()).geometry.draw_moves(50, 9, 31, 51)[
        :, :3, :3
    ]
    turns = moved * steps[:, None] / steps  # of mm to mm
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(50, dtype=torch.float64))
    plain = Augmentation(rotate=30, flip=(), translate=0).geometry.draw_moves(50, 9, 31, 51)[:, :3, :3]
    assert (plain * steps[:, None] / steps @ (plain * steps[:, None] / steps).mT - torch.eye(3)).abs().max() > 0.5


def test_rotation_of_volumes_turns_about_every_axis() -> None:
    matrices = Augmentation(rotate=20, flip=(), translate=0).geometry.draw_moves(200, 9, 31, 51)
    centre = torch.tensor([4.0, 15.0, 25.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(matrices @ centre, centre.expand(200, 4))
    turns = matrices[:, :3, :3]
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3, dtype=torch.float64).expand(200, 3, 3))
    assert (turns - torch.eye(3)).abs().amax(dim=0).min() > 0.005


@pytest.mark.parametrize(
    ("size", "pixel", "turned"), [((41, 31), (3, 5), (5, -3)), ((21, 41, 31), (0, 3, 5), (0, 5, -3))]
)
def test_a_turn_by_90_degrees_takes_a_pixel_there(
    size: tuple[int, ...], pixel: tuple[int, ...], turned: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places are counted from the centre; volumes turn about their first axis here."""
    angles = [math.pi / 2, 0, 0][: 2 * len(size) - 3]
    monkeypatch.setattr(Geometry, "_draw_angles", lambda *_: angles)
    augment = Augmentation(flip=(), translate=0)
    centre = np.array(size) // 2
    mask = torch.zeros(1, *size, dtype=torch.int64)
    mask[(0, *(centre + pixel))] = 1
    moved = augment.mask(mask)
    assert moved[(0, *(centre + turned))] == 1
    assert moved.sum() == 1


@pytest.mark.parametrize("size", [(41, 61), (21, 41, 61)])
def test_a_scale_takes_a_pixel_there(size: tuple[int, ...]) -> None:
    """Twice as far from the centre, and twice as large along each axis."""
    augment = Augmentation(rotate=0, flip=(), translate=0, scale=[2, 2])
    centre = np.array(size) // 2
    pixel = np.array([4, -5, 7])[-len(size) :]
    mask = torch.zeros(1, *size, dtype=torch.int64)
    block = tuple(slice(at - 1, at + 2) for at in centre + pixel)  # three pixels a side
    mask[(0, *block)] = 1
    moved = augment.mask(mask)
    middle = moved[0].nonzero().double().mean(dim=0).numpy()
    np.testing.assert_allclose(middle, centre + 2 * pixel, atol=0.5)
    sides = np.ptp(moved[0].nonzero().numpy(), axis=0) + 1
    assert (abs(sides - 6) <= 1).all()


def test_a_translation_takes_a_pixel_there() -> None:
    augment = Augmentation(rotate=0, flip=(), translate=0.2)
    mask = torch.zeros(8, 40, 50, dtype=torch.int64)
    mask[:, 20, 25] = 1
    torch.manual_seed(2)
    shifts = augment.geometry.draw_moves(8, 40, 50)[:, :2, 2]
    torch.manual_seed(2)
    for moved, shift in zip(augment.mask(mask), shifts, strict=True):
        row, column = (torch.tensor([20, 25]) - shift).round().long()
        assert moved.sum() == 1
        assert moved[row, column] == 1


def test_a_scale_is_uniform_in_its_range_and_has_its_share() -> None:
    augment = Augmentation(rotate=0, flip=(), translate=0, scale=[0.7, 1.4], scale_probability=0.2)
    matrices = augment.geometry.draw_moves(4000, 31, 51)
    factors = 1 / matrices[:, 0, 0]
    torch.testing.assert_close(matrices[:, 1, 1], matrices[:, 0, 0])
    scaled = factors[(factors - 1).abs() > 1e-9]
    assert abs(len(scaled) / 4000 - 0.2) < 0.02
    assert 0.7 <= scaled.min() < 0.71
    assert 1.39 < scaled.max() <= 1.4
    assert abs(scaled.mean() - 1.05) < 0.03


def test_a_share_of_images_turns_and_volumes_have_a_range_of_their_own() -> None:
    augment = Augmentation(rotate=180, rotate_volumes=30, rotate_probability=0.2, flip=(), translate=0)
    flat = augment.geometry.draw_moves(3000, 31, 51)
    angles = torch.rad2deg(torch.atan2(flat[:, 1, 0], flat[:, 0, 0]))
    turned = angles[angles != 0]
    assert abs(len(turned) / 3000 - 0.2) < 0.03
    assert turned.abs().max() > 170
    turns = augment.geometry.draw_moves(3000, 9, 31, 51)[:, :3, :3]
    traces = turns.diagonal(dim1=1, dim2=2).sum(dim=1)
    degrees = torch.rad2deg(torch.acos(((traces - 1) / 2).clamp(-1, 1)))
    assert abs((degrees > 0.1).double().mean() - 0.2) < 0.03
    assert 30 < degrees.max() < 60  # about all three axes at once


def test_faults_of_shares_and_scales_are_told() -> None:
    with pytest.raises(UserError) as raised:
        Augmentation(rotate_volumes=200, rotate_probability=-0.1, scale=[1.4, 0.7], scale_probability=2)
    for expected in (
        "augment.rotate_volumes=200: expected degrees within 0 to 180",
        "augment.rotate_probability=-0.1: expected a share of the images, from 0 to 1",
        "augment.scale=[1.4, 0.7]: expected [least, most] within 0.1 to 10",
        "augment.scale_probability=2: expected a share of the images, from 0 to 1",
    ):
        assert expected in str(raised.value)


@pytest.mark.parametrize(
    ("spacing", "size", "expected"),
    [
        (
            None,
            (31, 51),
            [[0.978583971042, 0.205848030398, -3.270010454814], [-0.205848030398, 0.978583971042, 4.785742581933]],
        ),
        (
            (2.0, 1.0, 1.0),
            (9, 31, 51),
            [
                [0.97282271607, 0.115750973168, 0.002388092315, -2.551305898937],
                [-0.461018555677, 0.970193763349, -0.074763188727, 1.749573374015],
                [-0.043883296491, 0.07163037345, 0.997189878444, 2.085637113592],
            ],
        ),
    ],
)
def test_seeds_draw_the_papers_operations_as_ever(
    spacing: tuple[float, ...] | None, size: tuple[int, ...], expected: list[list[float]]
) -> None:
    """So that a Run of an earlier version goes on as it began; the second image's move."""
    torch.manual_seed(5)
    moves = Augmentation(spacing=spacing).geometry.draw_moves(2, *size)
    np.testing.assert_allclose(moves[1, : len(size)].numpy(), expected, atol=1e-11)
