"""Synthetic pairs: readable, repeatable, of the training masks alone, rendered by the Run's generator."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from genseg_betty.build import build_generator
from genseg_betty.config import conf_dir, load_dataset_config
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.errors import UserError
from genseg_betty.inference import generate
from genseg_betty.inference.pair_files import to_intensities
from genseg_betty.run import Run


def pixels(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))}


@pytest.fixture
def plain_run(config: DictConfig, make_run: Callable[..., Run]) -> Run:
    """A Run whose augmentation leaves masks as they are."""
    config.augment = OmegaConf.load(conf_dir() / "augment" / "none.yaml")
    return make_run()


def test_pairs_are_a_dataset_of_the_folder_kind(run: Run, tmp_path: Path) -> None:
    out = generate(run.path, 5, tmp_path / "synthetic").out
    dataset = open_dataset(load_dataset_config("folder", root=out))
    assert [case.id for case in dataset.cases] == ["0000", "0001", "0002", "0003", "0004"]
    assert dataset.label_values == (0, 255)
    for case in dataset.cases:
        sample = dataset.load(case)
        assert sample.mask is not None
        assert sample.image.shape == (40, 48, 1)
        assert set(np.unique(sample.mask)) == {0, 1}


def test_pairs_of_masks_in_colour_are_in_colour(
    config: DictConfig, make_run: Callable[..., Run], preprocessing: Preprocessing, data_root: Path, tmp_path: Path
) -> None:
    colours = {"background": [0, 0, 0], "lesion": [9, 80, 255]}
    for name, mask in pixels(data_root / "masks").items():
        Image.fromarray(mask[:, :, None] // 255 * np.uint8([9, 80, 255])).save(data_root / "masks" / name)
    config.dataset.labels = colours
    coloured = replace(preprocessing, label_values=tuple(map(tuple, colours.values())))
    state = make_run("plain").load_checkpoint("predictor")
    assert state is not None
    run = make_run(states={"predictor": {**state, "preprocessing": coloured.to_dict()}})
    out = generate(run.path, 2, tmp_path / "synthetic").out
    labels = "labels={background: [0, 0, 0], lesion: [9, 80, 255]}"
    dataset = open_dataset(load_dataset_config("folder", root=out, overrides=[labels]))
    assert [set(np.unique(dataset.load(case).mask)) for case in dataset.cases] == [{0, 1}, {0, 1}]


def test_the_same_seed_gives_the_same_pairs_and_more_of_them(run: Run, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    generate(run.path, 4, one, seed=3)
    generate(run.path, 7, two, seed=3)
    generate(run.path, 4, other, seed=4)
    torch.testing.assert_close(torch.get_rng_state(), state, rtol=0, atol=0)
    for folder in ("images", "masks"):
        first, second = pixels(one / folder), pixels(two / folder)
        assert (len(first), len(second)) == (4, 7)
        for name, values in first.items():
            np.testing.assert_array_equal(values, second[name])
    others = pixels(other / "masks")
    assert any((values != others[name]).any() for name, values in pixels(one / "masks").items())


def test_masks_are_those_of_the_training_part(plain_run: Run, data_root: Path, tmp_path: Path) -> None:
    masks = pixels(generate(plain_run.path, 6, tmp_path / "out").out / "masks").values()
    trained = pixels(data_root / "masks")
    names = [next(name for name, truth in trained.items() if (truth == mask).all()) for mask in masks]
    assert set(names[:3]) == set(names[3:]) == {"case_0.png", "case_3.png", "case_4.png"}


def test_masks_are_augmented_as_in_training(run: Run, data_root: Path, tmp_path: Path) -> None:
    masks = pixels(generate(run.path, 6, tmp_path / "out").out / "masks").values()
    trained = pixels(data_root / "masks").values()
    assert not any((truth == mask).all() for truth in trained for mask in masks)
    assert all(200 < (mask == 255).sum() < 400 for mask in masks)


def test_images_have_the_intensities_of_the_recipe(
    plain_run: Run, config: DictConfig, make_run: Callable[..., Run], tmp_path: Path
) -> None:
    same_weights = {"generator": plain_run.load_checkpoint("generator")}
    config.augment.intensity = {"brightness": {"probability": 1.0, "range": [0.5, 0.5]}}
    dark_run = make_run("dark_run", states=same_weights)
    dark = pixels(generate(dark_run.path, 2, tmp_path / "dark").out / "images")
    for name, values in pixels(generate(plain_run.path, 2, tmp_path / "plain").out / "images").items():
        np.testing.assert_allclose(dark[name], values / 2.0, atol=0.76)


@pytest.mark.parametrize("strongest", [False, True])
def test_images_are_the_generators(plain_run: Run, config: DictConfig, tmp_path: Path, strongest: bool) -> None:
    out = generate(plain_run.path, 2, tmp_path / "out", strongest=strongest).out
    state = plain_run.load_checkpoint("generator")
    final = plain_run.load_checkpoint("generator_strongest")
    assert state is not None
    assert final is not None
    network = build_generator(config, 2, 1, (40, 48)).eval()
    alpha: dict[str, torch.Tensor] | None = state["alpha"]
    network.load_state_dict(state["weights"])
    if strongest:
        network, alpha = network.keep_strongest(alpha), None
        network.load_state_dict(final["weights"])
    images, masks = pixels(out / "images"), pixels(out / "masks")
    for name, mask in masks.items():
        condition = torch.from_numpy(mask.astype(np.float32) / 127.5 - 1)[None, None]
        with torch.no_grad():
            expected = (network(condition, alpha)[0, 0].numpy() + 1) * 127.5
        np.testing.assert_allclose(images[name], expected, atol=0.51)


def test_the_strongest_operations_make_other_images(plain_run: Run, tmp_path: Path) -> None:
    mixed = pixels(generate(plain_run.path, 1, tmp_path / "mixed").out / "images")
    strongest = pixels(generate(plain_run.path, 1, tmp_path / "strongest", strongest=True).out / "images")
    assert (mixed["0000.png"] != strongest["0000.png"]).any()


@pytest.mark.parametrize(
    ("intensity", "channels", "expected"),
    [
        ((0.0, 255.0), 1, np.array([[0, 128, 255]], dtype=np.uint8)),
        ((0.0, 255.0), 3, np.repeat(np.array([[[0], [128], [255]]], dtype=np.uint8), 3, axis=2)),
        ((100.0, 4100.0), 1, np.array([[100, 2100, 4100]], dtype=np.uint16)),
        ((0.0, 1.0), 1, np.array([[0, 128, 255]], dtype=np.uint8)),
    ],
)
def test_intensities_are_those_of_the_training_files(
    preprocessing: Preprocessing, intensity: tuple[float, float], channels: int, expected: np.ndarray
) -> None:
    image = torch.tensor([-1.0, 0.001, 1.0]).view(1, 1, 3).expand(channels, -1, -1)
    found = to_intensities(image, replace(preprocessing, intensity=intensity, channels=channels))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, atol=2 if found.dtype == np.uint16 else 0)


def test_all_wrong_arguments_are_told_and_nothing_is_mixed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.png").write_text("precious")
    with pytest.raises(UserError) as caught:
        generate(run.path, 0, tmp_path / "full", format="dicom")
    for said in ("'dicom'", "count is 0", "not empty"):
        assert said in str(caught.value)
    with pytest.raises(UserError, match="is a file"):
        generate(run.path, 1, tmp_path / "full" / "mine.png")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.png"]
    with pytest.raises(UserError, match="Cannot write the pair"):
        generate(run.path, 1, tmp_path / "full" / "mine.png" / "below")


def test_a_run_without_a_generator(config: DictConfig, make_run: Callable[..., Run], tmp_path: Path) -> None:
    config.method.name = "vanilla"
    run = make_run(states={"generator": None})
    with pytest.raises(UserError, match="its method is vanilla"):
        generate(run.path, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_generator_of_another_shape_is_told(run: Run, make_run: Callable[..., Run], tmp_path: Path) -> None:
    state = run.load_checkpoint("generator")
    assert state is not None
    wrong = make_run("wrong", states={"generator": {**state, "channels": 3}})
    with pytest.raises(UserError, match="generator saved in"):
        generate(wrong.path, 1, tmp_path / "out")


def test_training_data_that_are_gone(run: Run, make_run: Callable[..., Run], data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"case_77"):
        generate(make_run("other", train=["case_0", "case_77"]).path, 1, tmp_path / "out")
    shutil.rmtree(data_root)
    with pytest.raises(UserError, match=f"needs the masks.*{data_root}"):
        generate(run.path, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_training_data_are_found_where_they_lay_then(
    config: DictConfig, make_run: Callable[..., Run], data_root: Path, tmp_path: Path
) -> None:
    config.dataset.root = None
    run = make_run(root=str(data_root))
    generate(run.path, 1, tmp_path / "out")
    assert len(pixels(tmp_path / "out" / "masks")) == 1
