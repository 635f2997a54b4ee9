"""What a stranger's Run says of its data: used where it has the form that a training writes, else refused by name."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from genseg_betty.config import load_dataset_config
from genseg_betty.errors import UserError
from genseg_betty.inference import evaluate_dataset, evaluate_folders, generate, load
from genseg_betty.run import Run

COMMON = {"name", "root", "metric"}  # keys of a dataset, whatever it is read from
MakeRun = Callable[..., Run]

SPLITS = {
    "a list": "[1]",
    "ids that are no text": '{"train": [1, {}]}',
    "no list of ids": '{"train": "case_0"}',
    "contents that are none": '{"train": [], "validation": [], "test": [], "sha256": []}',
    "a root that is none": '{"train": [], "validation": [], "test": [], "root": 3}',
    "deep lists": '{"train": ' + "[" * 100_000,
    "half a file": '{"train": [',
}


@pytest.mark.parametrize("text", SPLITS.values(), ids=SPLITS)
def test_splits_of_another_form(text: str, run: Run, data_root: Path, tmp_path: Path) -> None:
    (run.path / "splits.json").write_text(text)
    (run.path / "SHA256SUMS").unlink(missing_ok=True)  # a stranger may leave it out
    dataset = load_dataset_config("folder", root=data_root)
    for command in (
        lambda: evaluate_dataset(run.path, dataset),
        lambda: evaluate_folders(run.path, data_root / "images", data_root / "masks"),
        lambda: generate(run.path, 1, tmp_path / "out"),
    ):
        with pytest.raises(UserError, match=r"splits\.json is damaged: "):
            command()
    assert not (tmp_path / "out").exists()


def test_splits_without_end(run: Run, data_root: Path) -> None:
    file = run.path / "splits.json"
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UserError, match=r"splits\.json is damaged: it cannot be read \(it is no regular file\)"):
        evaluate_dataset(run.path, load_dataset_config("folder", root=data_root))


PREPROCESSING: dict[str, dict[str, Any]] = {
    "an image that fills the memory": {"image_size": [10**6, 10**6]},
    "a patch that fills the memory": {"image_size": [4096] * 3},
    "no size": {"image_size": []},
    "intensities that are none": {"intensity": [float("nan"), 1.0]},
    "intensities of no width": {"intensity": [1.0, 1.0]},
    "a scale that is none": {"scale": [0.0, float("inf")]},
    "a spacing of nothing": {"spacing": [0.0, 1.0]},
    "a spacing of other dimensions": {"spacing": [1.0, 1.0, 1.0]},
    "an orientation that is none": {"orientation": "XY"},
    "an orientation along one axis": {"orientation": "LR"},
    "names that steer": {"classes": ["background", "a\nb"]},
    "channels": {"channels": 10**9},
    "channels that are no number": {"channels": True},
    "channels that are a tensor": {"channels": torch.zeros(2)},
    "classes without values": {"classes": ["a", "b", "c"]},
    "names that are none": {"classes": [1, 2]},
    "values beyond any mask": {"label_values": [0, 10**9]},
    "values that are none": {"label_values": [0, -1]},
    "colours of no classes": {"label_values": [[0, 0, 0], 1]},
    "colours of two numbers": {"label_values": [[0, 0], [1, 1]]},
    "colours beyond any mask": {"label_values": [[0, 0, 0], [0, 0, 256]]},
    "other keys": {"more": 1},
}


@pytest.mark.parametrize("changes", PREPROCESSING.values(), ids=PREPROCESSING)
def test_preprocessing_of_another_form(changes: dict[str, Any], run: Run, make_run: MakeRun, tmp_path: Path) -> None:
    state = run.load_checkpoint("predictor")
    assert state is not None
    state["preprocessing"] |= changes
    other = make_run("other", states={"predictor": state})
    with pytest.raises(UserError, match=r"preprocessing saved in .* cannot be used"):
        load(other.path)
    with pytest.raises(UserError, match=r"preprocessing saved in .* cannot be used"):
        generate(other.path, 1, tmp_path / "out")


GENERATOR: dict[str, dict[str, Any]] = {
    "classes that fill the memory": {"num_classes": 10**6},
    "another size": {"image_size": [4096, 4096]},
    "no architecture": {"alpha": {"down": [], "up": "x"}},
    "an architecture of other cells": {"alpha": {"down": torch.zeros(1), "up": torch.zeros(1)}},
}


@pytest.mark.parametrize("changes", GENERATOR.values(), ids=GENERATOR)
def test_a_generator_of_another_form(changes: dict[str, Any], run: Run, make_run: MakeRun, tmp_path: Path) -> None:
    state = run.load_checkpoint("generator")
    assert state is not None
    other = make_run("other", states={"generator": state | changes})
    with pytest.raises(UserError, match=r"generator saved in .* cannot be used"):
        generate(other.path, 1, tmp_path / "out")


@pytest.fixture
def with_dataset(run: Run) -> Callable[..., Path]:
    """The Run, with keys of its `dataset` section changed."""

    def change(**keys: Any) -> Path:
        config: Any = OmegaConf.to_container(run.config)
        base = {key: value for key, value in config["dataset"].items() if key in COMMON or "reader" not in keys}
        config["dataset"] = base | keys
        (run.path / "config.yaml").write_text(yaml.safe_dump(config))
        return run.path

    return change


DATASET = {
    "a pattern that leads out": ({"images": ["../../*.png"]}, "leads out of the dataset's root"),
    "labels that are none": ({"labels": {"a": {"b": 1}}}, "dataset.labels"),
    "a reader of others": ({"reader": "os.system"}, "dataset.reader"),
    "a phantom that fills the memory": (
        {"reader": "phantom", "kind": "lung", "domain": "source", "size": 96, "count": 10**10, "seed": 0},
        "dataset.count=10000000000",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "told"), DATASET.values(), ids=DATASET)
def test_a_dataset_section_of_another_form(
    keys: dict[str, Any], told: str, with_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=told):
        generate(with_dataset(**keys), 1, tmp_path / "out")


def test_generating_tells_where_it_reads_and_converts_nothing(
    with_dataset: Callable[..., Path], data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(data_root.rglob("*"))
    made = generate(with_dataset(convert="echonet", split={"file": "/etc/passwd"}), 1, tmp_path / "out")
    assert f"masks: those that the Run was trained on, from {data_root} as it says" in capsys.readouterr().err
    assert len(list((made.out / "masks").iterdir())) == 1
    assert sorted(data_root.rglob("*")) == files
