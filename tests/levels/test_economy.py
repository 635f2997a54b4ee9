"""What a joint step leaves out or does once for several levels, each against the same step without that economy."""

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from genseg_betty.generators.objectives import Objective
from genseg_betty.multilevel import hypergradient as hops
from genseg_betty.multilevel.level import Level
from genseg_betty.multilevel.recorded_step import RecordedStep
from genseg_betty.randomness import seeded
from levels.real import real_engine
from levels.toy import advance, toy_engine
from states import different, joined
from workload import gradient_of_architecture

# -- one pass of G for H and for G -------------------------------------------------------------------------------


@pytest.mark.parametrize("generator", ["pix2pix", "spade", "asapnet"])
def test_the_generator_runs_twice_in_a_joint_step(generator):
    """Once for the two levels of stage I, once with its new weights for stage II."""
    engine = advance(real_engine(f"generator={generator}"), 2)
    passes = []
    engine.generator.module.register_forward_hook(lambda *_: passes.append(1))
    advance(engine, 1)
    assert len(passes) == 2


class TwoPasses(Objective):
    """The losses of another objective, each with a pass of its own."""

    def __init__(self, drawn):
        self.discriminator_loss, self.generator_loss = drawn.discriminator_loss, drawn.generator_loss


@pytest.mark.parametrize(
    "overrides",
    [
        ["hypergradient=exact", "generator.dropout=0"],
        ["hypergradient=none", "generator.dropout=0", "generator.norm=batch"],
        ["hypergradient=finite_difference", "generator.dropout=0"],
        ["hypergradient=exact", "generator=spade"],
    ],
    ids=" ".join,
)
def test_one_pass_of_the_generator_gives_the_bytes_of_two(overrides):
    """Where nothing is drawn at random, as the two passes would draw apart."""
    once, twice = real_engine(*overrides), real_engine(*overrides)
    twice.generator.objective = TwoPasses(twice.generator.objective)
    advance(once, 4)
    advance(twice, 4)
    assert not different(once.state_dict(), twice.state_dict())


def test_the_discriminator_sees_the_images_that_the_generator_is_judged_by():
    """Its loss is that of G at the weights before G's step, with the dropout of that step."""
    engine = advance(toy_engine(), 2)
    generation, discrimination = engine.generator, engine.discriminator
    weights = {name: p.detach().clone() for name, p in generation.module.named_parameters()}
    discriminator = {name: p.detach().clone() for name, p in discrimination.module.named_parameters()}
    alpha = {half: w.detach() for half, w in engine.architecture.module().items()}
    batch = discrimination.batches(discrimination.count)
    condition = batch.mask[:, None].double() * 2 - 1
    with seeded(generation.moment_of(generation.count + 1).find_seed()), generation.network.restored_buffers():
        synthetic = functional_call(generation.module, {**weights, **generation.network._buffers}, (condition, alpha))
    real = functional_call(discrimination.module, discriminator, (condition, batch.image))
    fake = functional_call(discrimination.module, discriminator, (condition, synthetic))
    advance(engine, 1)
    expected = 0.5 * (bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake)))
    torch.testing.assert_close(discrimination.loss, expected.detach(), rtol=1e-12, atol=0)


def test_running_statistics_of_the_generator_follow_one_pass():
    engine = toy_engine()
    tracked = engine.generator.module.norm.num_batches_tracked
    assert [int(advance(engine, 1) and tracked) for _ in range(3)] == [1, 2, 3]


# -- the real images of stage II, apart --------------------------------------------------------------------------


@pytest.mark.parametrize("hypergradient", ["exact", "exact_full", "finite_difference"])
def test_the_real_images_have_no_part_in_the_mixed_derivative(hypergradient, monkeypatch):
    """Weights and α's gradient are those of the loss in one piece."""
    engine = advance(toy_engine(hypergradient), 2)
    found = gradient_of_architecture(engine)
    with monkeypatch.context() as patch:
        patch.setattr(Level, "own_loss", lambda self, compute: compute())
        plain = advance(toy_engine(hypergradient), 2)
        expected = gradient_of_architecture(plain)
    assert expected.norm() > 0
    # The difference of two evaluations loses digits to what both have in common.
    tolerance = 1e-6 if hypergradient == "finite_difference" else 1e-11
    assert (found - expected).norm() < tolerance * expected.norm()
    for level, other in zip(engine.levels, plain.levels, strict=True):
        torch.testing.assert_close(level.loss, other.loss, rtol=1e-11, atol=0)
        torch.testing.assert_close(joined(level.module.parameters()), joined(other.module.parameters()))


def test_real_images_move_the_segmenter():
    """So that the test above can fail: without them the step is another."""
    engine, without = toy_engine(), toy_engine()
    without.segmenter.real_weight = 0.0
    advance(engine, 1)
    advance(without, 1)
    assert different(engine.segmenter.module.state_dict(), without.segmenter.module.state_dict())


# -- one walk for all hops from a level --------------------------------------------------------------------------


@pytest.mark.parametrize("hypergradient", ["exact", "exact_full"])
def test_each_recorded_graph_is_walked_once(hypergradient, monkeypatch):
    walked = []
    backpropagate = RecordedStep.backpropagate

    def counted(record, direction, parameters):
        walked.append([*parameters])
        backpropagate(record, direction, parameters)
        assert not any(gradient.requires_grad for gradient in record.gradients)
        assert record.graph is None

    monkeypatch.setattr(RecordedStep, "backpropagate", counted)
    advance(toy_engine(hypergradient), 2)
    direct = ["architecture"] if hypergradient == "exact_full" else []
    assert sorted(map(sorted, walked)) == [["architecture"], sorted(["generator", *direct])]


# -- the recorded graph of stage II, cut at the synthetic image --------------------------------------------------


@pytest.mark.parametrize("hypergradient", ["exact", "exact_full"])
def test_the_cut_changes_no_derivative(hypergradient, monkeypatch):
    engine = advance(toy_engine(hypergradient), 2)
    found = gradient_of_architecture(engine)
    with monkeypatch.context() as patch:
        patch.setattr(Level, "cut_graph", lambda self, *outputs: outputs)
        expected = gradient_of_architecture(advance(toy_engine(hypergradient), 2))
    assert expected.norm() > 0
    assert (found - expected).norm() < 1e-12 * expected.norm()


def test_what_comes_through_the_cut_counts(monkeypatch):
    """So that the test above can fail: with nothing behind the cut, stage II gives A nothing."""
    engine = advance(toy_engine(), 2)
    with monkeypatch.context() as patch:
        patch.setattr(Level, "cut_graph", lambda self, *outputs: tuple(tensor.detach() for tensor in outputs))
        assert gradient_of_architecture(engine).norm() == 0


# -- a replay ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generator", ["spade", "pix2pix"])
def test_a_replay_at_the_same_weights_is_the_step(generator, monkeypatch):
    """Also where a pass moves what the next one reads, as the power iteration of spectral norm does."""
    compared = []
    replay = hops.replay_gradients

    def watched(level, weights, parameters):
        if level.name == "generator":
            weights_before = level.record.trainable
            again = replay(level, weights_before, weights_before)
            compared.extend(torch.equal(*pair) for pair in zip(level.record.gradients, again, strict=True))
        return replay(level, weights, parameters)

    monkeypatch.setattr(hops, "replay_gradients", watched)
    advance(real_engine(f"generator={generator}", "hypergradient=finite_difference"), 3)
    assert compared
    assert all(compared)
