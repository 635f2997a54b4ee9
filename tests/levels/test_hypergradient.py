"""The hypergradient of a whole joint step against autodiff through the unrolled step, in float64.

The reference shares no code with the levels: it writes the equations down once more, differentiates through
PyTorch's own `differentiable=True` optimizers, and takes the derivative of the result by plain autograd.
"""

import copy

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from genseg_betty.multilevel.hypergradient import exact
from genseg_betty.randomness import seeded
from levels.toy import OPTIMIZERS, batches, toy_engine
from states import joined, relative_error

STEPS_BEFORE = 3  # so that momenta and statistics are not at rest


def unrolled_update(optimizer, state, weights, gradients):
    """The weights after a step, as a differentiable function of the gradients."""
    options = {
        key: value
        for key, value in optimizer.defaults.items()
        if key not in ("foreach", "fused", "decoupled_weight_decay")
    }
    options["differentiable"] = True
    updated = []
    for weight, gradient, own in zip(weights, gradients, state, strict=True):
        parameter = weight.detach().clone()
        parameter.grad = gradient
        unrolled = type(optimizer)([parameter], **options)
        # Adam counts in float32, and its differentiable form corrects the bias in that precision.
        unrolled.state[parameter].update(own | ({"step": own["step"].double()} if "step" in own else {}))
        unrolled.step()
        updated.append(parameter)
    return updated


def find_step_seed(level):
    """The seed of the random numbers of the level's last step."""
    return level.moment_of(level.count).find_seed()


def snapshot(level):
    """Weights, optimizer state and module of a level, before a step."""
    state = [copy.deepcopy(level.optimizer.state[p]) for p in level.module.parameters()]
    return [p.detach().clone() for p in level.module.parameters()], state, copy.deepcopy(level.module)


def named(module, weights):
    return dict(zip([name for name, _ in module.named_parameters()], weights, strict=True))


def one_recorded_step(engine):
    """Advance to the step under test; return what held before it and the gradient that A's optimizer got."""
    for _ in range(STEPS_BEFORE):
        engine.advance()
    before = {name: snapshot(getattr(engine, name)) for name in ("generator", "segmenter", "architecture")}
    seen = []
    search = engine.architecture
    step = search.optimizer.step
    search.optimizer.step = lambda: (seen.extend(p.grad.clone() for p in search.trainable_parameters()), step())
    engine.advance()
    return before, seen


def alpha(before, leaves):
    module = before["architecture"][2]
    return functional_call(module, named(module, leaves), ())


def generator_step(engine, before):
    """Leaves of A, and G' as a function of them (Eq. 5)."""
    generation = engine.generator
    weights, state, module = before["generator"]
    leaves_a = [w.detach().clone().requires_grad_() for w in before["architecture"][0]]
    leaves_g = [w.clone().requires_grad_() for w in weights]
    batch = generation.batches(generation.count - 1)
    condition = batch.mask[:, None].double() * 2 - 1
    with seeded(find_step_seed(generation)):
        fake = functional_call(module, named(module, leaves_g), (condition, alpha(before, leaves_a)))
        verdict = engine.discriminator.module(condition, fake)
        loss = bce(verdict, torch.ones_like(verdict)) + 10.0 * (fake - batch.image).abs().mean()
    gradients = torch.autograd.grad(loss, leaves_g, create_graph=True)
    return leaves_a, unrolled_update(generation.optimizer, state, weights, gradients)


def segmenter_step(engine, before, new_g, leaves_a):
    """S' as a function of G' and of A where it forms the image (Eq. 7)."""
    segmentation = engine.segmenter
    weights, state, module = before["segmenter"]
    generator = before["generator"][2]
    leaves_s = [w.clone().requires_grad_() for w in weights]
    batch = segmentation.batches(segmentation.count - 1)
    with seeded(find_step_seed(segmentation)):
        mask = segmentation.augment.mask(batch.mask)
        condition = mask[:, None].double() * 2 - 1
        image = functional_call(generator, named(generator, new_g), (condition, alpha(before, leaves_a)))
        aside = copy.deepcopy(module)  # the running statistics follow the real images alone
        synthetic = segmentation.criterion(functional_call(aside, named(module, leaves_s), (image,)), mask)
        logits = functional_call(module, named(module, leaves_s), (batch.image,))
        loss = synthetic + 0.7 * segmentation.criterion(logits, batch.mask)
    gradients = torch.autograd.grad(loss, leaves_s, create_graph=True)
    return unrolled_update(segmentation.optimizer, state, weights, gradients)


