"""Networks and volumes by one command each: trained, tested, predicted with, generated from."""

import json
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from genseg_betty.backbones.smp import architectures
from genseg_betty.cli import main
from genseg_betty.config import compose
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.loading import load_data
from methods.test_contract import GENERATORS, SMALL
from methods.tiny import TINY, built

SHORT = [
    "method=genseg", "trainer.warmup_iterations=1", "trainer.iterations=2", "trainer.finetune_iterations=1",
    "trainer.validate_every=2", "trainer.sample_every=2", "generator.base_channels=4", "generator.max_channels=8",
    "trainer.batch_size=2", "device=cpu", "ood=[]", "dataset.n_labelled=4",
]  # fmt: skip
PHANTOM = [*SHORT, "dataset=phantom", "dataset.n_test=2", "image_size=32"]
OWN = '''
"""A segmenter of one's own: a class that takes the channels of images and of logits."""

import torch
from torch import nn


class Stacked(nn.Module):
    def __init__(self, in_channels, num_outputs, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=2, dilation=2), nn.BatchNorm2d(width), nn.SiLU(),
        )
        self.head = nn.Conv2d(in_channels + width, num_outputs, 1)

    def forward(self, image):
        return self.head(torch.cat([image, self.layers(image)], dim=1))
'''  # fmt: skip


