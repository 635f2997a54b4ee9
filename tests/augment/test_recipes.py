"""The recipes of conf/augment: what each holds, that it is checked, and that a training with it runs."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy import ndimage
from torch import Tensor

from genseg_betty.augment import Augmentation
from genseg_betty.build import build_augmentation
from genseg_betty.config import all_members, compose, conf_dir
from genseg_betty.errors import UserError
from levels.real import real_engine
from levels.toy import advance

RECIPES = all_members()["augment"]
STILL = {"rotate": 0.0, "flip": [], "translate": 0.0}
PAPER = {"rotate": 15.0, "flip": [1], "translate": 0.1, "mask_border": "zeros", "pair_border": "border"}
ALWAYS = [
    f"augment.intensity.{name}.probability=1"
    for name in ("noise", "blur", "brightness", "contrast", "low_resolution", "inverted_gamma", "gamma")
]
SIZES = [(1, (32, 40)), (3, (32, 40)), (1, (8, 16, 12)), (3, (8, 16, 12))]


def recipe(name: str) -> dict[str, Any]:
    keys = OmegaConf.to_container(OmegaConf.load(conf_dir() / "augment" / f"{name}.yaml"))
    assert keys.pop("_target_") == "genseg_betty.augment.Augmentation"
    return keys


def drawn_pair(channels: int, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Blobs, and images in which they are bright."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((3, *size)), (0, *[3] * len(size)))
    mask = torch.from_numpy((smooth > 0).astype(np.int64))
    image = (mask[:, None] - 0.5).float().repeat(1, channels, *[1] * len(size))
    return image, mask


def test_the_names_of_the_recipes() -> None:
    assert set(RECIPES) == {"default", "paper", "rotate", "flip", "translate", "elastic", "strong", "none"}


def test_the_paper_is_the_default() -> None:
    assert recipe("paper") == recipe("default") == PAPER


@pytest.mark.parametrize("name", ["rotate", "flip", "translate"])
def test_single_operations_are_the_papers(name: str) -> None:
    assert recipe(name) == PAPER | STILL | {name: PAPER[name]}


def test_elastic_is_the_paper_bent() -> None:
    keys = recipe("elastic")
    assert keys.pop("elastic") == {"cells": 5, "shift": 0.25, "probability": 1.0}
    assert keys == PAPER


def test_strong_has_the_ranges_and_probabilities_of_nnunet() -> None:
    keys = recipe("strong")
    found = {name: tuple(value.values()) for name, value in keys["intensity"].items()}
    assert found == {
        "noise": (0.1, [0, 0.1]),
        "blur": (0.2, [0.5, 1], 0.5),
        "brightness": (0.15, [0.75, 1.25]),
        "contrast": (0.15, [0.75, 1.25]),
        "low_resolution": (0.25, [0.5, 1], 0.5),
        "inverted_gamma": (0.1, [0.7, 1.5]),
        "gamma": (0.3, [0.7, 1.5]),
    }
    assert (keys["rotate"], keys["rotate_volumes"], keys["rotate_probability"]) == (180, 30, 0.2)
    assert (keys["scale"], keys["scale_probability"]) == ([0.7, 1.4], 0.2)
    assert (keys["flip"], keys["translate"]) == ([0, 1, 2], 0)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("channels", "size"), SIZES)
def test_image_and_mask_move_together(name: str, channels: int, size: tuple[int, ...]) -> None:
    augment = Augmentation(**recipe(name))
    image, mask = drawn_pair(channels, size)
    for _ in range(5):
        moved_image, moved_mask = augment.pair(image, mask)
        assert (moved_image.shape, moved_image.dtype) == (image.shape, image.dtype)
        assert (moved_mask.shape, moved_mask.dtype) == (mask.shape, mask.dtype)
        assert set(moved_mask.unique().tolist()) <= {0, 1}
        assert moved_image.abs().max() <= 1
        for image_of_one, mask_of_one in zip(moved_image, moved_mask, strict=True):
            bright = image_of_one[:, mask_of_one == 1].mean()
            dark = image_of_one[:, mask_of_one == 0].mean()
            assert bright - dark > 0.5


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_seed_gives_the_same_pairs(name: str) -> None:
    augment = Augmentation(**recipe(name))
    image, mask = drawn_pair(3, (24, 20))

    def draw() -> list[Tensor]:
        torch.manual_seed(4)
        return [*augment.pair(image, mask), augment.mask(mask), augment.image(image)]

    first, second = draw(), draw()
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


# -- the config --------------------------------------------------------------------------------------------------------


def test_a_run_of_before_is_built_as_before() -> None:
    """Its config names the class where it was, with the keys of that time."""
    config = OmegaConf.create({"augment": {"_target_": "genseg_betty.augment.Augmentation", **PAPER}})
    built, direct = build_augmentation(config, None), Augmentation()
    mask = torch.arange(600).reshape(1, 20, 30)
    torch.manual_seed(1)
    expected = direct.mask(mask)
    torch.manual_seed(1)
    assert torch.equal(built.mask(mask), expected)
    assert OmegaConf.to_container(compose(["augment=paper"]).augment) == OmegaConf.to_container(config.augment)


def test_keys_of_a_recipe_are_set_and_left_out() -> None:
    lines = ["augment=strong", "augment.intensity.blur=null", "augment.intensity.gamma.range=[0.5,2]"]
    config = compose(lines)
    built = build_augmentation(config, None)
    assert "blur" not in built.intensity.operations
    assert list(built.intensity.operations["gamma"].range) == [0.5, 2]
    bent = build_augmentation(compose(["augment.elastic={cells: 3, shift: 0.1}"]), None).elastic
    assert (bent.cells, bent.shift, bent.probability) == (3, 0.1, 1)


def test_faults_of_a_config_come_all_at_once() -> None:
    lines = [
        "augment=strong",
        "augment.scale=[1.4,0.7]",
        "augment.rotate_probability=1.2",
        "augment.elastic={cells: 0, shift: 0.5}",
        "augment.intensity.blur.range=[0.5,20]",
        "augment.intensity.gamma.range=[2,0.5]",
        "augment.intensity.noise.probability=-1",
        "augment.intensity.noise.rate=3",
        "augment.intensity.contrast=5",
    ]
    with pytest.raises(UserError) as raised:
        compose(lines)
    for expected in (
        "augment.scale=[1.4, 0.7]: expected [2 numbers from 0.1 to 10] or null; the first is the least",
        "augment.rotate_probability=1.2: expected a number from 0 to 1",
        "augment.elastic.cells=0: expected an integer from 1 to 64",
        "augment.elastic.shift=0.5: expected a number from 0 to 0.4",
        "augment.intensity.blur.range=[0.5, 20]: expected [2 numbers from 0.1 to 8]",
        "augment.intensity.gamma.range=[2, 0.5]: expected [2 numbers from 0.1 to 10]; the first is",
        "augment.intensity.noise.probability=-1: expected a number from 0 to 1",
        "augment.intensity.noise.rate=3: no such key",
        "augment.intensity.contrast=5: expected a section {key: value, …} with keys out of probability, channels, ran",
    ):
        assert expected in str(raised.value)


# -- trainings ---------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("overrides", [[], ALWAYS], ids=["as it is", "every operation on every image"])
@pytest.mark.parametrize("hypergradient", ["exact", "exact_full"])
def test_hypergradients_come_through_a_strong_recipe(hypergradient: str, overrides: list[str]) -> None:
    engine = real_engine("augment=strong", *overrides, f"hypergradient={hypergradient}")
    search = engine.architecture
    gradients: list[Tensor] = []
    step = search.optimizer.step
    search.optimizer.step = lambda: (gradients.extend(p.grad.clone() for p in search.trainable_parameters()), step())
    advance(engine, 5)
    assert len(gradients) >= 6
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(gradient.abs().max() > 0 for gradient in gradients[2:])
    assert all(level.guard.skipped == 0 for level in engine.levels)


@pytest.mark.parametrize("method", ["genseg", "separate", "supervised", "real_twice"])
def test_every_method_that_augments_takes_a_strong_recipe(method: str) -> None:
    engine = real_engine("augment=strong", *ALWAYS, f"method={method}")
    advance(engine, 3)
    assert all(level.guard.skipped == 0 for level in engine.levels)


def test_intensities_reach_real_and_synthetic_images_of_stage_two() -> None:
    """And not those of a recipe without any."""
    seen: dict[str, list[Tensor]] = {}
    for name in ("none", "darker"):
        lines = [] if name == "none" else ["augment.intensity={brightness: {probability: 1, range: [0.5, 0.5]}}"]
        engine = advance(real_engine("augment=none", *lines), 1)
        segmentation = engine.segmenter
        batch = segmentation.batches(0)
        torch.manual_seed(0)
        synthetic, _ = segmentation.render_synthetic(segmentation.augment.mask(batch.mask))
        real, _ = segmentation.augment.pair(batch.image, batch.mask)
        seen[name] = [synthetic.detach(), real]
    for plain, dark in zip(seen["none"], seen["darker"], strict=True):
        torch.testing.assert_close(dark, (plain + 1) / 2 - 1, atol=1e-5, rtol=0)
