"""Images that are seen without their masks: which ones, how they are read, and what never is among them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from genseg_betty.data.batches import Batch
from genseg_betty.data.cache import prepared
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.loading import load_data
from genseg_betty.data.places import Places
from genseg_betty.data.splits import Splits, unseen_cases
from genseg_betty.data.unlabelled import MixedBatch, UnlabelledSet, draw_mixed_batches
from genseg_betty.errors import UserError


@pytest.fixture
def config_of(dataset_yaml: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """A config with a folder as its dataset."""

    def make(root: Path, unlabelled: object = None, seed: int = 0, **keys: object) -> DictConfig:
        dataset = dataset_yaml("folder", **({"root": str(root), "n_labelled": 5} | keys))
        tree = {"dataset": dataset, "image_size": 32, "seed": seed, "ood": [], "unlabelled": unlabelled}
        return OmegaConf.create(tree)

    return make


def load(config: DictConfig):
    return load_data(config, reads_unlabelled=True)


# -- which images ------------------------------------------------------------------------------------------------


def test_they_are_the_rest_of_the_training_part(config_of, folder: Path) -> None:
    data = load(config_of(folder))
    splits = data.splits
    known = {*splits.train, *splits.validation, *splits.test}
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4, 1, 6)
    assert sorted(splits.unlabelled) == [f"case{i:02d}" for i in range(20) if f"case{i:02d}" not in known]
    assert data.unlabelled.ids == splits.unlabelled
    assert load_data(config_of(folder)).splits.unlabelled == []  # for methods that see none
    labelled_alone = load_data(config_of(folder))
    assert data.sha256 == labelled_alone.sha256  # the labelled images are the same ones
    assert data.preprocessing == labelled_alone.preprocessing


def test_the_whole_test_part_stays_out_where_few_of_it_are_tested(config_of, folder: Path) -> None:
    tested = load_data(config_of(folder)).splits.test
    data = load(config_of(folder, n_test=2))
    assert len(data.splits.test) == 2
    assert not {*data.splits.unlabelled} & {*tested}


def test_a_number_takes_the_first_of_a_seeded_order(config_of, folder: Path) -> None:
    all_nine = load(config_of(folder)).splits.unlabelled
    assert load(config_of(folder, unlabelled=4)).splits.unlabelled == all_nine[:4]
    assert load(config_of(folder, unlabelled=99)).splits.unlabelled == all_nine
    assert len(all_nine) == 9
    assert sorted(all_nine) != all_nine


@pytest.mark.parametrize("seed", range(4))
def test_no_patient_of_a_held_out_image_is_among_them(config_of, tmp_path: Path, write_pair, seed: int) -> None:
    """Ten patients of four images: those of a validated or tested image are out, those of a trained one may be in."""
    for index in range(40):
        write_pair(tmp_path / "scans", f"p{index % 10}_{index}", seed=index)
    data = load(config_of(tmp_path / "scans", seed=seed, group="(p[0-9]+)_", n_labelled=6))
    splits = data.splits

    def patients(ids: list[str]) -> set[str]:
        return {id.split("_")[0] for id in ids}

    held_out = patients(splits.validation) | patients(splits.test)
    assert not patients(splits.unlabelled) & held_out
    free = [f"p{i % 10}_{i}" for i in range(40) if f"p{i % 10}" not in held_out]
    assert sorted(splits.unlabelled) == sorted(set(free) - {*splits.train})
    assert patients(splits.unlabelled) & patients(splits.train)


def test_copies_of_held_out_images_are_not_among_them(config_of, folder: Path) -> None:
    """An image of the rest that is a test image, byte for byte, is drawn to its side."""
    before = load(config_of(folder)).splits
    source, copy = before.test[0], before.unlabelled[0]
    shutil.copy(folder / "images" / f"{source}.png", folder / "images" / f"{copy}.png")
    data = load(config_of(folder))
    held_out = {*data.splits.test, *data.splits.validation}
    hashes = {id: (folder / "images" / f"{id}.png").read_bytes() for id in [*held_out, *data.splits.unlabelled]}
    assert not {hashes[id] for id in data.splits.unlabelled} & {hashes[id] for id in held_out}


def test_copies_of_images_of_another_test_set_are_not_among_them(
    config_of, folder: Path, tmp_path: Path, dataset_yaml: Callable[..., DictConfig]
) -> None:
    before = load(config_of(folder)).splits.unlabelled
    config = config_of(folder)
    shutil.copytree(folder, tmp_path / "others")
    config.ood = ["others"]
    for image in (tmp_path / "others" / "images").iterdir():
        if image.stem not in before[:3]:
            pixels = 255 - np.asarray(Image.open(image))
            Image.fromarray(pixels).save(image)
    other = dataset_yaml("folder", name="others", root=str(tmp_path / "others"))
    data = load_data(config, lambda *_, **__: other, reads_unlabelled=True)
    assert {case.id for case in data.test["others"][1]} >= {*before[:3]}
    assert {*data.splits.unlabelled} == {*before[3:]}


def test_a_split_of_the_users_own_is_kept(config_of, folder: Path, tmp_path: Path) -> None:
    """Its validation and test images stay out, also those that a smaller n_labelled does not draw."""
    names = [f"case{i:02d}" for i in range(20)]
    parts = {"train": names[:8], "validation": names[8:12], "test": names[12:15]}
    (tmp_path / "split.json").write_text(str(parts).replace("'", '"'))
    data = load(config_of(folder, split={"file": str(tmp_path / "split.json")}, n_labelled=4))
    drawn = {*data.splits.train}
    assert sorted(data.splits.unlabelled) == sorted({*names[:8], *names[15:]} - drawn)


def test_where_none_is_left_it_is_said(config_of, folder: Path) -> None:
    with pytest.raises(UserError, match=r"no images are left without labels.*n_labelled lower.*unlabelled=DIR"):
        load(config_of(folder, n_labelled=14))


# -- a folder ----------------------------------------------------------------------------------------------------


def test_a_folder_of_images(config_of, folder: Path, tmp_path: Path) -> None:
    """At any depth and of another size; copies of validated and tested images are left out, hidden files too."""
    splits = load_data(config_of(folder)).splits
    more = tmp_path / "more"
    (more / "deep").mkdir(parents=True)
    for index in range(3):
        pixels = np.random.default_rng(100 + index).integers(0, 256, (50, 44)).astype(np.uint8)
        Image.fromarray(pixels).save(more / "deep" / f"u{index}.png")
    shutil.copy(more / "deep" / "u0.png", more / ".hidden.png")
    shutil.copy(folder / "images" / f"{splits.validation[0]}.png", more / "v.png")
    shutil.copy(folder / "images" / f"{splits.test[0]}.png", more / "t.png")
    data = load(config_of(folder, unlabelled=str(more)))
    assert sorted(data.splits.unlabelled) == [f"unlabelled:deep/u{index}.png" for index in range(3)]
    assert data.unlabelled.images.shape == (3, 1, 32, 32)
    expected = data.preprocessing.image(np.asarray(Image.open(more / "deep" / "u1.png")))
    index = data.unlabelled.ids.index("unlabelled:deep/u1.png")
    assert torch.equal(data.unlabelled.images[index], expected)


def test_the_folder_of_the_datasets_own_images(config_of, tmp_path: Path, write_pair) -> None:
    """No patient of a held-out image is among them, nor the part of the tested images that is set aside."""
    for index in range(40):
        write_pair(tmp_path / "scans", f"p{index % 10}_{index}", seed=index)
    keys = {"group": "(p[0-9]+)_", "n_labelled": 6}
    whole = load(config_of(tmp_path / "scans", **keys)).splits
    data = load(config_of(tmp_path / "scans", unlabelled=str(tmp_path / "scans" / "images"), n_test=2, **keys))
    assert len(data.splits.test) == 2
    held_out = {id.split("_")[0] for id in [*whole.validation, *whole.test]}
    seen = {Path(id).stem for id in data.splits.unlabelled}
    assert seen == {f"unlabelled:p{i % 10}_{i}" for i in range(40) if f"p{i % 10}" not in held_out}


def test_a_folder_without_images_is_refused(config_of, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        load(config_of(folder, unlabelled=str(tmp_path / "absent")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image lies there"):
        load(config_of(folder, unlabelled=str(tmp_path / "empty")))


# -- reading -----------------------------------------------------------------------------------------------------


def test_no_mask_of_theirs_is_read(config_of, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their masks are no images any more. The check of the whole dataset, which would find that, is left out."""
    chosen = load(config_of(folder))
    for id in chosen.splits.unlabelled:
        (folder / "masks" / f"{id}.png").write_bytes(b"nothing that can be read")
    monkeypatch.setattr(prepared, "check_once", lambda *_: ([], Places()))
    monkeypatch.setenv("GENSEG_CACHE", "off")
    again = load(config_of(folder))
    assert again.splits.unlabelled == chosen.splits.unlabelled
    assert torch.equal(again.unlabelled.images, chosen.unlabelled.images)
    for index, id in enumerate(again.unlabelled.ids):
        pixels = np.asarray(Image.open(folder / "images" / f"{id}.png"))
        assert torch.equal(again.unlabelled.images[index], again.preprocessing.image(pixels))


