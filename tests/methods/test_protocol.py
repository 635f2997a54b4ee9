"""One protocol: methods differ in what they train beside the segmenter, and in nothing that it is given or judged by.

Real engines of all methods step to their end at the smallest size, from one config and seed.
"""

from dataclasses import replace

import pytest
import torch

from genseg_betty.build import build_named
from genseg_betty.config import compose
from genseg_betty.data.batches import StepSampler
from genseg_betty.methods import genseg
from genseg_betty.randomness import derived_seed
from genseg_betty.run import Run
from genseg_betty.tracking import Tracker
from genseg_betty.training.components import Components
from methods.tiny import TINY, built, choose, find_class, find_first, list_level_methods, load
from states import different

pytestmark = pytest.mark.usefixtures("pictures_unsaved")

WARMUP, ITERATIONS, FINETUNE = 2, 5, 3
OVERRIDES = [
    *TINY, "seed=3", "ood=[]", "trainer.sample_every=1000", "trainer.validate_every=2",
    f"trainer.warmup_iterations={WARMUP}", f"trainer.iterations={ITERATIONS}",
    f"trainer.finetune_iterations={FINETUNE}",
    "trainer.optimizers.generator.weight_decay=0.01", "trainer.optimizers.discriminator.lr=3e-4",
]  # fmt: skip
METHODS = ["genseg", *(method for method in list_level_methods() if method != "genseg")]
KINDS = list({find_class(method): method for method in reversed(METHODS)}.values())
"""A method of each class."""
GENSEG = [f"hypergradient={kind}" for kind in ("exact", "exact_full", "finite_difference", "none")]


class Stepped:
    """A method's engine, stepped to its end; what each level was fed, and how often its optimizer stepped."""

    def __init__(self, *overrides: str) -> None:
        self.config = compose([*OVERRIDES, *overrides])
        self.data = load(self.config)
        self.components, self.engine = built(self.config, self.data)
        self.initial = {level.name: self.weights(level.module) for level in self.engine.levels}
        self.initial["segmenter"] = find_first(self.initial["segmenter"])
        self.initial["average"] = find_first(self.weights(self.engine.segmenter.average.module))
        self.fed: dict[str, list] = {level.name: [] for level in self.engine.levels}
        self.updates = dict.fromkeys(self.fed, 0)
        for level in self.engine.levels:
            self.spy(level)
        while self.engine.advance() is not None:
            pass
        self.counts = {level.name: level.count for level in self.engine.levels}

    @staticmethod
    def weights(module):
        return {name: value.clone() for name, value in module.state_dict().items()}

    def spy(self, level) -> None:
        feed, fed = level.batches, self.fed[level.name]

        def batches(count):
            batch = feed(count)
            fed.append((count, batch.ids, batch.image.clone(), batch.mask.clone()))
            return batch

        def stepped(*_):
            self.updates[level.name] += 1

        level.batches = batches
        level.optimizer.register_step_post_hook(stepped)

    def ids(self, level):
        return [(count, ids) for count, ids, _, _ in self.fed[level]]


@pytest.fixture(scope="module")
def stepped():
    return {method: Stepped(*choose(method)) for method in METHODS}


@pytest.mark.parametrize("method", METHODS[1:])
def test_data_are_the_same(stepped, method):
    one, other = stepped["genseg"].data, stepped[method].data
    assert replace(other.splits, unlabelled=[]) == one.splits
    assert not set(other.splits.unlabelled) & {*one.splits.train, *one.splits.validation, *one.splits.test}
    assert other.preprocessing == one.preprocessing
    assert other.sha256 == one.sha256
    for part in ("train", "validation"):
        some, others = getattr(one, part), getattr(other, part)
        assert others.ids == some.ids
        assert torch.equal(others.images, some.images)
        assert torch.equal(others.masks, some.masks)
    assert {k: [case.id for case in v[1]] for k, v in other.test.items()} == {
        k: [case.id for case in v[1]] for k, v in one.test.items()
    }


@pytest.mark.parametrize("method", METHODS[1:])
def test_the_segmenter_starts_the_same_and_learns_by_the_same_rule(stepped, method):
    one, other = stepped["genseg"], stepped[method]
    for part in ("segmenter", "average"):
        assert not different(other.initial[part], one.initial[part])
    some, others = one.engine.segmenter, other.engine.segmenter
    assert type(others.optimizer) is type(some.optimizer)
    settings = [{k: v for k, v in level.optimizer.param_groups[0].items() if k != "params"} for level in (some, others)]
    assert settings[0] == settings[1]
    logits, mask = torch.randn(2, 1, 8, 8), torch.randint(0, 2, (2, 8, 8))
    assert torch.equal(some.criterion(logits, mask), others.criterion(logits, mask))
    assert some.average.decay == others.average.decay


