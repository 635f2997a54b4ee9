"""From a config to tensors: contents, determinism, OOD test sets, and faults told together."""

import hashlib
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from genseg_betty.data.batches import LabelledSet, StepSampler
from genseg_betty.data.cache import checked, held_samples, ledger
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.derived_settings import derive_settings
from genseg_betty.data.inspect.fingerprint import Settings
from genseg_betty.data.loading import DataBundle, load_data
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.splits import fingerprints
from genseg_betty.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, in which files count as unchanged from the first moment."""
    monkeypatch.setenv("GENSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ledger, "SETTLING", -3600)
    return tmp_path / "cache"


@pytest.fixture
def config_of(folder: Path, dataset_yaml):
    """A config with the twenty-pair folder as its dataset."""

    def make(ood: tuple = (), seed: int = 0, image_size: object = 32, **keys) -> DictConfig:
        dataset = dataset_yaml("folder", **({"root": str(folder), "n_labelled": 9} | keys))
        return OmegaConf.create({"dataset": dataset, "image_size": image_size, "seed": seed, "ood": list(ood)})

    return make


@pytest.fixture
def other_yaml(folder: Path, tmp_path: Path, dataset_yaml):
    """Gives any name the folder layout, at tmp_path/<name> with the same masks and the images inverted."""

    def load(name: str, config_dir: str | None = None) -> DictConfig:
        root = tmp_path / name
        if not root.exists() and name != "absent":
            shutil.copytree(folder, root)
            for path in (root / "images").iterdir():
                Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        return dataset_yaml("folder", name=name, root=str(root))

    return load


def test_bundle_of_a_folder(config_of, folder: Path) -> None:
    bundle = load_data(config_of(image_size=[24, 40]))
    assert bundle.train.images.shape == (7, 1, 24, 40)
    assert bundle.validation.masks.shape == (2, 24, 40)
    assert (bundle.train.images.dtype, bundle.train.masks.dtype) == (torch.float32, torch.int64)
    assert bundle.train.ids == bundle.splits.train
    assert (bundle.num_classes, bundle.num_outputs, bundle.metric) == (2, 1, "dice")
    assert list(bundle.test) == ["folder"]
    assert [case.id for case in bundle.test["folder"][1]] == bundle.splits.test
    assert bundle.preprocessing.label_values == (0, 255)
    mask = Image.open(folder / "masks" / f"{bundle.train.ids[0]}.png")
    assert torch.equal(bundle.train.masks[0], bundle.preprocessing.mask(np.asarray(mask) > 0))


def test_batches_and_devices(config_of) -> None:
    labelled = load_data(config_of()).train.to("cpu")
    batch = labelled.batch(torch.tensor([3, 0, 3])).to("cpu")
    assert batch.ids == [labelled.ids[3], labelled.ids[0], labelled.ids[3]]
    assert torch.equal(batch.image[0], labelled.images[3])
    assert torch.equal(batch.mask[1], labelled.masks[0])
    assert len(labelled) == 7
    assert isinstance(labelled, LabelledSet)


def test_loading_twice_gives_the_same_and_contents_change_the_digest(config_of, folder: Path) -> None:
    first, again = load_data(config_of()), load_data(config_of())
    assert torch.equal(first.train.images, again.train.images)
    assert first.sha256 == again.sha256
    assert first.sha256 != load_data(config_of(seed=1)).sha256
    (folder / "images" / "extra.txt").write_text("not part of it")
    assert first.sha256 == load_data(config_of()).sha256
    used, unused = first.splits.validation[0], first.splits.test[0]
    for name, same in ((unused, True), (used, False)):
        path = folder / "images" / f"{name}.png"
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        assert (load_data(config_of()).sha256 == first.sha256) is same


def test_sixteen_bit_images_are_scaled_by_the_training_images(config_of, folder: Path) -> None:
    """Validation and test images are darker and brighter than all training images, and count for nothing."""
    splits = load_data(config_of()).splits
    random = np.random.default_rng(0)
    raw = {}
    for path in sorted((folder / "images").iterdir()):
        factor, offset = (100, 2000) if path.stem in splits.train else (200, 14000)
        pixels = np.asarray(Image.open(path)).astype(np.uint16) * factor + offset
        pixels += random.integers(0, 100, pixels.shape, dtype=np.uint16)
        if path.stem not in splits.train:
            pixels[:20] = 7
        raw[path.stem] = pixels
        Image.fromarray(pixels).save(path)
    bundle = load_data(config_of(image_size=40))  # the files' own size: nothing is resized
    assert bundle.splits == splits
    training = np.stack([raw[name] for name in splits.train])
    low, high = np.percentile(training, [0.5, 99.5])
    assert bundle.preprocessing.intensity == pytest.approx((low, high), rel=1e-6)
    labelled = np.stack([raw[name] for name in splits.train + splits.validation])
    for others in (labelled, np.stack(list(raw.values()))):  # either leak would show
        assert np.all(np.abs(np.percentile(others, [0.5, 99.5]) - (low, high)) > 100)
    assert training.min() < low < high < training.max()
    for part in (bundle.train, bundle.validation):
        pixels = np.stack([raw[name] for name in part.ids]).astype(np.float64)
        scaled = ((pixels - low) / (high - low) * 2 - 1).clip(-1, 1)
        assert np.allclose(part.images[:, 0].numpy(), scaled, atol=1e-5)


def test_multi_class_folder(config_of, folder: Path) -> None:
    for path in (folder / "masks").iterdir():
        values = np.asarray(Image.open(path)) // 255
        values[:, :20] *= 2
        Image.fromarray(values.astype(np.uint8)).save(path)
    bundle = load_data(config_of(labels={"background": 0, "left": 2, "right": 1}))
    assert (bundle.num_classes, bundle.num_outputs) == (3, 3)
    assert bundle.preprocessing.classes == ("background", "right", "left")
    assert bundle.preprocessing.label_values == (0, 1, 2)
    assert set(bundle.train.masks.unique().tolist()) == {0, 1, 2}


def test_every_fault_of_the_dataset_comes_before_training(config_of, folder: Path) -> None:
    (folder / "masks" / "case02.png").unlink()
    (folder / "images" / "case03.png").write_text("x")
    Image.fromarray(np.full((40, 40), 9, np.uint8)).save(folder / "masks" / "case04.png")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "masks" / "case05.png")
    with pytest.raises(UserError) as caught:
        load_data(config_of(n_labelled=19))
    for fault in (
        "missing_mask: images/case02.png",
        "unreadable: images/case03.png",
        "unexpected_label: masks/case04.png",
        "size_mismatch: masks/case05.png",
        "too_few: .",
        "5 faults",
    ):
        assert fault in str(caught.value)


def test_ood_datasets_are_tested_in_full_and_capped(config_of, other_yaml) -> None:
    bundle = load_data(config_of(ood=("north", {"name": "south"})), other_yaml)
    assert {name: len(cases) for name, (_, cases) in bundle.test.items()} == {
        "folder": 6,
        "north": 20,
        "south": 20,
    }
    bundle = load_data(config_of(ood=("north", {"name": "south", "n_test": 3}), n_test=5), other_yaml)
    assert {name: len(cases) for name, (_, cases) in bundle.test.items()} == {
        "folder": 5,
        "north": 5,
        "south": 3,
    }


def test_ood_leaves_out_training_cases_of_the_same_root(config_of, other_yaml, folder: Path) -> None:
    bundle = load_data(config_of(ood=({"name": "north", "root": str(folder)},)), other_yaml)
    ids = {case.id for case in bundle.test["north"][1]}
    assert len(ids) == 11
    assert not ids & {*bundle.train.ids, *bundle.validation.ids}


def test_ood_leaves_out_copies_of_training_images(config_of, other_yaml, folder: Path, tmp_path: Path) -> None:
    """Whatever their name: the same file elsewhere would be tested on after it was learned from."""
    other_yaml("north")
    splits = load_data(config_of()).splits
    copied = [splits.train[0], splits.validation[0], splits.test[0]]
    for number, name in enumerate(copied):
        shutil.copy(folder / "images" / f"{name}.png", tmp_path / "north" / "images" / f"case{number:02d}.png")
    bundle = load_data(config_of(ood=("north",)), other_yaml)
    left = [case.id for case in bundle.test["north"][1]]
    assert left == [f"case{number:02d}" for number in range(2, 20)]


def test_faults_of_all_datasets_come_together(config_of, other_yaml, folder: Path, tmp_path: Path) -> None:
    other_yaml("north")
    (tmp_path / "north" / "images" / "case07.png").write_text("x")
    (tmp_path / "north" / "masks" / "case08.png").unlink()
    (folder / "masks" / "case02.png").unlink()
    with pytest.raises(UserError) as caught:
        load_data(config_of(ood=("north", "absent", "folder")), other_yaml)
    message = str(caught.value)
    assert "missing_mask: images/case02.png" in message
    assert "unreadable: images/case07.png" in message
    assert "missing_mask: images/case08.png" in message
    assert f"no folder at {tmp_path / 'absent'}" in message
    assert "folder is tested on already" in message
    with pytest.raises(UserError, match=r"(?s)no folder at .*nowhere.*unreadable: images/case07\.png"):
        load_data(config_of(root=str(tmp_path / "nowhere"), ood=("north",)), other_yaml)


def test_ood_with_other_classes_is_refused(config_of, other_yaml) -> None:
    labels = {"background": 0, "a": 1, "b": 255}
    with pytest.raises(UserError, match="expected the same in their order"):
        load_data(config_of(ood=({"name": "north", "labels": labels},)), other_yaml)


def test_ood_of_another_depth_needs_a_range(config_of, other_yaml, folder: Path) -> None:
    other_yaml("north")
    for path in (folder / "images").iterdir():
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 16).save(path)
    with pytest.raises(UserError, match=r"ood: north: its intensities are 8-bit, those trained on are of more than 8"):
        load_data(config_of(ood=("north",)), other_yaml)
    bundle = load_data(config_of(ood=("north",), range=[0, 4095]), other_yaml)
    assert bundle.preprocessing.scale == (0, 4095)
    assert bundle.preprocessing.intensity[1] > 3000


@pytest.mark.parametrize(("n", "batch_size"), [(7, 4), (2, 4), (1, 3), (8, 4), (5, 1)])
def test_sampler_lays_permutations_end_to_end(n: int, batch_size: int) -> None:
    sampler = StepSampler(n, batch_size, seed=3)
    steps = 3 * n
    drawn = torch.cat([sampler.indices(step) for step in range(steps)])
    assert len(drawn) == steps * batch_size
    for start in range(0, len(drawn), n):
        assert sorted(drawn[start : start + n].tolist()) == list(range(n))[: len(drawn) - start]


def test_sampler_is_a_pure_function_of_seed_and_step() -> None:
    before = torch.get_rng_state()
    forwards = [StepSampler(7, 4, seed=1).indices(step).tolist() for step in range(50)]
    sampler = StepSampler(7, 4, seed=1)
    assert [sampler.indices(step).tolist() for step in reversed(range(50))] == forwards[::-1]
    assert torch.equal(torch.get_rng_state(), before)
    assert forwards != [StepSampler(7, 4, seed=2).indices(step).tolist() for step in range(50)]
    assert len({hashlib.sha256(bytes(row)).digest() for row in forwards}) > 40
    assert set(Counter(index for row in forwards for index in row).values()) <= {28, 29}


def contents(bundle: DataBundle) -> tuple:
    """Everything that a training can learn from, to the bit."""
    sets = [
        (part.ids, part.images.numpy().tobytes(), part.masks.numpy().tobytes())
        for part in (bundle.train, bundle.validation)
    ]
    tests = {name: [case.id for case in cases] for name, (_, cases) in bundle.test.items()}
    return sets, tests, bundle.sha256, bundle.contents, bundle.preprocessing, bundle.fingerprint


def without_cache(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> tuple:
    with monkeypatch.context() as context:
        context.setenv("GENSEG_CACHE", "off")
        return contents(load_data(config))


def refuse(*_: object) -> None:
    raise AssertionError("a file was read that the cache knows")


def entries(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.entry"))


def write_sixteen_bit(folder: Path) -> dict:
    """Each file brighter than the last, so that other training images mean other percentiles."""
    for index, path in enumerate(sorted((folder / "images").iterdir())):
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * (100 + 5 * index)).save(path)
    return {}


def write_colours(folder: Path) -> dict:
    """RGB images of many sizes, masks of three classes and as large."""
    random = np.random.default_rng(0)
    for index, path in enumerate(sorted((folder / "images").iterdir())):
        shape = (40 + 3 * index, 50 + index)
        Image.fromarray(random.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(path)
        Image.fromarray(random.integers(0, 3, shape, dtype=np.uint8)).save(folder / "masks" / path.name)
    return {"labels": {"background": 0, "left": 2, "right": 1}}


@pytest.mark.parametrize("write", [lambda folder: {}, write_sixteen_bit, write_colours])
@pytest.mark.parametrize("image_size", [None, [24, 40]])
def test_cold_warm_and_no_cache_give_the_same(config_of, folder: Path, monkeypatch, write, image_size) -> None:
    keys = write(folder)
    config, other_seed = config_of(image_size=image_size, **keys), config_of(image_size=image_size, seed=1, **keys)
    expected = [without_cache(config, monkeypatch), without_cache(other_seed, monkeypatch)]
    assert expected[0] != expected[1]
    cold = [contents(load_data(config)), contents(load_data(other_seed))]  # the second is half warm
    with monkeypatch.context() as context:
        context.setattr(Dataset, "load", refuse)
        context.setattr(Preprocessing, "image", refuse)
        context.setattr(Preprocessing, "mask", refuse)
        context.setattr(checked, "faults_before_training", refuse)
        context.setattr(ledger, "content_digest", refuse)
        warm = [contents(load_data(config)), contents(load_data(other_seed))]
    assert expected == cold == warm


def test_what_is_loaded_is_what_the_files_hold(config_of, folder: Path) -> None:
    """Beside the plain way: read every case, fit on the raw training images, preprocess one by one."""
    config = config_of(image_size=[24, 40], **write_colours(folder))
    load_data(config)
    bundle = load_data(config)
    dataset = open_dataset(config.dataset)
    cases = {case.id: case for case in dataset.cases}
    used = [cases[id] for id in bundle.train.ids + bundle.validation.ids]
    samples = {case.id: dataset.load(case) for case in used}
    raw = [samples[id].image for id in bundle.train.ids]
    fitted = Preprocessing.fit(raw, (24, 40), None, dataset.classes, dataset.label_values_of(used))
    assert bundle.preprocessing == replace(fitted, scale=(0.0, 255.0))
    for part in (bundle.train, bundle.validation):
        for index, id in enumerate(part.ids):
            assert torch.equal(part.images[index], fitted.image(samples[id].image))
            assert torch.equal(part.masks[index], fitted.mask(samples[id].mask))
    assert bundle.contents == fingerprints(dataset, used)
    digest = hashlib.sha256()
    for case in used:
        digest.update(case.id.encode() + b"\0" + dataset.digest(case))
    assert bundle.sha256 == digest.hexdigest()


def test_training_images_alone_decide_the_channels(config_of, folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("GENSEG_CACHE", "off")
    splits = load_data(config_of()).splits
    for name, channels in ((splits.validation[0], 1), (splits.train[0], 3)):
        path = folder / "images" / f"{name}.png"
        Image.fromarray(np.stack([np.asarray(Image.open(path)) // share for share in (1, 2, 3)], axis=2)).save(path)
        assert load_data(config_of()).preprocessing.channels == channels


def test_a_changed_file_is_read_anew(config_of, folder: Path, monkeypatch) -> None:
    config = config_of()
    before = load_data(config)
    for name in (before.train.ids[0], before.validation.ids[0]):
        image, mask = (folder / kind / f"{name}.png" for kind in ("images", "masks"))
        for path in (image, mask):
            pixels = np.asarray(Image.open(path))
            Image.fromarray(pixels[::-1].copy()).save(path)
            known = contents(load_data(config))
            assert known == without_cache(config, monkeypatch)
            assert known != contents(before)
        image.rename(folder / "kept.png")
        with pytest.raises(UserError, match="missing_image"):
            load_data(config)
        (folder / "kept.png").rename(image)


def test_other_labels_and_sizes_have_entries_of_their_own(config_of, folder: Path, monkeypatch) -> None:
    write_colours(folder)
    labels = {"background": 0, "left": 2, "right": 1}
    configs = [
        config_of(labels=labels),
        config_of(labels=labels, foreground=["left"]),
        config_of(labels=labels, foreground=["left", "right"]),
        config_of(labels=labels, channels=1),
        config_of(labels=labels, image_size=48),
    ]
    expected = [without_cache(config, monkeypatch) for config in configs]
    for _ in range(2):
        assert [contents(load_data(config)) for config in configs] == expected


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "swap"])
def test_damaged_entries_are_rebuilt(config_of, cache: Path, damage: str) -> None:
    config = config_of()
    expected = contents(load_data(config))
    paths = entries(cache)
    whole = [path.read_bytes() for path in paths]
    assert len(paths) == 11  # nine cases, what is known of the folder, and its copies
    for index, path in enumerate(paths):
        content = whole[index]
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        broken = {"cut": content[:-9], "flip": flipped, "empty": b"", "swap": whole[index - 1]}
        path.write_bytes(broken[damage])
    assert contents(load_data(config)) == expected
    assert [path.stat().st_size for path in paths] == [len(content) for content in whole]
    assert contents(load_data(config)) == expected


def test_faults_come_every_time_and_go_once_mended(config_of, folder: Path) -> None:
    """Also in a test file, which training itself never reads."""
    config = config_of()
    expected = contents(load_data(config))
    victim = folder / "images" / f"{load_data(config).splits.test[0]}.png"
    sound = victim.read_bytes()
    victim.write_bytes(sound[:-30])
    for _ in range(2):
        with pytest.raises(UserError, match=f"unreadable: images/{victim.name}"):
            load_data(config)
    victim.write_bytes(sound)
    assert contents(load_data(config)) == expected


def test_jobs_on_one_folder_and_one_cache(config_of, cache: Path, monkeypatch) -> None:
    configs = [config_of(seed=seed) for seed in (0, 0, 0, 1)]
    expected = [without_cache(config, monkeypatch) for config in configs]
    with ThreadPoolExecutor(len(configs)) as pool:
        assert [contents(bundle) for bundle in pool.map(load_data, configs)] == expected
    assert [contents(load_data(config)) for config in configs] == expected
    assert {path.suffix for path in cache.rglob("*") if path.is_file()} == {".entry"}


def test_a_file_replaced_while_it_is_read_leaves_nothing_wrong_behind(config_of, folder: Path, monkeypatch) -> None:
    """Its new pixels are not kept under the name of the contents that it had when it was hashed."""
    config = config_of()
    expected = without_cache(config, monkeypatch)
    victim = expected[0][0][0][0]
    path = folder / "images" / f"{victim}.png"
    first = path.read_bytes()
    load = Dataset.load

    def replacing(dataset, case):
        if case.id == victim:
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        return load(dataset, case)

    with monkeypatch.context() as context:
        context.setattr(Dataset, "load", replacing)
        load_data(config)
    assert path.read_bytes() != first
    path.write_bytes(first)
    assert contents(load_data(config)) == expected


def test_cases_beyond_the_memory_bound_are_read_twice(config_of, folder: Path, monkeypatch) -> None:
    write_sixteen_bit(folder)
    expected = without_cache(config_of(), monkeypatch)
    monkeypatch.setattr(held_samples, "HELD", 60_000)  # 40 x 40 pixels in float32 and their mask in int64: 19 200 bytes
    assert contents(load_data(config_of())) == expected


def test_a_cache_that_cannot_be_written_is_done_without(config_of, tmp_path: Path, monkeypatch) -> None:
    expected = without_cache(config_of(), monkeypatch)
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("GENSEG_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="cannot be written") as said:
        assert contents(load_data(config_of())) == expected
    assert len(said) == 1


def test_phantoms_are_drawn_not_kept(dataset_yaml, cache: Path) -> None:
    config = OmegaConf.create({"dataset": dataset_yaml("phantom", n_labelled=5), "image_size": 32, "seed": 0})
    first, again = load_data(config), load_data(config)
    assert contents(first) == contents(again)
    assert first.fingerprint.cases == 5
    assert not cache.exists()


def test_the_fingerprint_gives_the_size_that_the_config_leaves_open(config_of, folder: Path) -> None:
    splits = load_data(config_of()).splits
    for path in (*(folder / "images").iterdir(), *(folder / "masks").iterdir()):
        size = (200, 150) if path.stem in splits.test else (90, 130)  # width, height
        Image.open(path).resize(size, Image.Resampling.NEAREST).save(path)
    bundle = load_data(config_of(image_size=None))
    assert bundle.fingerprint.largest == (130, 90)
    assert bundle.preprocessing.image_size == (128, 96)
    assert bundle.train.images.shape == (7, 1, 128, 96)
    assert load_data(config_of(image_size=[32, 64])).preprocessing.image_size == (32, 64)


def test_the_fingerprint_is_of_training_and_validation_cases(config_of, folder: Path) -> None:
    bundle = load_data(config_of())
    labelled = bundle.train.ids + bundle.validation.ids
    shares = [np.mean(np.asarray(Image.open(folder / "masks" / f"{id}.png")) > 0) for id in labelled]
    assert bundle.fingerprint.foreground == pytest.approx((min(shares), sorted(shares)[4], max(shares)))
    assert bundle.fingerprint.classes["foreground"] == pytest.approx(np.mean(shares))
    assert (bundle.fingerprint.cases, bundle.fingerprint.groups) == (9, 9)
    for path in (folder / "images").iterdir():
        if path.stem not in labelled:
            Image.fromarray(np.asarray(Image.open(path)) // 3 + 170).save(path)
    assert load_data(config_of()).fingerprint == bundle.fingerprint


def test_real_lungs_with_an_ood_set(genseg_data: Path, dataset_yaml) -> None:
    def yaml(name: str, config_dir: str | None = None) -> DictConfig:
        return dataset_yaml(name, root=str(genseg_data / name))

    config = OmegaConf.create({"dataset": yaml("nlm_sz"), "image_size": 64, "seed": 0, "ood": ["nlm_mc"]})
    bundle = load_data(config, yaml)
    assert {name: len(cases) for name, (_, cases) in bundle.test.items()} == {"nlm_sz": 120, "nlm_mc": 69}
    assert bundle.train.images.shape == (7, 1, 64, 64)
    assert 0.15 < bundle.train.masks.float().mean() < 0.35


def test_what_the_config_sets_stands_and_the_fingerprint_fills_the_rest(config_of) -> None:
    config = OmegaConf.merge(config_of(image_size=None), {"trainer": {"batch_size": None, "loss": "auto"}})
    data = load_data(config)
    assert derive_settings(config, data.preprocessing, data.fingerprint) == data.fingerprint.defaults
    assert data.preprocessing.image_size == data.fingerprint.defaults.image_size
    config = OmegaConf.merge(
        config_of(image_size=512, channels=3, intensity=[10, 99.5]), {"trainer": {"batch_size": None, "loss": "bce"}}
    )
    data = load_data(config)
    assert data.settings == Settings((512, 512), None, 3, 2, "bce", "window 10 to 99.5")
    assert data.preprocessing.intensity == (10, 99.5)
    config.trainer.batch_size = 7
    assert derive_settings(config, data.preprocessing, data.fingerprint).batch_size == 7


def test_a_window_of_percentiles_is_that_of_every_image(config_of, folder: Path) -> None:
    """Images of a 16-bit dataset whose values happen to fit into 8 bits are no exception."""
    for index, path in enumerate(sorted((folder / "images").iterdir())):
        values = np.asarray(Image.open(path)).astype(np.uint16)
        Image.fromarray(values + 300 * (index % 2)).save(path)
    found = [load_data(config_of(intensity=kind)).preprocessing.intensity for kind in (None, "percentiles")]
    assert found[0] == found[1]
    assert found[0][0] < 255


def test_a_window_of_intensities_that_no_image_reaches(config_of):
    with pytest.raises(UserError, match=r"dataset\.intensity=\[1000, 2000\]: all pixels of the training images"):
        load_data(config_of(intensity=[1000, 2000]))
