"""A class without pixels is told by its name before training, and by the check."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from genseg_betty.data.inspect.check import check_dataset
from genseg_betty.data.inspect.class_counts import find_absent_classes
from genseg_betty.data.loading import load_data
from genseg_betty.errors import UserError

LABELS = {"background": 0, "ulcer": 1, "necrosis": 2}
PARTS = {"train": ["case00", "case01"], "validation": ["case02", "case03"], "test": ["case04", "case05"]}


@pytest.fixture
def config_of(tmp_path: Path, write_pair, dataset_yaml):
    """A config of six pairs split by a file; `held` names for each part the values in its masks."""

    def make(held: dict[str, list[int]], **keys) -> DictConfig:
        root = tmp_path / "data"
        for part, ids in PARTS.items():
            for id in ids:
                write_pair(root, id)
                mask = np.zeros((40, 40), np.uint8)
                for place, value in enumerate(held[part]):
                    mask[4 * place : 4 * place + 4, :9] = value
                Image.fromarray(mask).save(root / "masks" / f"{id}.png")
        (root / "split.json").write_text(str(PARTS).replace("'", '"'))
        dataset = dataset_yaml("folder", root=str(root), split={"file": "split.json"}, **keys)
        return OmegaConf.create({"dataset": dataset, "image_size": 32, "seed": 0, "ood": []})

    return make


def test_absent_classes_are_those_without_a_pixel() -> None:
    classes = ("background", "a", "b", "c")
    assert find_absent_classes(classes, [(9, 0, 1, 0), (9, 0, 0, 0)]) == ["a", "c"]
    assert find_absent_classes(classes, [(0, 1, 1, 1)]) == []


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"train": [1], "validation": [1], "test": [1, 2]}, "2 training masks holds necrosis, which could not"),
        ({"train": [1], "validation": [1, 2], "test": [1, 2]}, "2 training masks holds necrosis"),
        ({"train": [], "validation": [1, 2], "test": [1]}, "2 training masks holds ulcer, necrosis"),
        ({"train": [1, 2], "validation": [], "test": [1, 2]}, "2 validation masks holds ulcer, necrosis, so that"),
    ],
)
def test_a_class_that_cannot_be_learned_or_validated_is_an_error(config_of, held: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"none of the {message}.*n_labelled"):
        load_data(config_of(held, labels=LABELS))


def test_a_class_that_validation_alone_lacks_is_a_warning(config_of) -> None:
    with pytest.warns(UserWarning, match="none of the 2 validation masks holds necrosis"):
        bundle = load_data(config_of({"train": [1, 2], "validation": [1], "test": []}, labels=LABELS))
    assert bundle.num_classes == 3


@pytest.mark.parametrize(("train", "validation"), [([], [255]), ([255], []), ([], [])])
def test_binary_masks_that_are_all_empty(config_of, train: list[int], validation: list[int]) -> None:
    with pytest.raises(UserError) as caught:
        load_data(config_of({"train": train, "validation": validation, "test": [255]}))
    lines = str(caught.value).splitlines()
    assert len(lines) == (not train) + (not validation)
    assert all(line.startswith("folder: none of the 2 ") and "foreground" in line for line in lines)
    assert "declare the dataset's labels" not in str(caught.value)


def test_some_empty_masks_are_fine(config_of, tmp_path: Path) -> None:
    config = config_of({"train": [1], "validation": [1], "test": []}, labels={"background": 0, "ulcer": 1})
    for name in ("case00", "case02"):
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "data" / "masks" / f"{name}.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_data(config).train) == 2


@pytest.mark.parametrize(("held", "absent"), [([1], "necrosis"), ([], "ulcer, necrosis"), ([1, 2], "")])
def test_the_check_warns_of_a_class_that_no_mask_holds(config_of, held: list[int], absent: str) -> None:
    config = config_of(dict.fromkeys(PARTS, held), labels=LABELS)
    report = check_dataset(config.dataset)
    assert report.errors == []
    found = [one.message for one in report.warnings if (one.code, one.file) == ("empty_mask", ".")]
    expected = f"none of the 6 masks holds {absent}; it cannot be learned from this dataset"
    assert found == ([expected] if absent else [])
