"""Steps of real levels: layout of gradients, precision, what a skipped step and stage II leave alone, resuming."""

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.optim import Adam

from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.generators.cells import SearchableCell
from genseg_betty.multilevel import level as level_module
from levels.toy import advance, toy_engine
from methods.tiny import TINY, built
from states import different, joined

OVERRIDES = [
    *TINY, "method=genseg", "precision=fp32", "seed=7", "ood=[]", "trainer.warmup_iterations=1",
    "trainer.iterations=20",
]  # fmt: skip
LEVELS = {"discriminator", "generator", "segmenter", "architecture"}


@cache
def data_of_size(size):
    return load_data(compose([*OVERRIDES, f"image_size={size}"]))


def real_engine(*overrides, layout=torch.contiguous_format):
    config = compose([*OVERRIDES, *overrides])
    return built(config, data_of_size(config.image_size), memory_format=layout)[1]


def before_every_update(engine, look):
    """Call `look(level)` where a level's optimizer is about to step."""

    def watched(level, step):
        def stepping():
            look(level)
            return step()

        return stepping

    for level in engine.levels:
        level.optimizer.step = watched(level, level.optimizer.step)


def copied(tensors):
    return {name: value.clone() for name, value in tensors}


# -- fused optimizers --------------------------------------------------------------------------------------------


def strided_apart(engine, steps):
    """Names of the levels that stepped, and the parameters whose gradient had other strides."""
    stepped, apart = set(), set()

    def look(level):
        stepped.add(level.name)
        for name, p in level.module.named_parameters():
            if p.grad is not None and p.grad.stride() != p.stride():
                apart.add(f"{level.name}.{name}")

    before_every_update(engine, look)
    advance(engine, steps)
    return stepped, apart


FUSED = pytest.mark.parametrize("fused", ["always", "never"])
LAYOUTS = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["plain", "last"])


@LAYOUTS
@FUSED
def test_gradients_have_the_strides_of_their_parameters(fused, layout):
    """In unrecorded steps (the first two) and recorded ones, whatever layout the weights and the kernels prefer."""
    engine = real_engine("image_size=64", f"generator.fused={fused}", layout=layout)
    assert all(level.optimizer.defaults["fused"] for level in engine.levels)
    stepped, apart = strided_apart(engine, 3)
    assert stepped == LEVELS
    assert not apart


def test_autograd_alone_would_lay_gradients_out_otherwise(monkeypatch):
    """So that the test above can fail: without the copy, gradients of weights in channels-last order have another."""
    monkeypatch.setattr(level_module, "match_strides", lambda gradient, parameter: gradient)
    engine = real_engine("image_size=64", "generator.fused=always", layout=torch.channels_last)
    assert strided_apart(engine, 3)[1]


