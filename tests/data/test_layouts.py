"""Every dataset of conf/dataset on a miniature of its published layout, and on the real files where they are."""

import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.miniature import Miniature, assert_read_as_drawn, config_of
from data.miniatures import BUILDERS, build
from genseg_betty.config import conf_dir, load_dataset_config
from genseg_betty.data.cases import open_dataset, scan_dataset
from genseg_betty.data.fetch import read_entries
from genseg_betty.data.formats import read_header
from genseg_betty.data.inspect.check import check_dataset
from genseg_betty.data.splits import make_splits

NAMES = sorted(BUILDERS)
LABELLED = {
    "isic": 40, "fetreg": 50, "cvc_clinic": 40, "icfluid": 50, "fuseg": 50, "buid": 100, "jsrt": 9, "fpd": 100,
    "nlm_mc": 9, "nlm_sz": 9, "etab_lv_echonet": 40,
}  # fmt: skip
REAL = {"nlm_sz": 400, "nlm_mc": 69, "isic": 1200, "cvc_clinic": 400, "buid": 149, "fuseg": 400, "hippocampus": 208}


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Miniature]:
    """The miniature of a dataset, written once, in the folder "unpacked here" of a folder of its own."""
    built: dict[str, Miniature] = {}

    def get(name: str) -> Miniature:
        if name not in built:
            built[name] = build(name, tmp_path_factory.mktemp(name) / "unpacked here")
        return built[name]

    return get


def relative(paths: Iterable[Path], root: Path) -> set[str]:
    return {unicodedata.normalize("NFC", path.relative_to(root).as_posix()) for path in paths}


def test_every_yaml_has_a_miniature() -> None:
    yamls = {file.stem for file in (conf_dir() / "dataset").glob("*.yaml")}
    assert yamls - {"folder", "phantom", "phantom_shifted"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_yaml_says_where_the_data_are_and_what_the_paper_did(name: str) -> None:
    config = load_dataset_config(name)
    for key in ("title", "task", "modality"):
        assert config[key], key
    for key in ("paper", "licence", "citation", "source", "page", "size", "pairs"):
        assert config.about.get(key), key
    assert config.n_labelled == LABELLED.get(name)
    assert config.metric == ("jaccard" if name in ("isic", "ph2", "dermis", "dermquest") else "dice")
    assert config.ood == []
    entries = read_entries(name, config.about.get("fetch") or [])
    assert entries or config.about.steps
    assert all(entry.url.startswith("https://") for entry in entries)
    assert all(entry.unpack in ("zip", "tar") for entry in entries)
    head = (conf_dir() / "dataset" / f"{name}.yaml").read_text().split("\nname:")[0].splitlines()
    for word in ("Get", "Size", "Licence", "Paper", "Odd"):
        assert any(line.startswith(f"# {word} ") for line in head), word


@pytest.mark.parametrize("above", [0, 1], ids=["root", "folder-above"])
@pytest.mark.parametrize("name", NAMES)
def test_layout_is_read_as_drawn(name: str, above: int, miniature: Callable[[str], Miniature]) -> None:
    if above and name == "etab_lv_echonet":
        pytest.skip("what is converted lies in the root itself")
    mini = miniature(name)
    assert_read_as_drawn(config_of(name, mini.root.parent if above else mini.root), mini)


@pytest.mark.parametrize("name", NAMES)
def test_check_warns_of_empty_and_lossy_masks_alone(name: str, miniature: Callable[[str], Miniature]) -> None:
    mini = miniature(name)
    config = config_of(name, mini.root)
    report = check_dataset(config)
    assert report.errors == []
    assert report.pairs == len(mini.groups)
    empty = [case.masks[0] for case in open_dataset(config).cases if not mini.truth[case.id].any()]
    for code, files in (("lossy_mask", mini.lossy), ("empty_mask", relative(empty, mini.root))):
        assert {finding.file for finding in report.warnings if finding.code == code} == files, code


@pytest.mark.parametrize("name", NAMES)
def test_splits_keep_groups_whole(name: str, miniature: Callable[[str], Miniature]) -> None:
    mini = miniature(name)
    dataset = open_dataset(config_of(name, mini.root))
    for seed in range(3):
        splits = make_splits(dataset, 3, None, seed)
        assert len(splits.train + splits.validation) == 3
        train, validation, test = (
            {mini.groups[id] for id in part} for part in (splits.train, splits.validation, splits.test)
        )
        assert train
        assert validation
        assert test
        assert train.isdisjoint(validation)
        assert test.isdisjoint(train | validation)
        if mini.test:
            assert set(splits.test) == mini.test


@pytest.mark.parametrize("name", [name for name in NAMES if name != "nlm_sz"])
def test_a_removed_mask_is_told_by_its_image(name: str, tmp_path: Path) -> None:
    build(name, tmp_path)
    config = config_of(name, tmp_path)
    case = open_dataset(config).cases[0]
    for mask in case.masks[:1] if config.mask_required == "all" else case.masks:
        mask.unlink()
    dataset, findings = scan_dataset(config)
    image = relative([case.image], tmp_path).pop()
    assert [finding.code for finding in findings if finding.file == image] == ["missing_mask"]
    assert case.id not in [other.id for other in dataset.cases]


@pytest.mark.parametrize("name", sorted(REAL))
def test_real_files_pair_without_a_fault(name: str, genseg_data: Path) -> None:
    dataset = open_dataset(config_of(name, genseg_data / name))
    assert len(dataset.cases) == REAL[name]
    assert not dataset.published_test
    for case in dataset.cases[::10]:
        shape = read_header(case.image).shape
        assert all(read_header(mask).shape == shape for mask in case.masks), case.id


@pytest.mark.parametrize(("name", "empty"), [("nlm_mc", 0), ("cvc_clinic", 0), ("buid", 50), ("hippocampus", 0)])
def test_real_files_have_no_false_error(name: str, empty: int, genseg_data: Path) -> None:
    report = check_dataset(config_of(name, genseg_data / name))
    assert report.errors == []
    assert report.pairs == REAL[name]
    assert sum(finding.code == "empty_mask" for finding in report.warnings) == empty


def test_real_polyps_are_grouped_by_sequence(genseg_data: Path) -> None:
    groups: dict[str, list[int]] = {}
    for case in open_dataset(config_of("cvc_clinic", genseg_data / "cvc_clinic")).cases:
        groups.setdefault(case.group, []).append(int(case.id))
    assert len(groups) == 19  # of 29: 18 whole ones, and one cut at frame 400
    for start, frames in groups.items():
        assert sorted(frames) == list(range(int(start), int(start) + len(frames)))


def test_real_hippocampus_has_both_parts_merged(genseg_data: Path) -> None:
    dataset = open_dataset(config_of("hippocampus", genseg_data / "hippocampus"))
    mask = dataset.load(dataset.cases[0]).mask
    assert mask is not None
    assert mask.ndim == 3
    assert set(np.unique(mask)) == {0, 1}


def test_real_masks_in_three_channels_are_read_as_one(genseg_data: Path) -> None:
    """FUSeg as published: RGB masks at 512 pixels."""
    dataset = open_dataset(config_of("fuseg", genseg_data / "fuseg_original_size"))
    assert len(dataset.cases) == 3
    for case in dataset.cases:
        stored = np.asarray(Image.open(case.masks[0]))
        assert stored.shape == (512, 512, 3)
        assert np.array_equal(dataset.load(case).mask, stored[:, :, 0] > 127)
