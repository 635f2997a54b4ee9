"""The Predictor against a segmenter whose mask is known, and loading from whole and broken Runs."""

import copy
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.errors import UserError
from genseg_betty.inference import Predictor, load, saved_backbones
from genseg_betty.run import Run

GRAY = np.random.default_rng(1).integers(0, 256, (40, 48), dtype=np.uint8)
EXPECTED = (GRAY > 127).astype(np.int64)
RGB = np.stack([GRAY] * 3, axis=-1)
ALPHA = np.full((40, 48, 1), 7, dtype=np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        GRAY,
        GRAY[..., None],
        GRAY.astype(np.uint16),
        GRAY.astype(np.float64),
        GRAY > 127,
        RGB,
        np.concatenate([GRAY[..., None], ALPHA], axis=-1),
        np.concatenate([RGB, ALPHA], axis=-1),
        GRAY[::-1][::-1],
    ],
    ids=["HW", "HW1", "uint16", "float64", "bool", "RGB", "gray+alpha", "RGBA", "strided"],
)
def test_every_form_of_an_image_gives_the_same_mask(bright: Predictor, image: np.ndarray) -> None:
    mask = bright(image)
    assert mask.dtype == np.int64
    np.testing.assert_array_equal(mask, EXPECTED)


def test_gray_images_reach_an_rgb_model(threshold: Callable[..., nn.Module], preprocessing: Preprocessing) -> None:
    model = Predictor(threshold(channels=3), replace(preprocessing, channels=3))
    np.testing.assert_array_equal(model(GRAY), EXPECTED)


@pytest.mark.parametrize("shape", [(40, 48), (97, 33), (7, 5), (1, 1), (200, 160)])
@pytest.mark.parametrize("num_outputs", [1, 3])
def test_probabilities_are_of_the_images_size_and_agree_with_the_mask(
    preprocessing: Preprocessing, shape: tuple[int, int], num_outputs: int
) -> None:
    classes = ("background", "foreground") if num_outputs == 1 else ("background", "a", "b")
    values = (0, 255) if num_outputs == 1 else (0, 1, 2)
    model = Predictor(
        nn.Conv2d(1, num_outputs, 3, padding=1), replace(preprocessing, classes=classes, label_values=values)
    )
    image = np.random.default_rng(2).integers(0, 256, shape)
    probabilities, mask = model.probabilities(image), model(image)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (len(classes), *shape)
    assert mask.shape == shape
    assert model.logits(image).shape == (num_outputs, 40, 48)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_array_equal(probabilities.argmax(axis=0), mask)


def test_prediction_is_repeatable_and_leaves_the_network_alone(preprocessing: Preprocessing) -> None:
    layers = (nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Conv2d(8, 1, 1))
    network = nn.Sequential(*layers)
    model = Predictor(network.train(), preprocessing)
    before = copy.deepcopy(network.state_dict())
    first = model.probabilities(GRAY)
    np.testing.assert_array_equal(first, model.probabilities(GRAY))
    assert not model.logits(GRAY).requires_grad
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), np.inf), "infinite"),
        (np.zeros((3, 40, 48)), r"\(3, 40, 48\)"),
        (np.zeros(5), r"\(5,\)"),
        (np.zeros((0, 4)), r"\(0, 4\)"),
        (np.zeros((1, 4, 4, 3)), r"\(1, 4, 4, 3\)"),
        (np.zeros((4, 4), dtype=complex), "complex128"),
        (np.array([["a"]]), "<U1"),
    ],
)
def test_what_is_no_image_is_refused(bright: Predictor, image: np.ndarray, said: str) -> None:
    with pytest.raises(UserError, match=said):
        bright(image)


@pytest.mark.parametrize("image", [GRAY / 255, GRAY.astype(np.uint16) * 257, GRAY / 127.5 - 1])
def test_another_scale_than_the_files_is_told(bright: Predictor, image: np.ndarray) -> None:
    with pytest.warns(UserWarning, match=r"rescale the image") as caught:
        bright(image)
    assert caught[0].filename == __file__


def test_dark_and_two_valued_images_are_no_other_scale(bright: Predictor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bright(np.zeros((40, 48)))
        bright((GRAY > 127).astype(np.uint8))


def test_a_run_needs_nothing_but_itself(run: Run, data_root: Path, tmp_path: Path) -> None:
    expected = load(run.path).probabilities(GRAY)
    shutil.rmtree(data_root)
    moved = run.path.rename(tmp_path / "moved")
    model = load(str(moved), device="cpu")
    np.testing.assert_array_equal(model.probabilities(GRAY), expected)
    assert model.num_classes == 2


def test_pretrained_weights_are_never_fetched(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.config.backbone.encoder_weights = "imagenet"
    OmegaConf.save(run.config, run.path / "config.yaml")
    asked = []
    build = saved_backbones.build_segmenter

    def spy(config: DictConfig, channels: int, num_outputs: int, spatial_dims: int) -> nn.Module:
        asked.append(config.backbone.pop("encoder_weights"))
        return build(config, channels, num_outputs, spatial_dims)

    monkeypatch.setattr(saved_backbones, "build_segmenter", spy)
    load(run.path)
    assert asked == [None]


def test_an_unfinished_run_gives_its_best_with_a_warning(
    make_run: Callable[..., Run], bright: Predictor, preprocessing: Preprocessing
) -> None:
    weights = bright.network.state_dict()
    best = {"preprocessing": preprocessing.to_dict(), "num_outputs": 1, "weights": weights}
    run = make_run(states={"predictor": None, "best": best})
    with pytest.warns(UserWarning, match="not finished"):
        model = load(run.path)
    np.testing.assert_array_equal(model(GRAY), EXPECTED)


def test_there_must_be_a_run_with_a_segmenter(make_run: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no Run"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no trained segmenter yet"):
        load(make_run(states={"predictor": None, "best": None}).path)


def test_damaged_weights_are_told(run: Run, make_run: Callable[..., Run]) -> None:
    state = run.load_checkpoint("predictor")
    assert state is not None
    name, weight = next(iter(state["weights"].items()))
    broken = {
        "NaN or infinity": {**state, "weights": {**state["weights"], name: weight * torch.nan}},
        "Missing key": {**state, "weights": {k: v for k, v in state["weights"].items() if k != name}},
        "size mismatch": {**state, "weights": {**state["weights"], name: weight[:1]}},
        "num_outputs is 3, which is not that of 2 classes": {**state, "num_outputs": 3},
        "preprocessing": {k: v for k, v in state.items() if k != "preprocessing"},
        "channels": {**state, "preprocessing": {"image_size": [4, 4]}},
    }
    for index, (said, wrong) in enumerate(broken.items()):
        with pytest.raises(UserError, match=said):
            load(make_run(f"broken{index}", states={"predictor": wrong}).path)
    file = run.path / "checkpoints" / "predictor.pt"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"predictor\.pt cannot be read"):
        load(run.path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_must_be_there(run: Run) -> None:
    with pytest.raises(UserError, match="device=cpu"):
        load(run.path, device="cuda")
