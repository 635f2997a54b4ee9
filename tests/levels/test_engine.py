"""The graph's order and phases, its guards, and what never touches what."""

import copy
from dataclasses import replace

import pytest
import torch

from genseg_betty.multilevel.engine import Diverged
from levels.toy import advance, batches, toy_engine
from states import different


def weights(engine, *names):
    """Everything that a level's module holds, buffers included."""
    names = names or tuple(level.name for level in engine.levels)
    return {f"{n}.{k}": v.clone() for n in names for k, v in getattr(engine, n).module.state_dict().items()}


def spoiled(feed, value):
    """The same masks, every pixel of every image replaced."""
    return lambda count: replace(feed(count), image=torch.full_like(feed(count).image, value))


def counts(engine):
    return {level.name: level.count for level in engine.levels}


def test_warm_up_moves_the_gan_alone():
    engine = toy_engine(warmup=3, joint=2)
    before = weights(engine, "segmenter", "architecture")
    advance(engine, 3)
    assert counts(engine) == {"discriminator": 3, "generator": 3, "segmenter": 0, "architecture": 0}
    assert not different(weights(engine, "segmenter", "architecture"), before)
    advance(engine, 2)
    assert counts(engine) == {"discriminator": 5, "generator": 5, "segmenter": 2, "architecture": 1}
    assert engine.advance() is None


@pytest.mark.parametrize("hypergradient", ["exact", "exact_full", "finite_difference"])
def test_architecture_moves(hypergradient):
    engine = toy_engine(hypergradient)
    before = engine.architecture.module.to_lists()
    advance(engine, 2)
    assert engine.architecture.module.to_lists() != before


def test_without_hypergradient_the_architecture_rests_and_the_generator_trains():
    engine = toy_engine("none")
    architecture = engine.generator.search_weights.to_lists()
    generator = weights(engine, "generator")
    advance(engine, 2)
    assert engine.generator.search_weights.to_lists() == architecture
    assert counts(engine)["segmenter"] == 2
    assert any(not torch.equal(v, generator[k]) for k, v in weights(engine, "generator").items())


def test_running_statistics_follow_the_real_images_alone():
    """The pass on real images: neither the synthetic one nor the hypergradient nor validation adds another."""
    for hypergradient in ("exact", "exact_full", "finite_difference", "none"):
        engine = advance(toy_engine(hypergradient), 2)
        assert int(engine.segmenter.module[1].num_batches_tracked) == 2, hypergradient


def test_arch_every():
    engine = advance(toy_engine(arch_every=3, joint=7), 7)
    assert counts(engine) == {"discriminator": 7, "generator": 7, "segmenter": 7, "architecture": 2}


@pytest.mark.parametrize("hypergradient", ["exact", "finite_difference"])
def test_validation_images_move_nothing_but_alpha(hypergradient):
    """With α frozen every validation pixel may change, and all weights and buffers stay equal to the bit."""
    engines = []
    for feed in (batches(4, 2), spoiled(batches(4, 2), -0.3)):
        engine = toy_engine(hypergradient, validation=feed)
        engine.architecture.optimizer.param_groups[0]["lr"] = 0.0
        engines.append(advance(engine, 4))
    assert not different(weights(engines[0]), weights(engines[1]))
    assert engines[0].architecture.loss != engines[1].architecture.loss


def test_validation_images_do_move_alpha():
    engines = [advance(toy_engine(validation=feed), 2) for feed in (batches(4, 2), spoiled(batches(4, 2), -0.3))]
    assert engines[0].architecture.module.to_lists() != engines[1].architecture.module.to_lists()


def test_nan_validation_images_harm_nothing():
    engine = toy_engine(validation=spoiled(batches(4, 2), float("nan")), joint=5)
    before = weights(engine, "architecture")
    advance(engine, 5)
    assert not different(weights(engine, "architecture"), before)
    assert all(torch.isfinite(value.double()).all() for value in weights(engine).values())
    assert engine.architecture.guard.skipped == 4
    assert engine.segmenter.guard.skipped == engine.generator.guard.skipped == 0


def test_nan_training_images_are_skipped_and_counted():
    engine = toy_engine(training=spoiled(batches(1), float("nan")), joint=5, max_nonfinite=3)
    names = ("discriminator", "generator", "architecture")

    def parameters():
        return {f"{n}.{k}": p.detach().clone() for n in names for k, p in getattr(engine, n).module.named_parameters()}

    before = parameters()
    advance(engine, 2)
    assert not different(parameters(), before)
    assert all(torch.isfinite(value.double()).all() for value in weights(engine).values())
    assert engine.generator.guard.skipped == 2
    with pytest.raises(Diverged, match="not finite in 3 steps in a row"):
        engine.advance()


def test_state_goes_on_to_the_bit():
    whole = advance(toy_engine(warmup=2, joint=6, arch_every=2), 8)
    half = advance(toy_engine(warmup=2, joint=6, arch_every=2), 5)
    state = copy.deepcopy(half.state_dict())
    torch.manual_seed(999)  # where the global generator stands does not matter
    rest = toy_engine(warmup=2, joint=6, arch_every=2)
    rest.load_state_dict(state)
    for level, before in zip(rest.levels, half.levels, strict=True):  # what a report between two steps of α would say
        assert level.guard.gradient_norm is not None
        assert (level.loss, level.guard.gradient_norm) == (before.loss, before.guard.gradient_norm)
    advance(rest, 3)
    assert rest.advance() is None
    assert not different(weights(rest), weights(whole))
    averages = [engine.segmenter.average.state_dict() for engine in (rest, whole)]
    assert not different(*averages)