def command(*words: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code == 0


def trained(run: Path, *overrides: str) -> dict:
    command(*overrides, f"run_dir={run}")
    results = json.loads((run / "results.json").read_text())
    assert all(math.isfinite(scores["dice"]) for scores in results["test"].values())
    alpha = np.array(results["architecture"]["up"])
    assert (abs(alpha - 1 / 3) > 1e-6).any()  # the third level has moved it
    return results


@pytest.mark.parametrize(
    "backbone",
    [
        pytest.param(["backbone=smp", "backbone.arch=Segformer", "backbone.encoder=mit_b0"], marks=pytest.mark.slow),
        ["backbone=swinunet", *SMALL["swinunet"]],
        ["backbone=stacked"],
    ],
    ids=["Segformer", "swinunet", "own"],
)
def test_backbones_by_one_command(backbone: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if backbone == ["backbone=stacked"]:
        (tmp_path / "networks_of_my_own.py").write_text(OWN)
        (tmp_path / "conf" / "backbone").mkdir(parents=True)
        lines = "name: stacked\n_target_: networks_of_my_own.Stacked\nwidth: 6\n"
        (tmp_path / "conf" / "backbone" / "stacked.yaml").write_text(lines)
        monkeypatch.syspath_prepend(tmp_path)
        backbone = [*backbone, "--config-dir", str(tmp_path / "conf")]
    trained(tmp_path / "run", *PHANTOM, *backbone)
    noise = np.random.default_rng(0).integers(0, 256, (40, 56)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.png")
    trust = ["--trust"] if "backbone=stacked" in backbone else []
    command("predict", str(tmp_path / "run"), str(tmp_path / "x.png"), "--out", str(tmp_path / "masks"), *trust)
    assert np.asarray(Image.open(tmp_path / "masks" / "x.png")).shape == (40, 56)


@pytest.mark.parametrize("arch", architectures())
def test_every_architecture_of_smp_makes_a_joint_step(arch: str) -> None:
    encoder = "tu-test_vit" if arch == "DPT" else "tu-test_resnet"
    config = compose(
        [*(key for key in TINY if "backbone" not in key), "method=genseg", "ood=[]", "trainer.warmup_iterations=1",
         "backbone=smp", f"backbone.arch={arch}", f"backbone.encoder={encoder}", "backbone.base_channels=4"]
    )  # fmt: skip
    components, engine = built(config, load_data(config))
    while engine.segmenter.count < 2:
        engine.advance()
    assert all(level.guard.skipped == 0 for level in engine.levels)
    norm = engine.architecture.guard.gradient_norm
    assert norm is not None
    assert float(norm) > 0
    assert any(bool(logits.detach().any()) for logits in components.architecture.parameters())


@pytest.mark.parametrize("generator", ["bbdm", "wgan_gp"])
def test_generators_without_discriminator_or_with_masks_of_their_own(generator: str, tmp_path: Path) -> None:
    discriminator = [] if generator == "bbdm" else ["generator.discriminator.base_channels=4"]
    keys = [f"generator={generator}", *SMALL[generator], *discriminator]
    backbone = ["backbone=unet_classic", "backbone.base_channels=4"]
    results = trained(tmp_path / "run", *PHANTOM, *backbone, *keys)
    assert (results["parameters"]["discriminator"] is None) is (generator == "bbdm")
    assert ("searched" in results["strongest"]) is (generator == "bbdm")
    assert list((tmp_path / "run" / "samples").glob("synthetic-*.png"))
    for more in ([], ["--strongest"]):
        out = tmp_path / f"pairs{len(more)}"
        command("generate", str(tmp_path / "run"), "--count", "3", "--out", str(out), *more)
        assert len(list((out / "images").iterdir())) == len(list((out / "masks").iterdir())) == 3
        masks = [np.asarray(Image.open(path)) for path in sorted((out / "masks").iterdir())]
        assert {value for mask in masks for value in np.unique(mask).tolist()} <= {0, 255}


@pytest.mark.parametrize("generator", [name for name in GENERATORS if not name.endswith("3d")])
def test_every_generator_steps_in_half_precision(generator: str) -> None:
    discriminator = [] if generator == "bbdm" else ["generator.discriminator.base_channels=4"]
    tiny = [key for key in TINY if "discriminator" not in key]
    small = [*SMALL.get(generator, []), *discriminator]
    keys = [f"generator={generator}", *small, "precision=bf16", "method=genseg", "ood=[]"]
    config = compose([*tiny, *keys, "trainer.warmup_iterations=1"])
    _, engine = built(config, load_data(config))
    while engine.segmenter.count < 2:
        engine.advance()
    assert all(level.guard.skipped == 0 for level in engine.levels)


def save_volume(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array.T, affine), path)


def test_volumes_by_one_command(tmp_path: Path) -> None:
    """unet3d and pix2pix3d; the prediction lies where its volume lies, whatever its spacing."""
    affine = np.array([[-1.5, 0, 0.1, 10], [0, 1.0, 0, -20], [0, 0.1, 2.0, 5], [0, 0, 0, 1]])
    for index in range(7):
        random = np.random.default_rng(index)
        truth = ((np.indices((16, 34, 24)) - random.integers(8, 12, (3, 1, 1, 1))) ** 2).sum(axis=0) < 60
        image = (random.normal(100, 30, truth.shape) + 800 * truth).astype(np.float32)
        save_volume(tmp_path / "data" / "images" / f"v{index}.nii.gz", image, affine)
        save_volume(tmp_path / "data" / "masks" / f"v{index}.nii.gz", truth.astype(np.uint8), affine)
    results = trained(
        tmp_path / "run", *SHORT, "dataset=folder", f"dataset.root={tmp_path / 'data'}", "backbone=unet3d",
        "generator=pix2pix3d", "backbone.base_channels=2", "generator.discriminator.base_channels=4",
    )  # fmt: skip
    assert set(results["test"]) == {"folder"}
    for name in ("synthetic", "validation"):
        assert list((tmp_path / "run" / "samples").glob(f"{name}-*.png"))
    command("predict", str(tmp_path / "run"), str(tmp_path / "data" / "images"), "--out", str(tmp_path / "masks"))
    for index in range(7):
        source = nibabel.load(tmp_path / "data" / "images" / f"v{index}.nii.gz")
        made = nibabel.load(tmp_path / "masks" / f"v{index}.nii.gz")
        assert made.shape == source.shape
        np.testing.assert_allclose(made.affine, source.affine)
        assert set(np.unique(np.asarray(made.dataobj)).tolist()) <= {0, 1}
    command("generate", str(tmp_path / "run"), "--count", "2", "--out", str(tmp_path / "pairs"))
    pairs = compose(["dataset=folder", f"dataset.root={tmp_path / 'pairs'}"]).dataset
    dataset = open_dataset(pairs)
    assert len(dataset.cases) == 2
    sample = dataset.load(dataset.cases[0])
    assert sample.image.shape == (32, 48, 32, 1)
    assert sample.spacing == pytest.approx((2.0, 1.0, 1.5), rel=0.02)
    assert sample.affine is not None
    assert nibabel.aff2axcodes(sample.affine) == nibabel.aff2axcodes(affine)  # they lie as the training data do
