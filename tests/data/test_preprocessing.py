"""Intensities, sizes and labels on their way to the network and back."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from genseg_betty.data.intensities import SAMPLED
from genseg_betty.data.preprocessing import Preprocessing, image_size_of
from genseg_betty.errors import UserError


def made(size: tuple[int, int] = (32, 32), channels: int = 1, **keys) -> Preprocessing:
    defaults = {"intensity": (0.0, 255.0), "classes": ("background", "a"), "label_values": (0, 255)}
    return Preprocessing(image_size=size, channels=channels, **(defaults | keys))


RANDOM = np.random.default_rng(0)


def fitted_intensity(images: list[np.ndarray], intensity: object = None) -> tuple[float, float]:
    return Preprocessing.fit(images, (32, 32), None, ("a", "b"), (0, 1), intensity).intensity


def test_eight_bit_becomes_minus_one_to_one_exactly() -> None:
    array = np.arange(256, dtype=np.float32).reshape(16, 16)
    image = made((16, 16)).image(array)
    np.testing.assert_allclose(image[0], array / 127.5 - 1, atol=1e-6)
    assert (image.dtype, image.shape) == (torch.float32, (1, 16, 16))


def test_resizing_is_antialiased_bilinear_as_in_pillow() -> None:
    array = RANDOM.uniform(0, 255, (90, 120)).astype(np.float32)
    expected = Image.fromarray(array).resize((40, 30), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(made((30, 40)).image(array)[0], np.asarray(expected) / 127.5 - 1, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 2), (20, 30, 3), (20, 30, 4)])
def test_channels_are_made_to_fit(channels: int, shape: tuple[int, ...]) -> None:
    image = made((24, 16), channels).image(RANDOM.integers(0, 256, shape))
    assert image.shape == (channels, 24, 16)
    assert image.abs().max() <= 1


def test_colour_becomes_luma_as_in_pillow_and_gray_is_repeated() -> None:
    rgb = RANDOM.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    luma = np.asarray(Image.fromarray(rgb).convert("L"))
    np.testing.assert_allclose(made((20, 30)).image(rgb)[0], luma / 127.5 - 1, atol=1.2 / 127.5)
    repeated = made((20, 30), 3).image(luma)
    assert torch.equal(repeated[0], repeated[2])


@pytest.mark.parametrize("array", [np.zeros(4), np.zeros((4, 4, 5)), np.zeros((0, 4)), np.full((4, 4), np.nan)])
def test_what_is_no_image_is_refused(array: np.ndarray) -> None:
    with pytest.raises(UserError, match="expected"):
        made().image(array)


def test_intensity_of_other_depths_runs_between_percentiles_and_clips() -> None:
    images = [RANDOM.uniform(1000, 3000, (50, 50, 1)).astype(np.float32) for _ in range(3)]
    low, high = fitted_intensity(images)
    np.testing.assert_allclose([low, high], np.percentile(np.stack(images), (0.5, 99.5)), rtol=1e-6)
    image = made((50, 50), intensity=(low, high)).image(np.linspace(0, 60000, 2500).reshape(50, 50))
    assert (image.min(), image.max()) == (-1, 1)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.array([0, 255.0]), (0, 255)),
        (np.array([3, 4.0]), (0, 255)),
        (np.array([7.5, 7.5]), (7.5, 8.5)),
        (np.full(9, 4096.0), (4096, 4097)),
    ],
)
def test_intensity_of_plain_and_constant_images(image: np.ndarray, expected: tuple[float, float]) -> None:
    assert fitted_intensity([image.reshape(1, -1, 1)]) == expected


def test_intensity_as_it_is_asked_for() -> None:
    gray, deep = (RANDOM.integers(0, high, (50, 40, 1)).astype(np.float32) for high in (200, 4096))
    assert fitted_intensity([gray, deep], "8-bit") == (0, 255)
    assert fitted_intensity([gray, deep], (-200.0, 250.0)) == (-200, 250)
    np.testing.assert_allclose(fitted_intensity([gray], "percentiles"), np.percentile(gray, (0.5, 99.5)), rtol=1e-6)


def test_percentiles_of_large_images_come_from_values_spread_over_them() -> None:
    slope = np.linspace(0, 5000, 12 * SAMPLED).reshape(-1, 1024, 1).astype(np.float32)
    np.testing.assert_allclose(fitted_intensity([slope]), np.percentile(slope, (0.5, 99.5)), rtol=1e-3)


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (24, 40)])
@pytest.mark.parametrize("classes", [("background", "a"), ("background", "a", "b")])
def test_mask_takes_the_class_that_covers_most(size: tuple[int, int], classes: tuple[str, ...]) -> None:
    labels = np.zeros((32, 32), dtype=np.int64)
    labels[8:24, 4:20] = len(classes) - 1
    mask = made(size, classes=classes, label_values=tuple(range(len(classes)))).mask(labels)
    assert (mask.shape, mask.dtype) == (size, torch.int64)
    assert set(mask.unique().tolist()) == {0, len(classes) - 1}
    assert mask.bool().float().mean().item() == pytest.approx(0.25, abs=0.04)


def test_mask_of_the_networks_size_is_left_as_it_is() -> None:
    for classes in (2, 4):
        labels = RANDOM.integers(0, classes, (32, 32))
        names = tuple("abcd"[:classes])
        np.testing.assert_array_equal(made(classes=names, label_values=(0, 1, 2, 3)).mask(labels), labels)


@pytest.mark.parametrize(("outputs", "classes"), [(1, 2), (3, 3)])
@pytest.mark.parametrize("shape", [(32, 32), (90, 70), (20, 24)])
def test_restore_brings_a_mask_back_to_the_files_size(outputs: int, classes: int, shape: tuple[int, int]) -> None:
    rows, columns = np.indices(shape)
    labels = ((rows / shape[0] - 0.5) ** 2 + (columns / shape[1] - 0.5) ** 2 < 0.1) * (classes - 1)
    names = tuple("abc"[:classes])
    preprocessing = made((64, 64), classes=names, label_values=tuple(range(classes)))
    small = preprocessing.mask(labels)
    logits = torch.stack([(small == c).float() for c in range(classes)]) * 10
    logits = logits if outputs > 1 else small[None] * 10.0 - 5
    restored = preprocessing.restore(logits.bfloat16(), shape)
    assert (restored.shape, restored.dtype) == (shape, np.int64)
    assert (restored != labels).mean() < 0.02


def test_restore_interpolates_logits_not_decisions() -> None:
    """Halfway between -1 and 3 the logit is 1: the boundary lies nearer to the negative side."""
    logits = torch.tensor([[[-1.0, 3.0]]]).expand(1, 2, 2)
    np.testing.assert_array_equal(made().restore(logits, (2, 8))[0], [0, 0, 0, 1, 1, 1, 1, 1])


@pytest.mark.parametrize(("values", "kind"), [((0, 255), np.uint8), ((5, 0, 2), np.uint8), ((0, 1000), np.uint16)])
def test_file_values(values: tuple[int, ...], kind: type) -> None:
    indices = RANDOM.integers(0, len(values), (6, 7))
    written = made(classes=tuple("abc"[: len(values)]), label_values=values).to_file_values(indices)
    assert written.dtype == kind
    np.testing.assert_array_equal(written, np.take(values, indices))


@pytest.mark.parametrize("values", [(0, 3, 9), ((0, 0, 0), (1, 2, 3), (255, 0, 0))])
def test_round_trip_through_json(values: tuple) -> None:
    preprocessing = made((30, 40), 3, intensity=(0.5, 99.25), classes=("b", "x", "y"), label_values=values)
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


@pytest.mark.parametrize(
    ("image", "given", "expected"),
    [
        (np.zeros((4, 4, 1)), None, 1),
        (np.zeros((4, 4, 3)), None, 1),  # gray stored as RGB
        (np.arange(48.0).reshape(4, 4, 3), None, 3),
        (np.zeros((4, 4, 1)), 3, 3),
    ],
)
def test_channels_come_from_the_training_images(image: np.ndarray, given: int | None, expected: int) -> None:
    preprocessing = Preprocessing.fit([image], (32, 32), given, ("a", "b"), (0, 1))
    assert preprocessing.channels == expected
    assert preprocessing.num_classes == 2


def test_odd_channels_are_refused() -> None:
    with pytest.raises(UserError, match="expected 1, 3 or null"):
        Preprocessing.fit([np.zeros((4, 4, 1))], (32, 32), 4, ("a", "b"), (0, 1))


@pytest.mark.parametrize(("value", "size"), [(64, (64, 64)), ([48, 64], (48, 64)), ((1, 2, 3), (1, 2, 3))])
def test_image_size(value: object, size: tuple[int, ...]) -> None:
    assert image_size_of(value) == size


@pytest.mark.parametrize("value", [0, -4, 64.0, "64", [64], [1, 2, 3, 4], [64, 0], None, True])
def test_image_size_faults(value: object) -> None:
    with pytest.raises(UserError, match="image_size"):
        image_size_of(value)
