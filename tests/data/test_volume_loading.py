"""Volumes from their files to the network's input and back: spacing, padding, patches, windows."""

from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

from genseg_betty.backbones.sliding import slide
from genseg_betty.data.batches import FOREGROUND_SHARE, LabelledSet, foreground_of, patch_at
from genseg_betty.data.derived_settings import derive_settings
from genseg_betty.data.formats import ImageError, read_header
from genseg_betty.data.loading import load_data
from genseg_betty.data.preprocessing import Preprocessing, resize
from genseg_betty.errors import UserError
from genseg_betty.inference import Predictor

CLASSES = ("background", "foreground")


def ball(shape: Sequence[int], spacing: Sequence[float], radius: float, centre: Sequence[float]) -> np.ndarray:
    """Voxels within `radius` mm of a place that is given in mm."""
    grid = np.indices(shape).reshape(3, -1).T * np.array(spacing)
    return (((grid - np.array(centre)) ** 2).sum(axis=1) <= radius**2).reshape(shape)


def save(path: Path, array: np.ndarray, spacing: Sequence[float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*spacing[::-1], 1.0])
    affine[:3, 3] = (-30, 12.5, 7)
    nibabel.save(nibabel.Nifti1Image(array.T, affine), path)


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Eight volumes of two spacings, each with a ball of 8 mm in its middle; sizes differ."""
    for index in range(8):
        spacing = (1.0, 1.0, 1.0) if index % 2 else (2.0, 1.0, 1.0)
        shape = (34 + index, 36, 30) if index % 2 else (17 + index // 2, 36, 30)
        centre = [side * step / 2 for side, step in zip(shape, spacing, strict=True)]
        truth = ball(shape, spacing, 8, centre)
        noise = np.random.default_rng(index).integers(0, 40, shape)
        save(tmp_path / "data" / "images" / f"v{index}.nii.gz", (noise + 900 * truth).astype(np.int16), spacing)
        save(tmp_path / "data" / "masks" / f"v{index}.nii.gz", truth.astype(np.uint8), spacing)
    return tmp_path / "data"


@pytest.fixture
def config_of(volumes: Path, dataset_yaml):
    def make(image_size: object = None, **keys) -> DictConfig:
        dataset = dataset_yaml("folder", root=str(volumes), n_labelled=5, **keys)
        return OmegaConf.create({"dataset": dataset, "image_size": image_size, "seed": 0, "ood": []})

    return make


@pytest.mark.parametrize(("shape", "size"), [((9, 12, 7), (5, 6, 9)), ((6, 5, 4), (12, 10, 8)), ((8, 8, 8), (8, 4, 8))])
def test_resizing_is_separable_and_antialiased(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    """Beside one matrix along each axis, read off from PyTorch's antialiased resizing of images."""
    volume = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    expected = volume
    for axis, (old, new) in enumerate(zip(shape, size, strict=True), start=1):
        columns = torch.eye(old)[None, None]  # the answer to an impulse at every place
        matrix = F.interpolate(columns, size=(new, old), mode="bilinear", antialias=True)[0, 0]
        expected = torch.movedim(torch.tensordot(matrix, expected, dims=([1], [axis])), 0, axis)
    torch.testing.assert_close(resize(volume, size), expected, rtol=1e-4, atol=1e-5)


def test_volumes_are_brought_to_one_spacing() -> None:
    preprocessing = Preprocessing((32, 32, 32), 1, (0.0, 255.0), CLASSES, (0, 1), spacing=(1.5, 1.0, 1.0))
    assert preprocessing.grid((30, 40, 50), (3.0, 1.0, 0.5)) == (60, 40, 25)
    assert preprocessing.grid((30, 40, 50)) == (30, 40, 50)  # taken to be of that spacing
    for shape, spacing in (((40, 60, 60), (1.5, 1.0, 1.0)), ((30, 40, 90), (2.0, 1.5, 2 / 3))):
        truth = ball(shape, spacing, 20, (30, 30, 30))
        mask = preprocessing.mask(truth.astype(np.int64), spacing)
        assert mask.shape == (40, 60, 60)
        assert int(mask.sum()) * 1.5 == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.02)  # mm³
        image = preprocessing.image(255.0 * truth, spacing)
        assert image.shape == (1, 40, 60, 60)
        assert ((image[0] > 0) == mask.bool()).float().mean() > 0.999