def test_contents_are_written_down(config_of, folder: Path) -> None:
    before = load(config_of(folder))
    assert {*before.contents} == {*before.splits.train, *before.splits.validation, *before.splits.unlabelled}
    id = before.splits.unlabelled[0]
    pixels = np.asarray(Image.open(folder / "images" / f"{id}.png"))
    Image.fromarray(255 - pixels).save(folder / "images" / f"{id}.png")
    after = load(config_of(folder))
    assert [key for key in before.contents if before.contents[key] != after.contents[key]] == [id]


def test_what_was_seen_is_not_scored(config_of, folder: Path) -> None:
    config = config_of(folder)
    splits = load(config).splits
    dataset = open_dataset(config.dataset)
    unseen = [case.id for case in unseen_cases(dataset, dataset, splits)]
    assert sorted(unseen) == sorted(splits.test)
    blind = Splits(splits.train, splits.validation, splits.test)
    assert len(unseen_cases(dataset, dataset, blind)) == len(splits.test) + len(splits.unlabelled)


# -- batches -----------------------------------------------------------------------------------------------------


def mixed(start: float, second: bool = True) -> MixedBatch:
    values = torch.arange(8.0).reshape(2, 1, 2, 2) + start
    masks = (values[:, 0] > 3).long()
    other = Batch(values + 1, masks, ["c", "d"]) if second else None
    return MixedBatch(values, masks, ["a", "b"], values * 2, torch.tensor(start), other)


