"""The hypergradient of the method as it is configured, against plain autograd in float64.

tests/levels checks the levels on toys. Here everything comes from a composed config: Pix2Pix, the classic UNet,
the optimizers of the trainer and the edges and hops of GenSeg.plan. The reference writes one joint step down
once more, the optimizers' updates included, and shares no code with the levels.
"""

from functools import cache

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from genseg_betty.config import compose
from genseg_betty.data.batches import LabelledSet
from genseg_betty.data.loading import load_data
from genseg_betty.methods import genseg
from genseg_betty.randomness import seeded
from methods.tiny import TINY, built
from states import joined, relative_error

REAL_WEIGHT, L1_WEIGHT = 0.7, 30.0
OVERRIDES = [
    *TINY, "method=genseg", f"method.real_weight={REAL_WEIGHT}", f"generator.objective.l1_weight={L1_WEIGHT}",
    "precision=fp32", "seed=7", "ood=[]", "trainer.warmup_iterations=2", "trainer.iterations=6",
]  # fmt: skip
STEPS_BEFORE = 2  # joint ones, so that no moment is at rest


@cache
def loaded():
    data = load_data(compose(OVERRIDES))
    for part in ("train", "validation"):
        labelled = getattr(data, part)
        setattr(data, part, LabelledSet(labelled.ids, labelled.images.double(), labelled.masks))
    return data


def real_engine(*overrides):
    config = compose([*OVERRIDES, *overrides])
    components, engine = built(config, loaded(), dtype=torch.float64)
    spread = torch.Generator().manual_seed(1)
    with torch.no_grad():  # α as it is in the middle of a search
        for logits in components.architecture.parameters():
            logits.add_(torch.randn(logits.shape, generator=spread, dtype=logits.dtype) * 0.5)
    return engine


class Before:
    """Weights, buffers and optimizer state of a level, before the step under test."""

    def __init__(self, level):
        self.names = [name for name, _ in level.module.named_parameters()]
        self.weights = [p.detach().clone() for p in level.module.parameters()]
        self.buffers = {name: b.clone() for name, b in level.module.named_buffers()}
        states = [level.optimizer.state[p] for p in level.module.parameters()]
        self.states = [{key: value.clone() for key, value in state.items()} for state in states]
        assert all(self.states)  # no optimizer at its first step

    def named(self, weights):
        return dict(zip(self.names, weights, strict=True))


def one_searched_step(engine):
    """Advance to a step of A; return what held before it and the gradient that A's optimizer got."""
    every = engine.segmenter.config.unroll_steps
    while engine.segmenter.count < STEPS_BEFORE or (engine.segmenter.count + 1) % every:
        engine.advance()
    before = {level.name: Before(level) for level in engine.levels}
    seen = []
    search = engine.architecture
    step = search.optimizer.step
    search.optimizer.step = lambda: (seen.extend(p.grad.clone() for p in search.trainable_parameters()), step())
    engine.advance()
    assert len(seen) == 2  # the encoder's logits and the decoder's
    assert all(level.guard.skipped == 0 for level in engine.levels)
    return before, joined(seen)


def root(square):
    """√ with the derivative 0 at 0, where no gradient ever came."""
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)


def adam(options, state, weight, gradient):
    gradient = gradient + options["weight_decay"] * weight
    beta1, beta2 = options["betas"]
    count = float(state["step"]) + 1
    mean = (beta1 * state["exp_avg"] + (1 - beta1) * gradient) / (1 - beta1**count)
    square = (beta2 * state["exp_avg_sq"] + (1 - beta2) * gradient**2) / (1 - beta2**count)
    return weight - options["lr"] * mean / (root(square) + options["eps"])


def rmsprop(options, state, weight, gradient):
    gradient = gradient + options["weight_decay"] * weight
    square = options["alpha"] * state["square_avg"] + (1 - options["alpha"]) * gradient**2
    velocity = gradient / (root(square) + options["eps"])
    if options["momentum"]:
        velocity = options["momentum"] * state["momentum_buffer"] + velocity
    return weight - options["lr"] * velocity


def updated(level, before, gradients):
    """The weights after the optimizer's step, a differentiable function of the gradients."""
    update = {"Adam": adam, "RMSprop": rmsprop}[type(level.optimizer).__name__]
    options = level.optimizer.param_groups[0]
    return [update(options, *each) for each in zip(before.states, before.weights, gradients, strict=True)]


def softmax(before, leaves):
    """α of the two halves."""
    return {name.removesuffix("_logits"): w.softmax(dim=-1) for name, w in before.named(leaves).items()}


def generator_step(engine, before, leaves_a):
    """G' as a function of A (Eq. 5)."""
    level, held = engine.generator, before["generator"]
    leaves = [w.clone().requires_grad_() for w in held.weights]
    batch = level.batches(level.count - 1)
    condition = batch.mask[:, None].double() * 2 - 1
    with seeded(level.moment_of(level.count).find_seed()):
        fake = functional_call(level.module, held.named(leaves), (condition, softmax(before["architecture"], leaves_a)))
    verdict = engine.discriminator.module(condition, fake)  # H has made its step of Eq. 6 by then
    loss = bce(verdict, torch.ones_like(verdict)) + L1_WEIGHT * (fake - batch.image).abs().mean()
    return updated(level, held, torch.autograd.grad(loss, leaves, create_graph=True))