@pytest.mark.parametrize("hypergradient", ["exact", "none"])
def test_fused_adam_makes_the_steps_of_plain_adam(hypergradient):
    engine = real_engine("image_size=64", "generator.fused=always", f"hypergradient={hypergradient}")
    if hypergradient == "none":  # where gradients are taken at the weights themselves: in the order of GPU kernels
        for weight in [p for level in engine.levels for p in level.trainable_parameters() if p.ndim == 4]:
            weight.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
    twins, optimizers = {}, {}
    for level in engine.levels:
        twins[level] = [torch.empty(p.shape).copy_(p.detach()) for p in level.trainable_parameters()]
        options = {key: level.optimizer.defaults[key] for key in ("lr", "betas", "eps", "weight_decay")}
        optimizers[level] = Adam(twins[level], **options, foreach=False, fused=False)

    def look(level):
        for twin, p in zip(twins[level], level.trainable_parameters(), strict=True):
            twin.grad = torch.empty(p.shape).copy_(p.grad)
        optimizers[level].step()

    before_every_update(engine, look)
    advance(engine, 7)  # one to warm up, and one that A waits out
    for level in engine.levels:
        assert level.count >= 5
        for (name, p), twin in zip(level.module.named_parameters(), twins[level], strict=True):
            torch.testing.assert_close(p.detach(), twin, rtol=1e-6, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


# -- bfloat16 ----------------------------------------------------------------------------------------------------


def test_what_a_hypergradient_goes_through_is_computed_in_float32():
    engine = real_engine("precision=bf16", "arch_every=2")
    assert engine.segmenter.conditions.autocast == torch.bfloat16
    cell = next(m for m in engine.generator.module.modules() if isinstance(m, SearchableCell))
    convolutions = {
        name: next(m for m in getattr(engine, name).module.modules() if isinstance(m, torch.nn.Conv2d))
        for name in ("discriminator", "segmenter")
    }
    seen, stepping = set(), []
    for name, module in {**convolutions, "generator": cell}.items():
        module.register_forward_hook(lambda _, __, output, name=name: seen.add((stepping[-1], name, output.dtype)))
    for level in engine.levels:

        def begin_step(level=level, begin=level.begin_step):
            stepping.append(level.name)  # the generator draws the images of its step, for the discriminator's too
            begin()

        def training_step(batch, level=level, step=level.training_step):
            stepping.append(level.name)
            return step(batch)

        level.begin_step, level.training_step = begin_step, training_step

    advance(engine, 2)  # the warm-up's step, and a joint one that A waits out
    assert engine.architecture.count == 0
    assert {engine.generator.recording, engine.segmenter.recording} == {"nothing"}
    low = torch.bfloat16
    assert seen == {
        ("generator", "generator", low), ("discriminator", "discriminator", low),
        ("generator", "discriminator", low),
        ("segmenter", "generator", low), ("segmenter", "segmenter", low),
    }  # fmt: skip
    seen.clear()
    advance(engine, 1)
    assert engine.architecture.count == 1
    assert {engine.generator.recording, engine.segmenter.recording} == {"graph"}
    full = torch.float32
    assert seen == {
        ("generator", "generator", full), ("discriminator", "discriminator", low),
        ("generator", "discriminator", full),
        ("segmenter", "generator", full), ("segmenter", "segmenter", full),
        ("architecture", "segmenter", full),
    }  # fmt: skip


def test_bfloat16_turns_alphas_gradient_little():
    low = real_engine("precision=bf16")
    advance(low, 5)
    assert all(torch.isfinite(v).all() for level in low.levels for v in level.module.state_dict().values())
    assert not any(level.guard.skipped for level in low.levels)
    full = real_engine("precision=fp32")
    full.load_state_dict(copy.deepcopy(low.state_dict()))
    found = {}
    for engine in (low, full):
        steps = []
        before_every_update(
            engine,
            lambda level, steps=steps: (
                level.name == "architecture"
                and steps.append(joined([p.grad for p in level.trainable_parameters()]).clone())
            ),
        )
        advance(engine, 1)
        (found[engine],) = steps
    assert torch.cosine_similarity(found[low], found[full], dim=0) > 0.99
    assert not torch.equal(found[low], found[full])  # the discriminator's step was another


# -- what a step leaves alone ------------------------------------------------------------------------------------


@pytest.mark.parametrize("overrides", [["arch_every=1"], ["arch_every=3"]])
def test_a_skipped_segmenter_step_leaves_average_and_buffers(overrides):
    engine = advance(real_engine(*overrides), 2)
    segmentation, feed = engine.segmenter, engine.segmenter.batches

    def spoiled(count):
        batch = feed(count)
        return replace(batch, image=torch.full_like(batch.image, torch.inf)) if count == 1 else batch

    def held():
        parts = {"module": segmentation.module, "average": segmentation.average, "A": engine.generator.search_weights}
        return {f"{part}.{n}": v.clone() for part, m in parts.items() for n, v in m.state_dict().items()}

    segmentation.batches = spoiled
    before, moments = held(), copy.deepcopy(segmentation.optimizer.state_dict()["state"])
    advance(engine, 1)
    assert (segmentation.count, segmentation.guard.skipped, engine.generator.guard.skipped) == (2, 1, 0)
    assert not different(held(), before)
    after = segmentation.optimizer.state_dict()["state"]
    for key in moments:
        assert not different(after[key], moments[key])
    advance(engine, 1)
    assert segmentation.guard.skipped == 1
    rested = {name for name, value in held().items() if torch.equal(value, before[name])}
    assert not {name for name in rested if "running" in name or "n_averaged" in name}
    assert all(torch.isfinite(value).all() for value in held().values())


@pytest.mark.parametrize("hypergradient", ["exact", "exact_full", "finite_difference", "none"])
def test_stage_two_and_three_leave_the_generators_buffers(hypergradient):
    engine = real_engine("generator.norm=batch", f"hypergradient={hypergradient}")
    module, checked = engine.generator.module, []
    make = engine.segmenter.training_step

    def training_step(batch):
        before = copied(module.named_buffers())
        assert before
        loss = make(batch)
        assert not different(copied(module.named_buffers()), before)
        checked.append(loss)
        return loss

    engine.segmenter.training_step = training_step
    after_stage_one = {}
    step = engine.generator.optimizer.step
    engine.generator.optimizer.step = lambda: (after_stage_one.update(copied(module.named_buffers())), step())
    for _ in range(5):
        advance(engine, 1)
        assert not different(copied(module.named_buffers()), after_stage_one)
    assert len(checked) >= 4
    if hypergradient != "none":
        assert engine.architecture.count == 3


# -- resuming ----------------------------------------------------------------------------------------------------


def test_a_phase_that_another_followed_is_over():
    """Steps that an earlier phase would need after all are not made up for: the networks have moved on since."""
    engine = advance(toy_engine(warmup=2, joint=3), 3)
    longer = toy_engine(warmup=3, joint=3)
    longer.load_state_dict(copy.deepcopy(engine.state_dict()))
    assert longer.phase().name == "joint"
    assert longer.advance().name == "joint"
    assert longer.done["warmup"] == 2


def test_a_phase_that_no_other_followed_can_be_prolonged():
    state = advance(toy_engine(warmup=2, joint=3), 2).state_dict()
    longer = toy_engine(warmup=4, joint=3)
    longer.load_state_dict(state)  # the joint phase has not begun
    advance(longer, 5)
    assert longer.advance() is None
    assert longer.done == {"warmup": 4, "joint": 3}
    last = toy_engine(warmup=4, joint=5)
    last.load_state_dict(longer.state_dict())  # nothing comes after it
    advance(last, 2)
    assert last.advance() is None
    assert (last.segmenter.count, last.architecture.count) == (5, 4)
