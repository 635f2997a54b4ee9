"""Whole trainings by mutual correction and UniMatch: what they leave behind, and that a stop changes none of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

import genseg_betty as gs
from genseg_betty.config import compose
from genseg_betty.run import Run
from genseg_betty.training.loop import TrainingLoop
from genseg_betty.training.run_training import train
from methods.test_contract import folder
from methods.tiny import TINY
from states import different

pytestmark = pytest.mark.usefixtures("pictures_unsaved")

SHORT = [
    "trainer.iterations=6", "trainer.checkpoint_every=2", "trainer.validate_every=3", "trainer.sample_every=1000",
    "ood=[]", "dataset.n_labelled=4", "seed=5", "unlabelled=5",
]  # fmt: skip
METHODS = {
    "mcf": ["method=mcf", "method.second_backbone=unet3d", "second_backbone.base_channels=2"],
    "unimatch": ["method=unimatch", "method.threshold=0.5"],
}
CUT_AT = 3  # a step behind a checkpoint


class CutError(Exception):
    """The training ends here."""


def run_method(path: Path, method: str) -> Run:
    return train(compose([*TINY, *SHORT, *METHODS[method], f"run_dir={path}"]))


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_training_equals_one_that_was_never_stopped(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = run_method(tmp_path / "unbroken", method)
    follow = TrainingLoop._follow_step

    def cut(self: TrainingLoop, phase: object) -> None:
        follow(self, phase)
        if self.engine.global_step == CUT_AT:
            raise CutError

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "_follow_step", cut)
        with pytest.raises(CutError):
            run_method(tmp_path / "run", method)
    resumed = run_method(tmp_path / "run", method)

    for name in ("last", "predictor"):
        found = different(resumed.load_checkpoint(name), unbroken.load_checkpoint(name))
        assert {*found} <= {"/seconds"}, name
    rows = [[row for row in run.metrics() if row["phase"] != "system"] for run in (resumed, unbroken)]
    assert rows[0] == rows[1]
    assert resumed.read_results()["test"] == unbroken.read_results()["test"]
    if method == "mcf":
        require_mean_of_both(resumed)


def require_mean_of_both(run: Run) -> None:
    """The Run predicts with the mean of two networks' probabilities."""
    predictor = gs.load(run.path, "cpu")
    image = np.random.default_rng(0).integers(0, 256, (32, 32)).astype(np.uint8)
    found = predictor.probabilities(image)
    pair = predictor.network
    values = predictor.preprocessing.image(image[..., None].astype(np.float32), None)[None]
    with torch.no_grad():
        first, second = pair.first(values)[0, 0].sigmoid(), pair.second(values)[0, 0].sigmoid()
    assert not torch.allclose(first, second, atol=1e-3)
    np.testing.assert_allclose(found[1], ((first + second) / 2).numpy(), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_volumes_by_mutual_correction(classes: int, tmp_path: Path) -> None:
    """unet3d and the network that stands beside it, of 32 voxels a side."""
    tiny = [key for key in TINY if not key.startswith(("dataset", "backbone", "image_size"))]
    names = ["background", "low", "high"][:classes]
    run = train(
        compose(
            [*tiny, *SHORT, "method=mutual_correction", "dataset=folder", f"dataset.root={folder(classes, True)}",
             f"dataset.classes=[{','.join(names)}]", "image_size=[32, 32, 32]", "backbone=unet3d",
             "backbone.base_channels=2", "dataset.n_labelled=3", "unlabelled=2", "trainer.iterations=2",
             "second_backbone.net=UNet",
             "second_backbone.arguments={channels: [4, 8], strides: [2], num_res_units: 1}",
             f"run_dir={tmp_path / 'run'}"]
        )
    )  # fmt: skip
    results = run.read_results()
    assert results["iterations"] == 2
    assert results["skipped"] == {"segmenter": 0}
    assert 0 <= results["test"]["folder"]["dice"] <= 1
    assert len(results["networks"]) == 2
    mask = gs.load(run.path, "cpu")(np.zeros((32, 32, 32), np.uint8))
    assert mask.shape == (32, 32, 32)


def test_both_names_are_one_method() -> None:
    long, short = (compose([*TINY, f"method={name}"]).method for name in ("mutual_correction", "mcf"))
    assert {**long, "name": "mcf"} == {**short}
