"""Second derivatives of batch and instance normalisation: against torch's own and against differences."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from genseg_betty.normalisation import TwiceNormalised
from levels.real import real_engine
from levels.toy import advance
from workload import gradient_of_architecture

LAYERS = {
    "batch": lambda: nn.BatchNorm2d(4),
    "batch without weights": lambda: nn.BatchNorm2d(4, affine=False),
    "batch without statistics": lambda: nn.BatchNorm2d(4, track_running_stats=False, eps=0.3),
    "batch of volumes": lambda: nn.BatchNorm3d(4, momentum=0.4),
    "batch of vectors": lambda: nn.BatchNorm1d(4),
    "instance": lambda: nn.InstanceNorm2d(4),
    "instance with weights": lambda: nn.InstanceNorm2d(4, affine=True),
    "instance of volumes": lambda: nn.InstanceNorm3d(4, affine=True),
    "instance with statistics": lambda: nn.InstanceNorm2d(4, track_running_stats=True),
}
SPACE = {nn.BatchNorm1d: (), nn.BatchNorm3d: (5, 6, 7), nn.InstanceNorm3d: (5, 6, 7)}


def layer_and_input(name, dtype):
    torch.manual_seed(0)
    layer = LAYERS[name]().to(dtype)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer, (torch.randn(3, 4, *SPACE.get(type(layer), (6, 7)), dtype=dtype) * 2 + 1).requires_grad_()


def drawn_like(tensor):
    """The same numbers in float32 and float64, but for their rounding."""
    return torch.randn(tensor.shape, dtype=torch.float64).to(tensor.dtype)


def derivatives(layer, x, within):
    """Values, first and second derivatives of something smooth of the layer's output, and its statistics."""
    torch.manual_seed(1)
    with within:
        y = layer(x)
    ends = [x, *layer.parameters()]
    first = torch.autograd.grad((y * drawn_like(y)).sum() + (y**3).sum(), ends, create_graph=True)
    second = torch.autograd.grad(first, ends, [drawn_like(g) for g in first])
    return [y, *first, *layer.buffers()], list(second)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_against_torchs_own(name, dtype):
    expected, found = (
        derivatives(*layer_and_input(name, dtype), within) for within in (nullcontext(), TwiceNormalised())
    )
    for mine, its in zip(found[0], expected[0], strict=True):
        assert torch.equal(mine, its)
    rtol = 1e-12 if dtype == torch.float64 else 1e-4
    for mine, its in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(mine, its, rtol=rtol, atol=rtol * float(its.abs().max()))


@pytest.mark.parametrize("name", ["batch", "instance with weights"])
def test_against_differences(name):
    layer, x = layer_and_input(name, torch.float64)
    weight, bias = layer.parameters()

    def normalise(x, weight, bias):
        with TwiceNormalised():
            return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradgradcheck(normalise, (x, weight, bias))


def test_what_lies_far_from_zero_is_rounded_no_worse_than_by_torch():
    """A mean of a hundred deviations: x̂ is taken from differences."""
    layer, _ = layer_and_input("batch", torch.float64)
    far = torch.randn(3, 4, 6, 7) + 100
    _, exact = derivatives(layer, far.double().requires_grad_(), nullcontext())
    narrow = copy.deepcopy(layer).float()
    errors = []
    for within in (TwiceNormalised(), nullcontext()):
        _, found = derivatives(narrow, far.clone().requires_grad_(), within)
        errors.append(max(float((f - e).norm() / e.norm()) for f, e in zip(found, exact, strict=True)))
    assert errors[0] < max(2 * errors[1], 1e-4)


def test_evaluation_and_bfloat16_are_left_to_torch():
    for name, dtype in (("batch", torch.bfloat16), ("batch", torch.float32)):
        layer, x = layer_and_input(name, dtype)
        layer.train(dtype == torch.bfloat16)
        with TwiceNormalised():
            y = layer(x)
        assert "Forward" not in type(y.grad_fn).__name__


@pytest.mark.parametrize("name", ["batch", "instance"])
def test_a_single_value_a_channel_is_refused_as_by_torch(name):
    layer, _ = layer_and_input(name, torch.float32)
    with TwiceNormalised(), pytest.raises(ValueError, match="Expected more than 1"):
        layer(torch.zeros(1, 4, 1, 1, requires_grad=True))


def plainly(self, function, types, args=(), kwargs=None):
    return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "overrides", [["generator.norm=batch"], ["backbone=unet", "backbone.activation_checkpointing=true"]], ids=str
)
def test_the_gradient_of_the_architecture_is_that_of_torchs_own(overrides, monkeypatch):
    engines = [advance(real_engine("hypergradient=exact", *overrides), 3) for _ in range(2)]
    found = gradient_of_architecture(engines[0])
    with monkeypatch.context() as patch:
        patch.setattr(TwiceNormalised, "__torch_function__", plainly)
        expected = gradient_of_architecture(engines[1])
    assert expected.norm() > 0
    assert (found - expected).norm() < 0.02 * expected.norm()  # float32, the first steps of Adam