def bce_dice(logits, mask):
    truth = mask[:, None].double()
    inside = logits.sigmoid()
    overlap = (2 * (inside * truth).sum() + 1e-5) / (inside.sum() + truth.sum() + 1e-5)
    return bce(logits, truth) + 1 - overlap


def segmenter_step(engine, before, new_g, leaves_a):
    """S' as a function of G' and of A where it forms the image (Eq. 7), and the buffers that go with it."""
    level, held = engine.segmenter, before["segmenter"]
    generation = engine.generator
    leaves = [w.clone().requires_grad_() for w in held.weights]
    buffers = {name: value.clone() for name, value in held.buffers.items()}
    aside = {name: value.clone() for name, value in held.buffers.items()}
    batch = level.batches(level.count - 1)
    with seeded(level.moment_of(level.count).find_seed()):
        mask = level.augment.mask(batch.mask)
        inputs = mask[:, None].double() * 2 - 1, softmax(before["architecture"], leaves_a)
        image = functional_call(generation.module, before["generator"].named(new_g), inputs)
        image = level.augment.image(image)
        real_image, real_mask = level.augment.pair(batch.image, batch.mask)
    synthetic = bce_dice(functional_call(level.module, held.named(leaves) | aside, (image,)), mask)
    real = bce_dice(functional_call(level.module, held.named(leaves) | buffers, (real_image,)), real_mask)
    loss = synthetic + REAL_WEIGHT * real
    return updated(level, held, torch.autograd.grad(loss, leaves, create_graph=True)), buffers


def reference_terms(engine, before):
    """d L_val / dA through G' (the chain of Eq. 9) and through the image itself, with every learning rate."""
    chain = [w.clone().requires_grad_() for w in before["architecture"].weights]
    direct = [w.clone().requires_grad_() for w in before["architecture"].weights]
    new_g = generator_step(engine, before, chain)
    new_s, buffers = segmenter_step(engine, before, new_g, direct)
    level = engine.segmenter
    for name, value in level.module.named_buffers():  # the statistics of real images, and those alone
        assert torch.allclose(value, buffers[name], rtol=1e-10), name
    for made, new in ((engine.generator, new_g), (level, new_s)):  # the steps are those that were made
        assert relative_error(joined(made.trainable_parameters()), joined(new)) < 1e-9
    batch = engine.architecture.batches(engine.architecture.count - 1)
    level.module.eval()
    logits = functional_call(level.module, before["segmenter"].named(new_s) | buffers, (batch.image,))
    gradients = torch.autograd.grad(bce_dice(logits, batch.mask), [*chain, *direct])
    level.module.train()
    return joined(gradients[: len(chain)]), joined(gradients[len(chain) :])


def turned(found, expected):
    """How far two gradients differ beside their length, which Adam does not see."""
    return relative_error(found / found.norm(), expected / expected.norm())


PAPER = [
    "trainer.optimizers.segmenter={name: rmsprop, lr: 1e-5, momentum: 0.9, weight_decay: 1e-3}",
    "trainer.optimizers.generator={name: adam, lr: 1e-5, betas: [0.5, 0.999], weight_decay: 1e-3}",
]
CASES = {
    "default": [],
    "augment=paper": ["augment=paper"],
    "arch_every=2": ["arch_every=2"],
    "three convolutions a cell": ["generator.fused=never", "generator.dropout=0"],
    "the paper's optimizers": PAPER,
    "augment=strong": [
        "augment=strong",
        "augment.intensity.gamma.probability=1",
        "augment.intensity.noise.probability=1",
    ],
}


def compared(*overrides):
    """The gradient that A got in one step, the two terms it is made of, and the rates of G and S."""
    engine = real_engine(*overrides)
    before, found = one_searched_step(engine)
    levels = engine.generator, engine.segmenter
    return found, *reference_terms(engine, before), *(level.optimizer.param_groups[0]["lr"] for level in levels)


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES.keys())
def test_exact_is_the_chain_without_learning_rates(overrides):
    found, chain, _, rate_g, rate_s = compared("hypergradient=exact", *overrides)
    assert relative_error(rate_s * rate_g * found, chain) < 1e-9


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES.keys())
def test_exact_full_adds_the_direct_term_at_the_generators_rate(overrides):
    found, chain, direct, rate_g, rate_s = compared("hypergradient=exact_full", *overrides)
    assert relative_error(rate_s * found, chain + direct) < 1e-9
    # Both terms weigh enough for the comparison to tell them apart, and the rate belongs to the chain alone.
    assert turned(direct, chain + direct) > 1e-3
    assert turned(chain / rate_g + direct, chain + direct) > 0.5


def test_hops_the_other_way_round_would_be_noticed(monkeypatch):
    """The rate at the segmenter's hop goes to both terms, and the chain lacks the generator's."""
    configure = genseg.hop_configs

    def swapped(*args):
        hops = configure(*args)
        types = hops["generator"].type, hops["segmenter"].type
        assert types == ("exact_with_rate", "exact")
        hops["segmenter"].type, hops["generator"].type = types
        return hops

    monkeypatch.setattr(genseg, "hop_configs", swapped)
    found, chain, direct, rate_g, rate_s = compared("hypergradient=exact_full")
    assert relative_error(found, chain / rate_g + direct) < 1e-9
    assert relative_error(rate_s * found, chain + direct) > 0.1
    assert turned(found, chain + direct) > 0.5
