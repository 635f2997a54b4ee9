"""Runs to be exported: small networks with the weights that they were drawn with, written as training writes them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from genseg_betty.backbones.padding import LINEAR
from genseg_betty.build import build_segmenter
from genseg_betty.config import conf_dir
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.exporting.recording import draw_images
from genseg_betty.run import Run

HEIGHT, WIDTH = 40, 48
CLASSES = ("background", "heart", "lung")
SMALL: dict[str, dict[str, Any]] = {
    "unet_classic": {"base_channels": 4},
    "unet": {"base_channels": 4, "encoder": "resnet18", "encoder_weights": None},
    "deeplab": {"base_channels": 4, "encoder": "resnet18", "encoder_weights": None},
    "swinunet": {"base_channels": 8, "depths": [1, 2], "decoder_depths": [1], "window": 4},
    "unet3d": {"base_channels": 4},
}
MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a Run of a backbone; keywords are those of Preprocessing."""

    def make(backbone: str = "unet_classic", **preprocessing: Any) -> Run:
        found = make_preprocessing(3 if backbone == "unet3d" else 2, **preprocessing)
        config = make_config(backbone)
        outputs = 1 if found.num_classes == 2 else found.num_classes
        network = build_segmenter(config, found.channels, outputs, found.spatial_dims)
        enliven(network, draw_smooth_images([4, found.channels, *found.image_size]))
        with Run.start(tmp_path / f"run-{backbone}", config) as run:
            state = {"preprocessing": found.to_dict(), "num_outputs": outputs, "weights": network.state_dict()}
            run.save_checkpoint("predictor", state)
        return run

    return make


def make_preprocessing(spatial_dims: int, **changes: Any) -> Preprocessing:
    """Binary and gray, 8-bit, at 40 x 48 pixels, of volumes at 32 x 48 x 40."""
    values: dict[str, Any] = {
        "image_size": (HEIGHT, WIDTH) if spatial_dims == 2 else (32, 48, 40),
        "channels": 1,
        "intensity": (0.0, 255.0),
        "classes": ("background", "foreground"),
        "label_values": (0, 255),
        "scale": (0.0, 255.0),
    }
    return Preprocessing(**{**values, **changes})


def make_config(backbone: str) -> DictConfig:
    section = OmegaConf.load(conf_dir() / "backbone" / f"{backbone}.yaml")
    section.update(SMALL[backbone])
    names = {"method": {"name": "supervised"}, "dataset": {"name": "folder"}}
    return OmegaConf.create({"backbone": section, "seed": 0, **names})


def enliven(network: nn.Module, images: Tensor) -> None:
    """Let the network have seen images, as training does, and shift its last bias so that each class is predicted.

    BatchNorm's first statistics would hide what a graph folds into weights.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.momentum = None  # the mean over all batches
    with torch.no_grad():
        network.train()(images)
        logits = network.eval()(images)
        centres = logits.transpose(0, 1).flatten(1).median(dim=1).values
        *_, last = [value for name, value in network.named_parameters() if name.endswith("bias")]
        if last.shape == centres.shape:
            last.sub_(centres)


def draw_smooth_images(shape: Sequence[int]) -> Tensor:
    """Images [B, C, *] in -1..1 that change slowly."""
    batch, channels, *size = shape
    coarse = draw_images([batch, channels, *[6] * len(size)], -1, 1)
    return functional.interpolate(coarse, size=size, mode=LINEAR[len(size)])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of pictures: gray, colour, with alpha, with a palette, turned by EXIF; none has the network's size."""
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    smooth = random.integers(0, 256, (6, 5, 4), np.uint8)
    picture = Image.fromarray(smooth, "RGBA").resize((61, 75), Image.Resampling.BICUBIC)
    picture.save(folder / "alpha.png")
    picture.convert("RGB").save(folder / "colour.png")
    picture.convert("L").save(folder / "gray.png")
    picture.convert("RGB").quantize(16).save(folder / "palette.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.convert("RGB").save(folder / "turned.jpg", exif=turned)
    return folder
