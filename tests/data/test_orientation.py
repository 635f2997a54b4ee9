"""One orientation for training, tests and predictions, in whichever the files are stored."""

from collections.abc import Callable, Mapping
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from omegaconf import DictConfig, OmegaConf
from torch import nn

from data.test_places import FORMATS, save
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.comparable import require_kind
from genseg_betty.data.formats import read_header, read_image
from genseg_betty.data.loading import load_data
from genseg_betty.data.places import Places, note_of_turned
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.errors import UserError
from genseg_betty.inference import Predictor, predict_paths, score_cases

SHAPE = (12, 10, 9)  # i, j, k of an LPS volume
AFFINE = np.array([[-1.5, 0, 0, 10], [0, -1.0, 0, -20], [0, 0, 2.0, 5], [0, 0, 0, 1]])
OTHERS = ("RAS", "LAS", "PSR", "AIL")
CLASSES = ("background", "foreground")


def volume(index: int) -> tuple[nibabel.Nifti1Image, nibabel.Nifti1Image]:
    """An image and its mask, LPS."""
    random = np.random.default_rng(index)
    truth = ((np.indices(SHAPE) - random.integers(3, 6, (3, 1, 1, 1))) ** 2).sum(axis=0) < 8
    image = (random.integers(0, 300, SHAPE) + 900 * truth).astype(np.int16)
    return nibabel.Nifti1Image(image, AFFINE), nibabel.Nifti1Image(truth.astype(np.uint8), AFFINE)


def stored(image: nibabel.Nifti1Image, orientation: str) -> nibabel.Nifti1Image:
    return image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(orientation)))


def write(root: Path, orientations: Mapping[str, str], extension: str = ".nii.gz") -> Path:
    """Eight volumes, LPS but for those that are named."""
    for index in range(8):
        for part, image in zip(("images", "masks"), volume(index), strict=True):
            name = f"v{index}"
            save(stored(image, orientations.get(name, "LPS")), root / part / f"{name}{extension}")
    return root


@pytest.fixture
def config_of(dataset_yaml: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    def make(root: Path, **keys: object) -> DictConfig:
        dataset = dataset_yaml("folder", root=str(root), n_labelled=6)
        return OmegaConf.create({"dataset": dataset, "image_size": None, "seed": 0, "ood": [], **keys})

    return make


@pytest.fixture
def network() -> nn.Module:
    """One that tells left from right, front from back and up from down."""
    torch.manual_seed(0)
    return nn.Conv3d(1, 1, 3, padding=1)


@pytest.fixture
def preprocessing() -> Preprocessing:
    return Preprocessing((16, 16, 16), 1, (0.0, 900.0), CLASSES, (0, 1), spacing=(2.0, 1.0, 1.0), orientation="LPS")


@pytest.mark.parametrize("extension", [".nii.gz", ".mha"])
def test_mixed_and_uniform_sets_are_one(
    tmp_path: Path, config_of: Callable, network: nn.Module, extension: str
) -> None:
    """Tensors, preprocessing and scores to the bit; with the cache cold and warm; told once."""
    uniform = load_data(config_of(write(tmp_path / "uniform", {})))
    train, other = uniform.splits.train, [*uniform.splits.validation, *uniform.splits.test]
    others = {train[0]: "RAS", train[2]: "PSR", other[0]: "AIL", other[-1]: "LAS"}
    root = write(tmp_path / "mixed", others, extension)
    note = "4 of 8 images of folder are stored in another orientation (AIL; LAS; PSR; ...) than the training data (LPS)"
    for _ in range(2):
        mixed = load_data(config_of(root))
        assert mixed.preprocessing == uniform.preprocessing
        assert mixed.preprocessing.orientation == "LPS"
        assert mixed.fingerprint == uniform.fingerprint
        for part in ("train", "validation"):
            ours, theirs = getattr(mixed, part), getattr(uniform, part)
            assert torch.equal(ours.images, theirs.images)
            assert torch.equal(ours.masks, theirs.masks)
        assert mixed.dataset.notes == [f"{note} and are turned to it"]
    assert uniform.dataset.notes == []
    rows = []
    for bundle in (uniform, mixed):
        dataset, cases = bundle.test["folder"]
        predictor = Predictor(network, bundle.preprocessing)
        rows.append(score_cases(predictor, dataset, [*cases, *(c for c in dataset.cases if c not in cases)]))
    assert rows[0] == rows[1]


@pytest.mark.parametrize("orientation", ["LPS", "PSR"])
def test_a_set_of_one_orientation_is_taken_as_it_is_stored(
    tmp_path: Path, config_of: Callable, orientation: str
) -> None:
    """Beside the plain way: read every case, preprocess it, and pad it."""
    bundle = load_data(config_of(write(tmp_path, {f"v{index}": orientation for index in range(8)})))
    assert bundle.preprocessing.orientation == orientation
    assert bundle.dataset.notes == []
    cases = {case.id: case for case in bundle.dataset.cases}
    for position, id in enumerate(bundle.train.ids):
        sample = bundle.dataset.load(cases[id])
        image = bundle.preprocessing.image(sample.image, sample.spacing)[0]
        missing = np.array(bundle.train.images.shape[2:]) - image.shape
        inner = tuple(slice(m // 2, m // 2 + side) for m, side in zip(missing, image.shape, strict=True))
        assert torch.equal(bundle.train.images[position, 0][inner], image)


def test_datasets_tested_on_are_told_too(tmp_path: Path, config_of: Callable, dataset_yaml: Callable) -> None:
    write(tmp_path / "other", {"v1": "RAS", "v2": "RAS"})
    for path in (tmp_path / "other").rglob("*.nii.gz"):  # other images than those trained on
        image = nibabel.load(path)
        values = np.asarray(image.dataobj) * (5 if "images" in path.parts else 1)
        nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), image.affine), path)
    other = dataset_yaml("folder", root=str(tmp_path / "other"), name="other")
    bundle = load_data(config_of(write(tmp_path / "own", {}), ood=["other"]), lambda name, config_dir: other)
    assert bundle.dataset.notes == [
        "2 of 8 images of other are stored in another orientation (RAS) than the training data (LPS) and are turned to "
        "it"
    ]


