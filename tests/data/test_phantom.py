"""The phantom: the same arguments draw the same case, and the picture shows what its mask says."""

import numpy as np
import pytest
from scipy.ndimage import label

from genseg_betty.config import compose, load_dataset_config
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.phantom import DOMAINS, KINDS, draw_phantom
from genseg_betty.data.source.case import Sample
from genseg_betty.errors import UserError

EVERY = [(kind, domain) for kind in KINDS for domain in DOMAINS]


def contrast(sample: Sample) -> float:
    """Mean gray inside the mask less that of the ring of pixels around it."""
    gray, inside = sample.image.mean(axis=2), sample.mask == 1
    near = np.zeros_like(inside)
    for axis in (0, 1):
        for move in (-4, 4):
            near |= np.roll(inside, move, axis)
    return float(gray[inside].mean() - gray[near & ~inside].mean())


@pytest.mark.parametrize(("kind", "domain"), EVERY)
@pytest.mark.parametrize("size", [32, 97])
def test_arrays_are_what_a_file_would_hold(kind: str, domain: str, size: int) -> None:
    sample = draw_phantom(kind, domain, size, seed=0, index=0)
    assert sample.image.shape == (size, size, 1 if kind == "lung" else 3)
    assert sample.image.dtype == np.float32
    assert sample.mask.shape == (size, size)
    assert sample.mask.dtype == np.int64
    assert np.isfinite(sample.image).all()
    assert 0 <= sample.image.min() < sample.image.max() <= 255
    np.testing.assert_array_equal(sample.image, np.round(sample.image))
    assert set(np.unique(sample.mask)) == {0, 1}


@pytest.mark.parametrize(("kind", "domain"), EVERY)
def test_drawing_is_a_function_of_its_arguments(kind: str, domain: str) -> None:
    first = draw_phantom(kind, domain, 48, seed=3, index=5)
    np.random.default_rng(0).random(10)
    np.random.seed(1)
    draw_phantom(kind, domain, 48, seed=3, index=6)
    again = draw_phantom(kind, domain, 48, seed=3, index=5)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)


@pytest.mark.parametrize(("kind", "domain"), EVERY)
def test_every_case_is_another_one(kind: str, domain: str) -> None:
    other = next(name for name in DOMAINS if name != domain)
    cases = [draw_phantom(kind, domain, 48, seed, index) for seed, index in ((0, 0), (0, 1), (1, 0))]
    cases.append(draw_phantom(kind, other, 48, 0, 0))
    assert len({case.image.tobytes() for case in cases}) == 4
    assert len({case.mask.tobytes() for case in cases}) == 4


@pytest.mark.parametrize(("kind", "domain"), EVERY)
def test_a_larger_picture_shows_the_same_subject(kind: str, domain: str) -> None:
    small, large = draw_phantom(kind, domain, 48, 0, 2).mask, draw_phantom(kind, domain, 96, 0, 2).mask
    shrunk = large.reshape(48, 2, 48, 2).mean(axis=(1, 3)) >= 0.5
    assert 2 * (shrunk & (small == 1)).sum() / (shrunk.sum() + small.sum()) > 0.9


@pytest.mark.parametrize(
    ("kind", "domain", "least", "most"),
    [
        ("lung", "source", 0.15, 0.4),
        ("lung", "shifted", 0.06, 0.45),
        ("lesion", "source", 0.05, 0.5),
        ("lesion", "shifted", 0.02, 0.6),
        ("vessel", "source", 0.005, 0.5),
        ("vessel", "shifted", 0.005, 0.6),
    ],
)
def test_no_mask_is_empty_or_everything(kind: str, domain: str, least: float, most: float) -> None:
    areas = [draw_phantom(kind, domain, 64, 0, index).mask.mean() for index in range(120)]
    assert least < min(areas)
    assert max(areas) < most


@pytest.mark.parametrize(("kind", "domain"), EVERY)
def test_foreground_is_darker_than_its_surroundings(kind: str, domain: str) -> None:
    darker = [contrast(draw_phantom(kind, domain, 64, 0, index)) < 0 for index in range(40)]
    assert np.mean(darker) > (0.95 if domain == "source" else 0.8)


def test_lungs_are_two_and_lie_side_by_side() -> None:
    for index in range(20):
        mask = draw_phantom("lung", "source", 96, 0, index).mask
        parts, _ = label(mask)
        sizes = np.bincount(parts.ravel())[1:]
        largest = np.argsort(sizes)[-2:] + 1
        assert sizes[largest - 1].sum() > 0.98 * sizes.sum()
        left, right = (np.argwhere(parts == part).mean(axis=0) for part in largest)
        assert abs(left[1] - right[1]) > 96 * 0.3
        assert abs(left[0] - right[0]) < 96 * 0.15


def test_lesion_is_one_piece() -> None:
    for index in range(20):
        parts, _ = label(draw_phantom("lesion", "source", 96, 0, index).mask)
        sizes = np.bincount(parts.ravel())[1:]
        assert sizes.max() > 0.98 * sizes.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_the_domains_differ_in_pictures_and_shapes(kind: str) -> None:
    """A threshold on simple statistics of image and mask tells the domains apart better than chance."""

    def spread(domain: str) -> np.ndarray:
        cases = [draw_phantom(kind, domain, 64, 0, index) for index in range(60)]
        rough = [np.abs(np.diff(case.image[..., 0], axis=1)).mean() for case in cases]
        area = [case.mask.mean() for case in cases]
        tone = [case.image.mean() for case in cases]
        return np.std([area, tone, rough], axis=1) / np.mean([area, tone, rough], axis=1)

    source, shifted = spread("source"), spread("shifted")
    assert (shifted > source).sum() >= 2
    assert shifted.sum() > 1.1 * source.sum()


def test_every_wrong_argument_is_named() -> None:
    with pytest.raises(UserError) as caught:
        draw_phantom("brain", "other", 8, -1, -2)
    wrong = ("'brain'", "lung, lesion, vessel", "'other'", "source, shifted", "size is 8", "seed is -1", "index is -2")
    for part in wrong:
        assert part in str(caught.value)


@pytest.mark.parametrize(("name", "domain"), [("phantom", "source"), ("phantom_shifted", "shifted")])
def test_shipped_datasets_open_and_draw(name: str, domain: str) -> None:
    dataset = open_dataset(load_dataset_config(name))
    assert len(dataset.cases) == 120
    sample, case = draw_phantom("lung", domain, 96, 0, 7), dataset.cases[7]
    np.testing.assert_array_equal(dataset.load(case).image, sample.image)


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_hospital_draws_the_same_kind(kind: str) -> None:
    config = compose([f"dataset.kind={kind}", "dataset.size=48"])
    assert config.ood == [{"name": "phantom_shifted", "kind": kind, "size": 48}]
