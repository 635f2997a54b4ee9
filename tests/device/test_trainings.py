"""Every generator, backbone, method and hypergradient trains, stops, goes on, ends and is used as on a GPU.

There is none: the guard of `two_places.py` takes the CPU for one, and refuses within a training step what a GPU would
have to be waited for, and everywhere what a GPU would not do.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import nibabel
import numpy as np
import pytest
import torch

import genseg_betty as gs
from device.two_places import Refused, TwoPlaces, two_places
from genseg_betty.backbones import smp
from genseg_betty.config import compose, group_members
from genseg_betty.config.schema import Config
from genseg_betty.errors import Interrupted
from genseg_betty.inference import generate
from genseg_betty.levels.segmentation import SupervisedSegmentation
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.multilevel.level import Level
from genseg_betty.training import components
from genseg_betty.training import console as screen
from genseg_betty.training import run_training as training
from genseg_betty.training import sample_images as pictures
from genseg_betty.training.memory_estimate import NetworkSize
from methods.tiny import SECOND, find_class, list_level_methods

ON_A_GPU = ["device=cuda", "graphs=never"]
"""`graphs=never`: the guard cannot record what a step launches."""
SHORT = [
    "trainer.warmup_iterations=1", "trainer.iterations=3", "trainer.finetune_iterations=1", "trainer.validate_every=2",
    "trainer.sample_every=100", "trainer.checkpoint_every=100", "trainer.batch_size=2", "trainer.small.base_channels=4",
    "trainer.small.max_channels=8", "ood=[]", "seed=3",
]  # fmt: skip
DRAWN = ["dataset=phantom", "dataset.n_test=2", "dataset.n_labelled=4", "image_size=32"]
STOP_AFTER = 2  # steps: the warm-up and one joint step

GENERATORS = {
    "pix2pix": [],
    "spade": ["generator.hidden_channels=4"],
    "asapnet": ["generator.blocks=1", "generator.mlp_layers=2"],
    "soft_intro_vae": ["generator.latent_channels=4"],
    "bbdm": ["generator.objective.steps=2"],
    "wgan_gp": ["generator.latent_channels=4"],
    "pix2pix3d": [],
}
"""Generators, and what makes them small."""
BACKBONES = {
    "unet_classic": [],
    "unet": ["backbone.encoder=resnet18"],
    "deeplab": ["backbone.encoder=resnet18"],
    "smp": ["backbone.arch=Linknet", "backbone.encoder=resnet18"],
    "swinunet": [
        "backbone.base_channels=8", "backbone.depths=[1,1]", "backbone.decoder_depths=[1]", "backbone.window=4"
    ],
    "monai": ["backbone.net=UNet", "backbone.arguments={channels: [4, 8], strides: [2], num_res_units: 1}"],
    "unet3d": [],
}  # fmt: skip
"""Backbones, and what makes them small."""


@dataclass(frozen=True)
class Case:
    """One training; together they take everything once."""

    method: str
    backbone: str = "unet_classic"
    generator: str = "pix2pix"
    hypergradient: str = "none"
    other: tuple[str, ...] = ()
    slow: bool = False

    @property
    def draws(self) -> bool:
        """Whether the method trains a generator."""
        return self.method in ("genseg", "separate")

    def __str__(self) -> str:
        generating = [self.generator, self.hypergradient] if self.draws else []
        return "-".join([self.method, self.backbone, *generating])


CASES = [
    Case("genseg", "unet_classic", "pix2pix", "exact"),
    Case("genseg", "unet", "spade", "exact_full", slow=True),
    Case("genseg", "swinunet", "asapnet", "exact", ("precision=fp32",)),
    Case("genseg", "deeplab", "soft_intro_vae", "finite_difference", ("method.augment_pairs=both",), slow=True),
    Case("genseg", "smp", "bbdm", "exact", ("arch_every=2",), slow=True),
    Case("genseg", "monai", "wgan_gp", "none", ("backbone.activation_checkpointing=true",)),
    Case("genseg", "unet3d", "pix2pix3d", "exact", ("augment=strong",)),
    Case("separate", other=("trainer.optimizers.segmenter={name: rmsprop, lr: 1e-3}",)),
    Case("vanilla", other=("trainer.optimizers.segmenter={name: sgd, lr: 1e-2, momentum: 0.9}",)),
    Case("combine_elastic", other=("trainer.scheduler=plateau",), slow=True),
    Case("cross_teaching", other=("unlabelled=3", *SECOND), slow=True),
    Case("deep_cotraining", other=("unlabelled=3", *SECOND)),
    Case("mutual_correction", other=("unlabelled=3", *SECOND)),
    Case("unimatch", "unet", other=("unlabelled=3",), slow=True),
    Case("real_twice", other=("augment=strong", "copy_paste=0.5")),
]


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoPlaces]:
    """The guard, told when a step begins and ends."""
    with two_places() as places:
        train_step, optimizer_step = PhasedEngine.train_step, Level.optimizer_step

        def guarded_step(self, *args, **kwargs):
            with places.step():
                return train_step(self, *args, **kwargs)

        def guarded_optimizer_step(self, *args, **kwargs):
            # The first step of an optimizer may ask whether it is sound: there is no state yet to return to.
            if self.optimizer.state:
                return optimizer_step(self, *args, **kwargs)
            with places.asking():
                return optimizer_step(self, *args, **kwargs)

        monkeypatch.setattr(PhasedEngine, "train_step", guarded_step)
        monkeypatch.setattr(Level, "optimizer_step", guarded_optimizer_step)
        yield places
        places.refusals.clear()  # the test has looked at them


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small are computed sooner by one thread than by many."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes long and never comes near a device."""
    # Networks still draw their samples; these become no pictures, and the Run no page.
    monkeypatch.setattr(pictures, "save_samples", lambda path, columns: None)
    monkeypatch.setattr(training, "build_report", lambda runs, out: None)
    # Dry runs compute without values. In their place stage I is tried with values, as where a dry run fails.
    none = NetworkSize(0)
    monkeypatch.setattr(
        screen, "measure_networks", lambda engine, *shapes: {level.name: none for level in engine.levels}
    )
    monkeypatch.setattr(components, "check_backbone", lambda *args: None)
    find_padding, found = smp.find_padding, {}

    def find_padding_once(network, *args):
        if type(network) not in found:
            found[type(network)] = find_padding(network, *args)
        return found[type(network)]

    monkeypatch.setattr(smp, "find_padding", find_padding_once)


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Four volumes of noise with a bright ball, and its mask."""
    grid = np.indices((34, 34, 34))
    for index in range(4):
        random = np.random.default_rng(index)
        centre = random.integers(14, 20, (3, 1, 1, 1))
        ball = ((grid - centre) ** 2).sum(axis=0) < 64
        pairs = {"images": random.integers(0, 100, ball.shape) + 120 * ball, "masks": ball}
        for part, array in pairs.items():
            path = tmp_path / "volumes" / part / f"case{index}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array.astype(np.uint8), np.eye(4)), path)
    return tmp_path / "volumes"


@contextmanager
def stopping_once() -> Iterator[None]:
    """Let a signal come in the step number STOP_AFTER."""
    advance = PhasedEngine.advance

    def stopping(self):
        if self.global_step == STOP_AFTER - 1:
            signal.raise_signal(signal.SIGINT)
        return advance(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PhasedEngine, "advance", stopping)
        yield


def mark(case: Case) -> Any:
    return pytest.param(case, id=str(case), marks=pytest.mark.slow if case.slow else [])


@pytest.mark.parametrize("case", [mark(case) for case in CASES])
@pytest.mark.usefixtures("short")
def test_a_training_runs_as_on_a_gpu(
    case: Case, guard: TwoPlaces, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = DRAWN
    if case.generator.endswith("3d"):
        root = request.getfixturevalue("volumes")
        data = ["dataset=folder", f"dataset.root={root}", "image_size=32", "dataset.n_labelled=3"]
    config = compose(
        [
            *ON_A_GPU, *SHORT, *data, f"method={case.method}", f"backbone={case.backbone}",
            f"generator={case.generator}", f"hypergradient={case.hypergradient}", *BACKBONES[case.backbone],
            *GENERATORS[case.generator], *case.other, f"run_dir={tmp_path / 'run'}",
        ]
    )  # fmt: skip
    with stopping_once(), pytest.raises(Interrupted):
        training.train(config)
    run = training.train(config)
    assert run.read_json("results.json")["iterations"] == 3

    size = [34, 34, 34] if case.generator.endswith("3d") else [40, 48]
    image = np.random.default_rng(0).uniform(0, 255, size).astype(np.float32)
    assert gs.load(run.path, device="cuda")(image).shape == tuple(size)
    if case.draws:
        generate(run.path, 1, tmp_path / "pairs", device="cuda")
    assert not guard.refusals


def test_a_step_that_waits_would_be_seen(
    guard: TwoPlaces, short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the test above can fail."""
    step = SupervisedSegmentation.training_step

    def asking(self, batch):
        loss = step(self, batch)
        assert float(loss) > 0
        return loss

    monkeypatch.setattr(SupervisedSegmentation, "training_step", asking)
    config = compose([*ON_A_GPU, *SHORT, *DRAWN, "method=vanilla", "backbone=unet_classic", f"run_dir={tmp_path}/run"])
    with pytest.raises(Refused, match=r"_local_scalar_dense.* a step waits for the device"):
        training.train(config)


# -- nothing is forgotten ----------------------------------------------------------------------------------------


def test_every_class_of_method_is_trained() -> None:
    trained = {find_class(case.method) for case in CASES}
    assert trained == {find_class(method) for method in list_level_methods()}


@pytest.mark.parametrize("group", ["generator", "backbone"])
def test_every_member_of_a_group_is_trained(group: str) -> None:
    trained = {getattr(case, group) for case in CASES if group != "generator" or case.draws}
    assert trained == set(group_members(group))


def test_every_hypergradient_is_taken() -> None:
    kinds = get_args(get_type_hints(Config)["hypergradient"])
    assert {case.hypergradient for case in CASES if case.method == "genseg"} == set(kinds)