def test_a_batch_is_copied_and_overwritten_whole() -> None:
    one, other = mixed(0.0), mixed(0.5)
    kept = one.clone().to("cpu")
    one.overwrite(other)
    assert torch.equal(one.unlabelled, other.unlabelled)
    assert float(one.progress) == 0.5
    assert torch.equal(one.second.image, other.second.image)
    assert torch.equal(kept.unlabelled, mixed(0.0).unlabelled)
    assert float(kept.progress) == 0.0
    assert torch.equal(kept.second.image, mixed(0.0).second.image)
    assert mixed(0.0, second=False).clone().to("cpu").second is None


def test_every_image_comes_once_an_epoch_and_progress_counts_the_steps() -> None:
    images = torch.arange(6.0).reshape(6, 1, 1, 1)
    unlabelled = UnlabelledSet([str(i) for i in range(6)], images)
    labelled = Batch(images[:2], torch.zeros(2, 1, 1, dtype=torch.int64), ["a", "b"])
    draw = draw_mixed_batches(lambda _: labelled, unlabelled, size=2, steps=10, seed=1)
    epoch = torch.cat([draw(count).unlabelled for count in range(3)]).flatten().tolist()
    assert sorted(epoch) == [0, 1, 2, 3, 4, 5]
    assert torch.equal(draw(1).unlabelled, draw(1).unlabelled)
    assert [float(draw(count).progress) for count in (0, 5, 9)] == pytest.approx([0, 0.5, 0.9])
    other = draw_mixed_batches(lambda _: labelled, unlabelled, size=2, steps=10, seed=2)
    assert epoch != torch.cat([other(count).unlabelled for count in range(3)]).flatten().tolist()


def test_patches_of_volumes_lie_anywhere() -> None:
    volume = torch.arange(5.0).reshape(1, 1, 5, 1, 1).expand(1, 1, 5, 4, 4)
    unlabelled = UnlabelledSet(["v"], volume, patch=(2, 4, 4))
    starts = set()
    for seed in range(40):
        patch = unlabelled.take(torch.tensor([0]), seed)
        assert patch.shape == (1, 1, 2, 4, 4)
        assert float(patch[0, 0, 1, 0, 0] - patch[0, 0, 0, 0, 0]) == 1
        starts.add(int(patch[0, 0, 0, 0, 0]))
    assert starts == {0, 1, 2, 3}
