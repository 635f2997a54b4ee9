"""du/d∇L against differences of the optimizers' own steps, and where the second moment is zero."""

import pytest
import torch
from torch.optim import SGD, Adam, RMSprop

from genseg_betty.errors import UserError
from genseg_betty.levels.updates import check_optimizer, update_derivatives
from levels.toy import OPTIMIZERS


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


def test_optimizers_without_a_known_derivative_are_refused():
    parameter = torch.zeros(1, requires_grad=True)
    with pytest.raises(UserError, match="Adagrad's update is not known: use one of SGD, Adam, AdamW, RMSprop"):
        check_optimizer(torch.optim.Adagrad([parameter]))
    with pytest.raises(UserError, match="not known with amsgrad"):
        check_optimizer(Adam([parameter], amsgrad=True))
    check_optimizer(SGD([parameter], lr=0.1, nesterov=True, momentum=0.9))
