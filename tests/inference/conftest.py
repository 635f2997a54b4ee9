"""A small folder dataset and a Run on it, written as training writes them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import nn

from genseg_betty.build import build_architecture, build_generator, build_segmenter
from genseg_betty.config import conf_dir, load_dataset_config
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.inference import Predictor
from genseg_betty.run import Run

HEIGHT, WIDTH = 40, 48
SPLITS = {"train": ["case_0", "case_3", "case_4"], "validation": ["case_1"], "test": ["case_2", "case_5"]}


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """Six gray images 40 x 48 with a bright ellipse, and masks of 0 and 255 that miss its last columns."""
    root = tmp_path / "data"
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(6):
        ellipse = ((rows - 20) / 12) ** 2 + ((columns - 18 - 2 * index) / 10) ** 2 <= 1
        image = np.where(ellipse, 200, 40) + random.integers(-30, 31, ellipse.shape)
        Image.fromarray(image.astype(np.uint8)).save(root / "images" / f"case_{index}.png")
        truth = ellipse & (columns < 26 + index)
        Image.fromarray((truth * 255).astype(np.uint8)).save(root / "masks" / f"case_{index}.png")
    return root


@pytest.fixture
def preprocessing() -> Preprocessing:
    """Binary, gray, at the size of the files."""
    return Preprocessing((HEIGHT, WIDTH), 1, (0.0, 255.0), ("background", "foreground"), (0, 255), (0.0, 255.0))


@pytest.fixture
def config(data_root: Path) -> DictConfig:
    """What a tiny GenSeg training on `data_root` would have for its config."""
    groups = {
        name: OmegaConf.load(conf_dir() / name / f"{member}.yaml")
        for name, member in (("backbone", "unet_classic"), ("generator", "pix2pix"), ("augment", "default"))
    }
    dataset = load_dataset_config("folder", root=data_root)
    config = OmegaConf.create({**groups, "seed": 0, "method": {"name": "genseg"}, "dataset": dataset})
    config.backbone.base_channels = 4
    config.generator.base_channels, config.generator.max_channels = 4, 8
    return config


@pytest.fixture
def make_run(tmp_path: Path, config: DictConfig, preprocessing: Preprocessing) -> Callable[..., Run]:
    """Writes a Run into a folder of that name; `states` replaces or (None) leaves out checkpoints."""

    def make(name: str = "run", states: dict[str, Any] | None = None, **splits: Any) -> Run:
        with Run.start(tmp_path / name, config) as run:
            for checkpoint, state in {**_states(config, preprocessing), **(states or {})}.items():
                if state is not None:
                    run.save_checkpoint(checkpoint, state)
            place = {"dataset": config.dataset.name, "root": config.dataset.root}
            run.write_json("splits.json", {**SPLITS, **place, **splits})
        return run

    return make


@pytest.fixture
def run(make_run: Callable[..., Run]) -> Run:
    return make_run()


@pytest.fixture
def threshold(monkeypatch: pytest.MonkeyPatch) -> Callable[..., nn.Module]:
    """Makes every Run's segmenter the one whose mask is "brighter than 127.5", known without computing."""

    def segmenter(config: Any = None, channels: int = 1, num_outputs: int = 1, spatial_dims: int = 2) -> nn.Module:
        network = nn.Conv2d(channels, num_outputs, 1)
        nn.init.constant_(network.weight, 10 / channels)
        nn.init.zeros_(network.bias)
        return network

    monkeypatch.setattr("genseg_betty.inference.saved_backbones.build_segmenter", segmenter)
    return segmenter


@pytest.fixture
def bright(threshold: Callable[..., nn.Module], preprocessing: Preprocessing) -> Predictor:
    """A Predictor for "brighter than 127.5"."""
    return Predictor(threshold(), preprocessing)


@pytest.fixture
def bright_run(threshold: Callable[..., nn.Module], make_run: Callable[..., Run], preprocessing: Preprocessing) -> Run:
    """A Run whose segmenter is "brighter than 127.5"."""
    return make_run(states={"predictor": segmenter_state(threshold(), preprocessing)})


def segmenter_state(network: nn.Module, preprocessing: Preprocessing, num_outputs: int = 1) -> dict[str, Any]:
    return {
        "preprocessing": preprocessing.to_dict(),
        "num_outputs": num_outputs,
        "weights": network.state_dict(),
    }


def _states(config: DictConfig, preprocessing: Preprocessing) -> dict[str, Any]:
    segmenter = segmenter_state(build_segmenter(config, 1, 1), preprocessing)
    generator = build_generator(config, 2, 1, preprocessing.image_size)
    alpha = {half: weights.detach() for half, weights in build_architecture(config, generator)().items()}
    alpha["up"] = torch.softmax(torch.randn(alpha["up"].shape), dim=-1)
    strongest = copy.deepcopy(generator).keep_strongest(alpha)
    shape = {"num_classes": 2, "channels": 1, "image_size": list(preprocessing.image_size)}
    return {
        "predictor": segmenter,
        "best": segmenter,
        "generator": {"weights": generator.state_dict(), "alpha": alpha, **shape},
        "generator_strongest": {"weights": strongest.state_dict(), "kept": [], **shape},
    }