def test_a_folder_of_volumes(config_of) -> None:
    data = load_data(config_of())
    assert data.preprocessing.spatial_dims == 3
    assert data.preprocessing.spacing == (1.5, 1.0, 1.0) or data.preprocessing.spacing[1:] == (1.0, 1.0)
    assert data.train.images.shape[:2] == (4, 1)
    assert data.train.images.shape[2:] == data.train.masks.shape[1:] == data.preprocessing.image_size
    step = np.prod(data.preprocessing.spacing)
    for mask in data.train.masks:
        assert float(mask.sum()) * step == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.06)
    inside, outside = data.train.images[:, 0][data.train.masks > 0], data.train.images[:, 0][data.train.masks == 0]
    assert inside.mean() > 0.7
    assert outside.mean() < -0.8


def test_patches_where_volumes_do_not_fit(config_of) -> None:
    data = load_data(config_of(image_size=[32, 32, 32], spacing=[1.0, 0.5, 0.5]))
    assert data.train.patch == (32, 32, 32)
    assert data.train.images.shape[3] == 72
    batch = data.train.batch([0, 1, 1], seed=3)
    assert batch.image.shape == (3, 1, 32, 32, 32)
    assert batch.mask.shape == (3, 32, 32, 32)
    again, other = data.train.batch([0, 1, 1], seed=3), data.train.batch([0, 1, 1], seed=4)
    assert torch.equal(batch.image, again.image)
    assert not torch.equal(batch.image, other.image)
    assert not torch.equal(batch.image[1], batch.image[2])  # a patch each
    assert ((batch.image[:, 0] > -0.2) == batch.mask.bool()).float().mean() > 0.97  # image and mask of one place


def test_two_of_three_patches_hold_foreground() -> None:
    mask = torch.zeros(64, 64, 64, dtype=torch.long)
    mask[60, 3, 30] = 1
    source = torch.Generator().manual_seed(0)
    places = [patch_at(mask.shape, foreground_of(mask), (16, 16, 16), source) for _ in range(300)]
    assert all(part.stop - part.start == 16 and part.start >= 0 and part.stop <= 64 for at in places for part in at)
    holding = sum(bool(mask[at].any()) for at in places) / len(places)
    assert holding == pytest.approx(FOREGROUND_SHARE, abs=0.08)
    assert len({tuple(part.start for part in at) for at in places if not mask[at].any()}) > 50
    labelled = LabelledSet(["a"], torch.zeros(1, 1, 64, 64, 64), mask[None] * 0, (16, 16, 16))
    assert labelled.batch([0], seed=1).image.shape == (1, 1, 16, 16, 16)  # nothing to draw about


def test_patches_lie_about_voxels_of_the_foreground_alike(monkeypatch) -> None:
    mask = torch.zeros(40, 50, 60, dtype=torch.long)
    voxels = [(20, 25, 30), (22, 14, 40)]
    for voxel in voxels:
        mask[voxel] = 2
    labelled = LabelledSet(["a"], torch.zeros(1, 1, 40, 50, 60), mask[None], (9, 9, 9))
    first = labelled.batch([0], seed=0)
    monkeypatch.setattr(torch.Tensor, "nonzero", None)  # a GPU would be waited for at every step
    patches = [first.mask, *(labelled.batch([0], seed=seed).mask for seed in range(1, 300))]
    centred = sum(bool(patch[0, 4, 4, 4]) for patch in patches) / len(patches)
    assert centred == pytest.approx(FOREGROUND_SHARE, abs=0.08)
    places = [patch_at(mask.shape, foreground_of(mask), (9, 9, 9), torch.Generator().manual_seed(s)) for s in range(99)]
    about = [tuple(part.start + 4 for part in place) for place in places]
    counts = [about.count(voxel) for voxel in voxels]
    assert min(counts) > 20


def test_a_size_of_the_other_kind_is_explained(config_of) -> None:
    with pytest.raises(UserError, match=r"folder holds volumes .* image_size is \[48, 64\]; expected 3 numbers"):
        load_data(config_of(image_size=[48, 64]))
    data = load_data(config_of(image_size=32))  # of a cube the most along each axis
    assert data.preprocessing.image_size == (32, 32, 32)


