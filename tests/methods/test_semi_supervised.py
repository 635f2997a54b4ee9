"""Trainings that see images without masks: what is equal to other methods, what is not, and what is kept of them."""

import copy
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from genseg_betty.augment import Augmentation
from genseg_betty.build import build_named
from genseg_betty.cli import main
from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.errors import UserError
from genseg_betty.inference import load
from genseg_betty.methods.cross_teaching import CrossTeachingMethod
from genseg_betty.run import Run
from genseg_betty.semisupervised.cross_teaching import CrossTeaching
from genseg_betty.semisupervised.deep_cotraining import DeepCotraining, mislead_network
from genseg_betty.training.run_training import require_fitting_unlabelled, train
from genseg_betty.training.semi_supervised import build_paired
from methods.tiny import TINY, built
from methods.tiny import load as load_run
from states import different

pytestmark = pytest.mark.usefixtures("pictures_unsaved")

OVERRIDES = [
    *TINY, "second_backbone.base_channels=8", "second_backbone.depths=[1, 1]", "second_backbone.decoder_depths=[1]",
    "second_backbone.window=4", "trainer.iterations=6", "trainer.validate_every=3", "trainer.sample_every=1000",
    "trainer.checkpoint_every=3", "ood=[]", "unlabelled=5", "seed=3", "graphs=never", "precision=fp32",
]  # fmt: skip
ALONE = [word for word in OVERRIDES if not word.startswith(("second_backbone", "unlabelled"))]
METHODS = ["cross_teaching", "deep_cotraining"]


@cache
def untouched(method: str) -> Any:
    """A method's engine before its first step; no test makes one."""
    return fresh(method)


def fresh(method: str) -> Any:
    """The same, of the test's own."""
    overrides = OVERRIDES if method in METHODS else ALONE
    config = compose([*overrides, f"method={method}"])
    return built(config, load_data(config, reads_unlabelled=method in METHODS))[1]


# -- what is equal -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_first_network_and_its_labelled_images_are_those_of_supervised(method: str) -> None:
    """First weights, batches, and the draws by which they are moved."""
    supervised, pair = untouched("supervised").segmenter, untouched(method).segmenter
    assert not different(pair.module.first.state_dict(), supervised.module.state_dict())
    for count in range(6):
        some, others = supervised.batches(count), pair.batches(count)
        assert others.ids == some.ids
        assert torch.equal(others.image, some.image)
        assert len(others.unlabelled) == len(others.image) == 2
        assert float(others.progress) == pytest.approx(count / 6)
        moved = []
        for level, batch in ((supervised, some), (pair, others)):
            with level.computing(level.moment_of(count + 1)):
                moved.append(level.augment.pair(batch.image, batch.mask))
        assert torch.equal(moved[0][0], moved[1][0])
        assert torch.equal(moved[0][1], moved[1][1])


def test_networks_of_deep_cotraining_have_batches_of_their_own() -> None:
    level = untouched("deep_cotraining").segmenter
    batches = [level.batches(count) for count in range(6)]
    assert all(len(batch.second.ids) == 2 for batch in batches)
    assert any(batch.second.ids != batch.ids for batch in batches)
    assert untouched("cross_teaching").segmenter.batches(0).second is None


@pytest.mark.parametrize("method", METHODS)
def test_the_second_network_is_of_another_structure(method: str) -> None:
    pair = untouched(method).segmenter.module
    kinds = [{type(module).__name__ for module in network.modules()} for network in (pair.first, pair.second)]
    assert kinds[0] - kinds[1]
    assert kinds[1] - kinds[0]
    assert "LayerNorm" in kinds[1] - kinds[0]


# -- a step ------------------------------------------------------------------------------------------------------


def binary(logits: torch.Tensor) -> torch.Tensor:
    """Probabilities of background and foreground, [B, 2, H, W]."""
    chances = logits.double().sigmoid()
    return torch.cat([1 - chances, chances], dim=1)