def test_the_usual_orientation() -> None:
    places = Places({"a": "RAS", "b": "LPS", "c": "LPS", "d": "RAS", "e": "PSR"})
    assert places.usual(["a", "b", "c", "x"]) == "LPS"
    assert places.usual(["e", "a", "b"]) == "PSR"  # of several the first
    assert places.usual(["x"]) is None
    assert note_of_turned("x", ["RAS", None], None) == []
    assert note_of_turned("x", ["LP", "LP"], "LP") == []
    assert note_of_turned("x", ["LS", "LP", None, "RP"], "LP") == [
        "1 of 4 images of x are stored in another orientation (RP) than the training data (LP) and are turned to it",
        "1 of 4 images of x lie in another plane (LS) than the training data (LP) and are taken as they are stored",
        "1 of 4 images of x do not say how they lie in space and are taken to be stored as the training data (LP)",
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_predictions_do_not_depend_on_the_storage(
    tmp_path: Path, name: str, network: nn.Module, preprocessing: Preprocessing, monkeypatch, capsys
) -> None:
    """The mask of a file that is stored otherwise is the mask, stored otherwise, to the voxel; and in its place."""
    predictor = Predictor(network, preprocessing)
    monkeypatch.setattr("genseg_betty.inference.predict.load", lambda run, device, trust: predictor)
    image, _ = volume(0)
    array = np.asarray(image.dataobj).T.astype(np.float32)
    expected = predictor(array, (2.0, 1.0, 1.5))
    assert 0.05 < expected.mean() < 0.95
    for orientation in ("LPS", *OTHERS):
        save(stored(image, orientation), tmp_path / "in" / f"{orientation}{name[1:]}")
    predict_paths("run", [tmp_path / "in"], tmp_path / "out")
    for orientation in ("LPS", *OTHERS):
        source = read_header(tmp_path / "in" / f"{orientation}{name[1:]}")
        mask = nibabel.load(tmp_path / "out" / f"{orientation}.nii.gz")
        np.testing.assert_allclose(mask.affine, source.affine, atol=1e-4)
        assert mask.shape == source.shape[::-1]
        np.testing.assert_array_equal(np.asarray(stored(mask, "LPS").dataobj).T, expected)
    note = "note: 4 of 5 images of the input are stored in another orientation"
    assert capsys.readouterr().err.count(note) == 1


def test_probabilities_are_turned_back(network: nn.Module, preprocessing: Preprocessing) -> None:
    predictor = Predictor(network, preprocessing)
    image, _ = volume(0)
    other = stored(image, "PSR")
    values = np.asarray(other.dataobj).T.astype(np.float32)
    spacing = nibabel.affines.voxel_sizes(other.affine)[::-1]
    chances = predictor.probabilities(values, spacing, other.affine)
    assert chances.shape == (2, *values.shape)
    np.testing.assert_array_equal(chances[1] > 0.5, predictor(values, spacing, other.affine) == 1)


def test_runs_of_earlier_versions_leave_images_as_stored(network: nn.Module, preprocessing: Preprocessing) -> None:
    kept = preprocessing.to_dict()
    assert Preprocessing.from_dict(kept) == preprocessing
    del kept["orientation"]
    predictor = Predictor(network, Preprocessing.from_dict(kept))
    image, _ = volume(0)
    values = np.asarray(image.dataobj).T.astype(np.float32)
    np.testing.assert_array_equal(predictor(values, affine=np.eye(4)), predictor(values))


def test_what_is_no_affine_is_refused(network: nn.Module, preprocessing: Preprocessing) -> None:
    predictor = Predictor(network, preprocessing)
    for affine in (np.eye(3), np.diag([1.0, 1, 0, 1]), np.full((4, 4), np.nan)):
        with pytest.raises(UserError, match="expected \\[4, 4\\] finite numbers"):
            predictor(np.zeros((9, 9, 9), np.float32), affine=affine)


def test_what_is_no_spacing_is_refused(network: nn.Module, preprocessing: Preprocessing) -> None:
    predictor = Predictor(network, preprocessing)
    for spacing in ((1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, float("nan"))):
        with pytest.raises(UserError, match="expected 3 numbers above 0, in mm along each axis"):
            predictor(np.zeros((9, 9, 9), np.float32), spacing)


def test_an_image_is_no_volume(
    tmp_path: Path, network: nn.Module, preprocessing: Preprocessing, monkeypatch, dataset_yaml: Callable
) -> None:
    """Neither a picture nor a single slice is taken for a volume, to predict it or to score it; and no volume for an
    image."""
    predictor = Predictor(network, preprocessing)
    monkeypatch.setattr("genseg_betty.inference.predict.load", lambda run, device, trust: predictor)
    whole, truth = volume(0)
    flat = stored(whole.slicer[:, :, 4:5], "RAS")
    save(flat, tmp_path / "images" / "x.nii")
    save(stored(truth.slicer[:, :, 4:5], "RAS"), tmp_path / "masks" / "x.nii")
    with pytest.raises(UserError, match=r"is an image \(10 x 12\); expected a volume of two slices or more"):
        predict_paths("run", [tmp_path / "images"], tmp_path / "out")
    dataset = open_dataset(dataset_yaml("folder", root=str(tmp_path)))
    with pytest.raises(UserError, match=r"^folder: x is an image \(10 x 12\); expected a volume"):
        score_cases(predictor, dataset, dataset.cases)
    with pytest.raises(UserError, match=r"is a volume \(9 x 10 x 12\); expected an image, as those trained on"):
        require_kind((9, 10, 12), 2)


def test_a_dataset_of_images_is_no_test_of_volumes(tmp_path: Path, config_of: Callable, dataset_yaml: Callable) -> None:
    for index in range(3):
        for part, whole in zip(("images", "masks"), volume(20 + index), strict=True):
            save(whole.slicer[:, :, 4:5], tmp_path / "flat" / part / f"x{index}.nii")
    other = dataset_yaml("folder", root=str(tmp_path / "flat"), name="other")
    with pytest.raises(UserError, match=r"^ood: other: x0 is an image \(10 x 12\); expected a volume of two slices"):
        load_data(config_of(write(tmp_path / "own", {}), ood=["other"]), lambda name, config_dir: other)


def test_slices_are_turned_within_their_plane(tmp_path: Path) -> None:
    preprocessing = Preprocessing((16, 16), 1, (0.0, 900.0), CLASSES, (0, 1), orientation="LP")
    torch.manual_seed(0)
    predictor = Predictor(nn.Conv2d(1, 1, 3, padding=1), preprocessing)
    whole, _ = volume(0)
    flat = whole.slicer[:, :, 4:5]
    expected = predictor(np.asarray(flat.dataobj)[..., 0].T.astype(np.float32))
    for orientation in ("LPS", "RPS", "ALS", "PRI"):
        path = save(stored(flat, orientation), tmp_path / f"{orientation}.nrrd")
        header = read_header(path)
        found = predictor(read_image(path), header.spacing, header.affine)
        assert found.shape == header.shape
        back = stored(nibabel.Nifti1Image(found.T[..., None].astype(np.uint8), header.affine), "LPS")
        np.testing.assert_array_equal(np.asarray(back.dataobj)[..., 0].T, expected)
    sagittal = read_header(save(whole.slicer[5:6], tmp_path / "x.nii"))
    assert preprocessing.turn(sagittal.shape, sagittal.affine) is None


def test_samples_keep_their_place(tmp_path: Path, dataset_yaml: Callable) -> None:
    dataset = open_dataset(dataset_yaml("folder", root=str(write(tmp_path, {"v3": "PSR"}))))
    sample = dataset.load(next(case for case in dataset.cases if case.id == "v3"))
    found = sample.in_orientation("LPS")
    image, mask = volume(3)
    np.testing.assert_array_equal(found.image[..., 0], np.asarray(image.dataobj).T)
    np.testing.assert_array_equal(found.mask, np.asarray(mask.dataobj).T)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-4)
    assert found.in_orientation("LPS") is found
    assert found.in_orientation(None) is found