def test_a_spacing_of_images_is_refused(dataset_yaml) -> None:
    config = OmegaConf.create({"dataset": dataset_yaml("phantom"), "image_size": None, "seed": 0, "ood": []})
    config.dataset.spacing = [1.0, 1.0, 1.0]
    with pytest.raises(UserError, match=r"spacing is \[1.0, 1.0, 1.0\], and phantom holds images; expected null"):
        load_data(config)


class Local(nn.Module):
    """Logits that depend on a voxel and its neighbours alone: windows change nothing but at their borders."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return F.avg_pool3d(image, 3, 1, 1, count_include_pad=False) + 0.1


@pytest.mark.parametrize("shape", [(20, 24, 30), (40, 16, 33), (16, 16, 16)])
def test_windows_give_what_the_whole_gives(shape: tuple[int, ...]) -> None:
    volume = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    network = nn.Conv3d(1, 2, 1)
    with torch.no_grad():
        torch.testing.assert_close(slide(network, volume, (16, 16, 16)), network(volume), rtol=1e-4, atol=1e-5)
        inner = (..., *[slice(2, -2)] * 3)
        apart = (slide(Local(), volume, (16, 16, 16)) - Local()(volume))[inner].abs().max()
        assert apart < 0.3


def test_predictions_have_the_size_of_the_volume_whatever_its_spacing() -> None:
    preprocessing = Preprocessing((16, 16, 16), 1, (0.0, 1.0), CLASSES, (0, 1), spacing=(1.0, 1.0, 1.0))
    network = nn.Conv3d(1, 1, 1)
    nn.init.ones_(network.weight), nn.init.zeros_(network.bias)
    predict = Predictor(network, preprocessing)
    spacing = (2.0, 1.0, 0.5)
    truth = ball((20, 40, 80), spacing, 12, (20, 20, 20))
    found = predict(truth.astype(np.float32), spacing)
    assert found.shape == truth.shape
    assert (found == truth).mean() > 0.995
    chances = predict.probabilities(truth.astype(np.float32), spacing)
    assert chances.shape == (2, *truth.shape)
    assert np.allclose(chances.sum(axis=0), 1, atol=1e-5)
    assert (ndimage.label(found)[1]) == 1


def test_volumes_of_scanners_with_units_of_their_own(config_of, volumes: Path) -> None:
    """One a thousand times as bright: each is brought to its own percentiles, and predictions follow."""
    plain = load_data(config_of())
    assert plain.preprocessing.intensity is not None
    for index in range(0, 8, 2):
        path = volumes / "images" / f"v{index}.nii.gz"
        stored = nibabel.load(path)
        values = np.asarray(stored.dataobj).astype(np.float32) * 1000 + 5e4
        nibabel.save(nibabel.Nifti1Image(values, stored.affine), path)
    data = load_data(config_of())
    assert data.preprocessing.intensity is None
    config = OmegaConf.merge(config_of(), {"trainer": {"batch_size": None, "loss": "auto"}})
    assert derive_settings(config, data.preprocessing, data.fingerprint).normalisation == "each"
    for image, mask in zip(data.train.images[:, 0], data.train.masks, strict=True):
        assert image[mask > 0].mean() > 0.7
        assert image[mask == 0].mean() < -0.8
    low, high = np.percentile(np.arange(1000.0), [0.5, 99.5])
    ramp = np.arange(1000.0).reshape(10, 10, 10)
    expected = ((ramp - low) / (high - low) * 2 - 1).clip(-1, 1)
    found = data.preprocessing.image(ramp)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    restored = Preprocessing.from_dict(data.preprocessing.to_dict())
    assert restored == data.preprocessing


def test_the_patch_fits_the_spacing_that_is_set(config_of) -> None:
    for spacing, size in (([1.0, 0.5, 0.5], (48, 80, 64)), ([2.0, 2.0, 2.0], (32, 32, 32))):
        data = load_data(config_of(spacing=spacing))
        assert data.preprocessing.image_size == size
        assert data.train.patch is None


def test_a_spacing_that_is_none_is_refused(tmp_path: Path) -> None:
    header = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementSpacing = 1 1 0\nElementType = MET_UCHAR\n"
    (tmp_path / "x.mha").write_bytes(header.encode() + b"ElementDataFile = LOCAL\n" + bytes(8))
    with pytest.raises(ImageError, match="states voxels of 1 x 1 x 0 mm") as caught:
        read_header(tmp_path / "x.mha")
    assert caught.value.code == "unreadable"