@pytest.mark.parametrize("method", METHODS)
def test_the_segmenter_sees_the_same_real_batches(stepped, method):
    """Those of a sampler that knows the seed alone, one batch an update."""
    found = stepped[method]
    sampler = StepSampler(len(found.data.train), 2, derived_seed(3, "batches", "segmenter"))
    ids = found.data.train.ids
    assert found.ids("segmenter") == [
        (count, [ids[index] for index in sampler.indices(count).tolist()]) for count in range(ITERATIONS)
    ]
    for (_, _, image, mask), (_, _, image_too, mask_too) in zip(
        found.fed["segmenter"], stepped["vanilla"].fed["segmenter"], strict=True
    ):
        assert torch.equal(image, image_too)
        assert torch.equal(mask, mask_too)


def test_updates_are_as_many(stepped):
    """Of every segmenter the same number, and of every generator."""
    gan = dict.fromkeys(("discriminator", "generator"), WARMUP + ITERATIONS)
    search = {"architecture": ITERATIONS - 1}  # at rest in the first joint step
    assert stepped["genseg"].updates == gan | search | {"segmenter": ITERATIONS}
    for method, found in stepped.items():
        expected = {level: (gan | search).get(level, ITERATIONS) for level in found.updates}
        assert found.updates == found.counts == expected, method
        assert int(found.engine.segmenter.average.n_averaged) == ITERATIONS, method


def test_methods_with_a_generator_train_it_alike(stepped):
    """Separate's generator and discriminator start as GenSeg's do and see the same real pairs."""
    one, other = stepped["genseg"], stepped["separate"]
    for level in ("discriminator", "generator"):
        assert not different(other.initial[level], one.initial[level])
        assert other.ids(level) == one.ids(level)
    assert other.components.architecture.to_lists()["down"][0] == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("kind", GENSEG[1:])
def test_no_hypergradient_changes_the_protocol(stepped, kind):
    found, exact = Stepped("method=genseg", kind), stepped["genseg"]
    assert not different(found.initial["segmenter"], exact.initial["segmenter"])
    for level in ("discriminator", "generator", "segmenter"):
        assert found.updates[level] == exact.updates[level]
        assert found.ids(level) == exact.ids(level)


def fitted(path, method, select):
    config = compose([*OVERRIDES, *choose(method), f"trainer.select={select}", f"run_dir={path}"])
    with Run.start(config.run_dir, config) as run:
        _, findings = build_named(config.method).fit(run, load(config), Tracker(run, config.logger))
        return run, findings


@pytest.mark.parametrize("method", KINDS)
def test_selection_is_the_same(tmp_path, method):
    """`last` keeps the average at the last update; `best` the first with the highest validation score of all."""
    run, findings = fitted(tmp_path / "last", method, "last")
    average = run.load_checkpoint("last")["engine"]["levels"]["segmenter"]["average"]
    weights = {k.removeprefix("module."): v for k, v in average.items() if k.startswith("module.")}
    predictor = run.load_checkpoint("predictor")
    if predictor.get("networks", 1) == 1:
        weights = find_first(weights)
    assert not different(predictor["weights"], weights)
    assert findings["iterations"] == ITERATIONS
    components = Components(run.config, load(run.config))
    assert findings["beyond"] == build_named(run.config.method).count_beyond(components)

    run, findings = fitted(tmp_path / "best", method, "best")
    metric = load(run.config).metric
    rows = [row for row in run.metrics() if row["phase"] == "validation" and row["name"] == metric]
    before = {"genseg": WARMUP, "separate": WARMUP + ITERATIONS, "wgan": WARMUP + ITERATIONS}.get(method, 0)
    assert [row["step"] - before for row in rows] == [2, 4, ITERATIONS]  # after as many updates of the segmenter
    best = max(rows, key=lambda row: row["value"])
    assert (findings["validation"]["best"], findings["validation"]["step"]) == (best["value"], best["step"])
    kept, predictor = run.load_checkpoint("best"), run.load_checkpoint("predictor")
    assert not different(predictor["weights"], kept["weights"])
    assert predictor["preprocessing"] == kept["preprocessing"] == load(run.config).preprocessing.to_dict()
    if best["step"] == rows[-1]["step"]:
        assert not different(kept["weights"], weights)
    else:
        assert any(not torch.equal(value, weights[name]) for name, value in kept["weights"].items())


@pytest.mark.parametrize("method", ["genseg", "separate"])
def test_the_kept_generator_is_tuned_alike(tmp_path, monkeypatch, method):
    """As many further updates, by the optimizers that the config gives the generator and the discriminator."""
    made = {}
    updates = {}

    def spied(generator, architecture, engine, steps, optimizer):
        def make(part, network):
            made[part] = optimizer(part, network)
            updates[part] = 0

            def stepped(*_):
                updates[part] += 1

            made[part].register_step_post_hook(stepped)
            return made[part]

        return discretise(generator, architecture, engine, steps, make)

    discretise = genseg.discretise
    monkeypatch.setattr(genseg, "discretise", spied)
    _, findings = fitted(tmp_path / "run", method, "last")
    assert updates == {"generator": FINETUNE, "discriminator": FINETUNE}
    assert findings["strongest"]["iterations"] == FINETUNE
    asked = {part: (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) for part, optimizer in made.items()}
    assert asked == {"generator": (2e-4, 0.01), "discriminator": (3e-4, 0.0)}