def reference_gradient(engine, before, full):
    """d L_val / d A by autodiff through G' and S' (Eq. 5, 7, 9), with every factor of the learning rates."""
    leaves_a, new_g = generator_step(engine, before)
    new_s = segmenter_step(engine, before, new_g, leaves_a if full else [w.detach() for w in leaves_a])
    module = before["segmenter"][2].eval()  # its statistics have seen the real images of this step
    validation = batches(4, 2)(engine.architecture.count - 1)
    logits = functional_call(module, named(module, new_s), (validation.image,))
    return torch.autograd.grad(engine.segmenter.criterion(logits, validation.mask), leaves_a)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("hypergradient", ["exact", "exact_full"])
def test_chain_equals_unrolled_autodiff(hypergradient, optimizer):
    engine = toy_engine(hypergradient, optimizer)
    before, found = one_recorded_step(engine)
    expected = joined(reference_gradient(engine, before, full=hypergradient == "exact_full"))
    rate_s = engine.segmenter.optimizer.defaults["lr"]
    rate_g = engine.generator.optimizer.defaults["lr"]
    factor = rate_s if hypergradient == "exact_full" else rate_s * rate_g
    assert expected.norm() > 0
    assert relative_error(factor * joined(found), expected) < 1e-8


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_finite_difference_comes_close_to_exact(optimizer):
    _, expected = one_recorded_step(toy_engine("exact", optimizer))
    _, found = one_recorded_step(toy_engine("finite_difference", optimizer))
    assert relative_error(joined(found), joined(expected)) < 5e-2


def test_identity_preconditioning_leaves_the_vector_alone():
    plain = toy_engine("exact", "sgd")
    for level in plain.levels:  # plain gradient descent has the identity as its derivative
        level.optimizer.param_groups[0].update(momentum=0.0, weight_decay=0.0)
    same = toy_engine("exact", "sgd", precondition="identity")
    for level in same.levels:
        level.optimizer.param_groups[0].update(momentum=0.0, weight_decay=0.0)
    assert torch.equal(joined(one_recorded_step(plain)[1]), joined(one_recorded_step(same)[1]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_hops_one_by_one(optimizer):
    """d⟨v, S'⟩/dG' and d⟨v, G'⟩/dA for random v, each against an unrolled step of that level alone."""
    engine = toy_engine("exact", optimizer)
    hops = {}

    def hop(level, lower):
        vector = tuple(torch.randn_like(p) for p in level.trainable_parameters())
        hops[level.name] = vector, exact(vector, level, lower, sync=False)

    for _ in range(STEPS_BEFORE):
        engine.advance()
    before = {name: snapshot(getattr(engine, name)) for name in ("generator", "segmenter", "architecture")}
    engine.architecture.backward = lambda *_, **__: (
        hop(engine.segmenter, engine.generator), hop(engine.generator, engine.architecture)
    )  # fmt: skip
    engine.advance()

    vector, found = hops["generator"]
    leaves, new_g = generator_step(engine, before)
    expected = torch.autograd.grad(new_g, leaves, vector)
    rate = engine.generator.optimizer.defaults["lr"]
    assert relative_error(rate * joined(found), joined(expected)) < 1e-8

    vector, found = hops["segmenter"]
    new_g = [p.detach().clone().requires_grad_() for p in engine.generator.trainable_parameters()]
    new_s = segmenter_step(engine, before, new_g, [w.detach() for w in before["architecture"][0]])
    expected = torch.autograd.grad(new_s, new_g, vector)
    rate = engine.segmenter.optimizer.defaults["lr"]
    assert relative_error(rate * joined(found), joined(expected)) < 1e-8