def dice(chances: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    terms = []
    for k in (0, 1):
        p, t = chances[:, k], (labels == k).double()
        terms.append(1 - (2 * (p * t).sum() + 1e-5) / ((p * p).sum() + t.sum() + 1e-5))
    return sum(terms) / 2


def entropy(chances: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return -chances.gather(1, labels[:, None]).log().mean()


class Still(Augmentation):
    """Moves nothing, so that a step's images are known."""

    def pair(self, image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return image, mask


def test_a_step_of_cross_teaching_has_the_loss_of_its_definition() -> None:
    level = fresh("cross_teaching").segmenter
    level.augment = Still()
    batch = level.batches(3)
    torch.manual_seed(0)  # the second network drops paths
    found = float(level.training_step(batch))
    torch.manual_seed(0)
    first, second = level.module(torch.cat([batch.image, batch.unlabelled]))
    expected = torch.zeros((), dtype=torch.float64)
    weight = 0.1 * np.exp(-5 * (1 - 3 / 6) ** 2)
    for own, other in ((first, second), (second, first)):
        labelled, seen = binary(own[:2]), binary(own[2:])
        expected += (entropy(labelled, batch.mask) + dice(labelled, batch.mask)) / 2
        expected += weight * dice(seen, (other[2:, 0] > 0).long())
    assert found == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(("count", "is_adversarial"), [(0, False), (4, True)])
def test_a_step_of_deep_cotraining_has_the_loss_of_its_definition(count: int, is_adversarial: bool) -> None:
    """At the start no adversarial term counts; at 4 of 6 steps both weights are at their highest."""
    level = fresh("deep_cotraining").segmenter
    level.augment = Still()
    batch = level.batches(count)
    before = copy.deepcopy(level.module.state_dict())
    torch.manual_seed(0)
    found = float(level.training_step(batch))
    level.module.load_state_dict(before)  # the running statistics decide on what misleads
    pair, pairs = level.module, [(batch.image, batch.mask), (batch.second.image, batch.second.mask)]
    torch.manual_seed(0)
    clean = [(pair.first(pairs[0][0]), pair.first(batch.unlabelled))]
    clean.append((pair.second(pairs[1][0]), pair.second(batch.unlabelled)))
    expected = sum(entropy(binary(clean[i][0]), pairs[i][1]) for i in (0, 1))
    one, other = binary(clean[0][1]), binary(clean[1][1])

    def measure(chances: torch.Tensor) -> torch.Tensor:
        return -(chances * chances.log()).sum(dim=1).mean()

    weight = 0.5 * (1 if is_adversarial else np.exp(-5))
    expected = expected + weight * (measure((one + other) / 2) - (measure(one) + measure(other)) / 2)
    terms = []
    for i, (own, judge) in enumerate(((pair.first, pair.second), (pair.second, pair.first))):
        for j, (image, labels) in enumerate(((pairs[i][0], pairs[i][1]), (batch.unlabelled, None))):
            target = binary(clean[i][j])
            answer = binary(judge(mislead_network(own, image, labels, 0.03)))
            terms.append((target * (target / answer).log()).sum(dim=1).mean())
    if is_adversarial:
        expected = expected + 0.05 * sum(terms) / 4
    assert float(sum(terms)) > 1e-6  # the term would be missed
    assert found == pytest.approx(float(expected), rel=1e-5)


# -- whole trainings ---------------------------------------------------------------------------------------------


def trained(path: Path, method: str, *more: str) -> Run:
    return train(compose([*OVERRIDES, f"method={method}", f"run_dir={path}", *more]))


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_training_equals_one_that_was_never_stopped(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped once its fourth step is made, after the checkpoint of the third."""
    whole = trained(tmp_path / "whole", method)
    stages = {"cross_teaching": CrossTeaching, "deep_cotraining": DeepCotraining}
    step = stages[method].training_step

    def stop_at_fifth(level, batch):
        if float(batch.progress) > 0.6:
            raise KeyboardInterrupt
        return step(level, batch)

    with monkeypatch.context() as patch:
        patch.setattr(stages[method], "training_step", stop_at_fifth)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "broken", method)
    resumed = trained(tmp_path / "broken", method)
    assert resumed.resuming
    for name in ("last", "best", "predictor"):
        assert {*different(resumed.load_checkpoint(name), whole.load_checkpoint(name))} <= {"/seconds"}
    results, expected = resumed.read_json("results.json"), whole.read_json("results.json")
    assert results["test"] == expected["test"]
    assert results["parameters"]["second segmenter"] > 0

    # The first network alone is kept to predict with, and it has learned; so has the second.
    first = resumed.load_checkpoint("predictor")["weights"]
    levels = resumed.load_checkpoint("last")["engine"]["levels"]["segmenter"]
    average = {k.removeprefix("module.first."): v for k, v in levels["average"].items() if "module.first." in k}
    assert not different(first, average)
    start = untouched(method).segmenter.module
    moved = [k for k, v in start.state_dict().items() if not torch.equal(v, levels["module"][k])]
    assert {name.split(".")[0] for name in moved} == {"first", "second"}

    splits = resumed.read_json("splits.json")
    assert len(splits["unlabelled"]) == 5
    held_out = {*splits["train"], *splits["validation"], *splits["test"]}
    assert not held_out & {*splits["unlabelled"]}
    assert {*splits["unlabelled"]} <= {*splits["sha256"]}


def test_a_run_goes_on_with_the_same_unlabelled_images_alone(tmp_path: Path) -> None:
    trained(tmp_path / "run", "cross_teaching")
    with pytest.raises(UserError, match="unlabelled: 5 in the Run, 6 now"):
        trained(tmp_path / "run", "cross_teaching", "unlabelled=6", "trainer.iterations=7")


class MeanTeaching(CrossTeaching):
    predicts_with_both: ClassVar[bool] = True


class MeanMethod(CrossTeachingMethod):
    def build_level(self, components):
        return build_paired(components, MeanTeaching, self.augment, consistency_weight=0.1)


def test_the_mean_of_two_is_validated_kept_and_loaded(tmp_path: Path) -> None:
    """predict without trust, and the answer is the mean of the probabilities of both averaged networks."""
    target = f"method._target_={MeanMethod.__module__}.MeanMethod"
    run = trained(tmp_path / "run", "cross_teaching", target)
    saved = run.load_checkpoint("predictor")
    assert saved["networks"] == 2
    predict = load(run.path, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)
    found = predict.probabilities(pixels)

    components, engine = built(run.config, load_data(run.config, reads_unlabelled=True))
    pair = engine.segmenter.module
    pair.load_state_dict(saved["weights"])
    image = components.data.preprocessing.image(pixels)[None]
    with torch.no_grad():
        chances = [network(image).sigmoid() for network in (pair.eval().first, pair.second)]
    at_size = predict.network(image).sigmoid()
    torch.testing.assert_close(at_size, (chances[0] + chances[1]) / 2)
    assert float((chances[0] - chances[1]).abs().max()) > 1e-3
    assert found.shape == (2, 40, 40)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    with pytest.raises(SystemExit) as end:
        main(["predict", str(run.path), str(tmp_path / "x.png"), "--out", str(tmp_path / "masks")])
    assert end.value.code == 0


def test_a_second_network_of_others_is_not_built_without_trust(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "cross_teaching", f"method._target_={MeanMethod.__module__}.MeanMethod")
    text = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(text.replace("genseg_betty.backbones.swinunet.swinunet", "os.system.call"))
    expected = pytest.raises(UserError, match=r"second_backbone\._target_: os\.system\.call")
    with pytest.warns(UserWarning, match="config.yaml is damaged"), expected:
        load(run.path, device="cpu")


def test_a_method_says_whether_it_sees_unlabelled_images() -> None:
    kinds = {name: build_named(compose([f"method={name}"]).method) for name in (*METHODS, "combine", "genseg")}
    assert {name: (kind.uses_unlabelled, kind.num_networks) for name, kind in kinds.items()} == {
        "cross_teaching": (True, 2), "deep_cotraining": (True, 2), "combine": (False, 1), "genseg": (False, 1),
    }  # fmt: skip
    with pytest.raises(UserError, match="unlabelled=0: method=cross_teaching learns from images without masks"):
        require_fitting_unlabelled(compose(["method=cross_teaching", "unlabelled=0"]), uses_unlabelled=True)
    with pytest.raises(UserError, match="unlabelled=7: method=combine learns from labelled images alone"):
        require_fitting_unlabelled(compose(["method=combine", "unlabelled=7"]), uses_unlabelled=False)
    require_fitting_unlabelled(compose(["method=combine"]), uses_unlabelled=False)
    require_fitting_unlabelled(compose(["method=cross_teaching", "unlabelled=7"]), uses_unlabelled=True)


def test_the_aliases_are_the_methods() -> None:
    for alias, name in (("ctbct", "cross_teaching"), ("dct", "deep_cotraining")):
        one, other = compose([f"method={alias}"]).method, compose([f"method={name}"]).method
        assert {**one, "name": name} == other


def draw_images(folder: Path, count: int) -> None:
    folder.mkdir()
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 256, (36, 36)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"u{index}.png")


def test_a_run_whose_unlabelled_images_changed_does_not_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file has other contents under its old name."""
    draw_images(tmp_path / "more", 4)
    words = [f"unlabelled={tmp_path / 'more'}", "trainer.iterations=3"]
    run = trained(tmp_path / "run", "cross_teaching", *words)
    assert f"4 without masks (unlabelled={tmp_path / 'more'})" in capsys.readouterr().err
    assert len(run.read_json("splits.json")["unlabelled"]) == 4
    draw_images(tmp_path / "others", 5)
    (tmp_path / "others" / "u4.png").rename(tmp_path / "more" / "u0.png")
    with pytest.raises(UserError, match="began with other images than the dataset has now"):
        trained(tmp_path / "run", "cross_teaching", *words, "trainer.iterations=4")


def test_volumes_are_learned_from(tmp_path: Path) -> None:
    """unet3d and SegResNet; unlabelled volumes are larger than the network's input, and seen in patches of its size."""
    for index in range(9):
        random = np.random.default_rng(index)
        shape = (40, 34, 36)
        truth = ((np.indices(shape) - random.integers(12, 22, (3, 1, 1, 1))) ** 2).sum(axis=0) < 60
        image = (random.normal(100, 30, shape) + 800 * truth).astype(np.float32)
        for folder, array in (("images", image), ("masks", truth.astype(np.uint8))):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "data" / folder / f"v{index}.nii.gz")
    words = [
        "dataset=folder", f"dataset.root={tmp_path / 'data'}", "backbone=unet3d", "backbone.base_channels=2",
        "second_backbone.arguments={init_filters: 8}", "image_size=[32, 32, 32]", "dataset.n_labelled=4",
        "trainer.batch_size=2", "trainer.iterations=2", "trainer.validate_every=2", "device=cpu", "ood=[]",
        "dataset.n_test=1", "method=deep_cotraining", f"run_dir={tmp_path / 'run'}",
    ]  # fmt: skip
    run = train(compose(words))
    assert run.config.second_backbone.name == "monai"
    assert len(run.read_json("splits.json")["unlabelled"]) == 2
    assert run.read_json("results.json")["iterations"] == 2
    batch = load_run(run.config).unlabelled
    assert batch.images.shape == (2, 1, 36, 34, 40)
    assert batch.patch == (32, 32, 32)
