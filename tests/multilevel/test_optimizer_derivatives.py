"""du/d∇L against differences of the optimizers' own steps, and where the second moment is zero."""

import pytest
import torch
from torch.optim import SGD, Adam, RMSprop

from genseg_betty.errors import UserError
from genseg_betty.multilevel import optimizer_derivatives
from genseg_betty.multilevel.optimizer_derivatives import check_optimizer, chunk_update_derivatives
from levels.toy import OPTIMIZERS
from operators import Operators


def update_derivatives(optimizer, before, gradients):
    """Yield du/d∇L / η, a tensor, and η for each parameter."""
    remaining = iter(gradients)
    for chunk in chunk_update_derivatives(optimizer, before, gradients):
        derivatives = chunk.derivatives
        for place in range(chunk.parameters):
            gradient = next(remaining)
            of_one = derivatives[place] if isinstance(derivatives, list) else torch.full_like(gradient, derivatives)
            yield of_one, chunk.rate


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("steps_before", [0, 3])
def test_diagonal_of_the_update(name, steps_before):
    """The optimizer's own step at two slightly different gradients; the first step too, where buffers are born."""
    source = torch.Generator().manual_seed(1)
    start = torch.randn(7, generator=source, dtype=torch.float64)
    gradients = [torch.randn(7, generator=source, dtype=torch.float64) for _ in range(steps_before + 1)]

    def after(last):
        parameter = start.clone().requires_grad_()
        optimizer = OPTIMIZERS[name]([parameter])
        if "eps" in optimizer.defaults:
            optimizer.param_groups[0]["eps"] = 0.1  # with 1e-8 Adam's first step is a sign, and its slope nothing
        for gradient in [*gradients[:-1], last]:
            before = parameter.detach().clone()
            parameter.grad = gradient.clone()
            optimizer.step()
        return before, parameter.detach(), optimizer

    before, _, optimizer = after(gradients[-1])
    [(found, rate)] = update_derivatives(optimizer, [before], [gradients[-1]])
    h = 1e-5
    expected = (after(gradients[-1] + h)[1] - after(gradients[-1] - h)[1]) / (2 * h)
    assert torch.allclose(-rate * found, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", [Adam, RMSprop])
def test_a_weight_that_never_had_a_gradient_gives_a_finite_derivative(kind):
    parameter = torch.zeros(3, requires_grad=True)
    optimizer = kind([parameter], lr=0.1)
    parameter.grad = torch.tensor([0.0, 1.0, 0.0])
    optimizer.step()
    [(found, _)] = update_derivatives(optimizer, [torch.zeros(3)], [torch.tensor([0.0, 1.0, 0.0])])
    assert torch.isfinite(found).all()


def slope(group, state, before, gradient):
    """du/d∇L / η of one parameter, as the formula reads."""
    if group["weight_decay"] and not group.get("decoupled_weight_decay"):
        gradient = gradient + group["weight_decay"] * before
    tiny = torch.finfo(gradient.dtype).tiny
    if "betas" in group:
        (beta1, beta2), step = group["betas"], state["step"].double()
        correction1, correction2 = 1 - beta1**step, 1 - beta2**step
        root = (state["exp_avg_sq"] / correction2.to(gradient)).sqrt().clamp_min(tiny)
        bend = state["exp_avg"] * gradient * ((1 - beta2) / (correction1 * correction2)).to(gradient) / root
        denominator = root + group["eps"]
        return (((1 - beta1) / correction1).to(gradient) - bend / denominator) / denominator
    if "alpha" in group:
        root = state["square_avg"].sqrt().clamp_min(tiny)
        denominator = root + group["eps"]
        return (1 - gradient * gradient * (1 - group["alpha"]) / root / denominator) / denominator
    return torch.full_like(gradient, 1.0 + group["momentum"] if group["nesterov"] else 1.0)


SHAPES = [(3,), (4, 5), (2, 3, 3, 3), (), (40,), (1,), (7, 2)]


def stepped(name, dtype=torch.float32, shapes=SHAPES):
    """An optimizer of two groups after three steps, the parameters before the last of them and its gradients."""
    torch.manual_seed(2)
    parameters = [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]
    optimizer = OPTIMIZERS[name](parameters[:3])
    optimizer.add_param_group({"params": parameters[3:], "lr": 0.5, "weight_decay": 0.3})
    for _ in range(3):
        before = [parameter.detach().clone() for parameter in parameters]
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return optimizer, before, [parameter.grad for parameter in parameters]


@pytest.mark.parametrize("chunk", [1, 30, 2**22])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_chunks_give_the_bits_of_one_parameter_at_a_time(name, dtype, chunk, monkeypatch):
    monkeypatch.setattr(optimizer_derivatives, "CHUNK", chunk)
    optimizer, before, gradients = stepped(name, dtype)
    found = update_derivatives(optimizer, [*before], [*gradients])
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            derivative, rate = next(found)
            assert rate == group["lr"]
            assert torch.equal(derivative, slope(group, optimizer.state[parameter], before.pop(0), gradients.pop(0)))
    assert not [*found]


def test_chunks_are_bounded_and_of_one_type(monkeypatch):
    monkeypatch.setattr(optimizer_derivatives, "CHUNK", 10)
    parameters = [torch.zeros(size, requires_grad=True) for size in (4, 6, 1, 11, 12, 5)]
    parameters += [torch.zeros(2, dtype=torch.float64, requires_grad=True), torch.zeros(1, requires_grad=True)]
    chunks = chunk_update_derivatives(SGD(parameters, lr=1.0), parameters, parameters)
    assert [chunk.parameters for chunk in chunks] == [2, 1, 1, 1, 1, 1, 1]


def test_identity_is_a_number_whatever_the_optimizer():
    weight = torch.zeros(3, requires_grad=True)
    [chunk] = chunk_update_derivatives(torch.optim.Adagrad([weight], lr=0.2), [weight], [weight], identity=True)
    assert (chunk.derivatives, chunk.parameters, chunk.rate) == (1.0, 1, 0.2)


@pytest.mark.parametrize("rate", [0.2, torch.tensor(0.2, dtype=torch.float64)], ids=["number", "tensor"])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_products_with_vectors(name, rate):
    optimizer, before, gradients = stepped(name)
    for group in optimizer.param_groups:
        group["lr"] = rate
    vectors = [torch.randn_like(part) for part in before]
    slopes = [slope for slope, _ in update_derivatives(optimizer, before, gradients)]
    for with_rate in (False, True):
        remaining, found = iter(vectors), []
        for chunk in chunk_update_derivatives(optimizer, before, gradients):
            found += chunk.multiply([next(remaining) for _ in range(chunk.parameters)], with_rate)
        expected = [slope * vector * (0.2 if with_rate else 1.0) for slope, vector in zip(slopes, vectors, strict=True)]
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_the_number_of_operators_does_not_grow_with_the_number_of_parameters(name):
    counts = []
    for parameters in (20, 200):
        optimizer, before, gradients = stepped(name, shapes=[(2, 2)] * parameters)
        before, gradients = ([part.detach() for part in parts] for parts in (before, gradients))
        with Operators() as seen:
            [*chunk_update_derivatives(optimizer, before, gradients)]
        counts.append(seen.count - 2 * parameters)  # less a detached view of each, which is no work of a device
    assert counts[0] == counts[1] < 60


def test_optimizers_without_a_known_derivative_are_refused():
    parameter = torch.zeros(1, requires_grad=True)
    with pytest.raises(UserError, match="Adagrad's update is not known: use one of SGD, Adam, AdamW, RMSprop"):
        check_optimizer(torch.optim.Adagrad([parameter]))
    with pytest.raises(UserError, match="not known with amsgrad"):
        check_optimizer(Adam([parameter], amsgrad=True))
    check_optimizer(SGD([parameter], lr=0.1, nesterov=True, momentum=0.9))
