"""Second derivatives of batch and instance normalisation: against torch's own and against differences."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from genseg_betty.multilevel.double_backward import WrittenOutDoubleBackward
from levels.real import real_engine
from levels.toy import advance
from multilevel.second_derivatives import assert_near, derivatives, drawn_like
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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_against_torchs_own(name, dtype):
    expected, found = (
        derivatives(*layer_and_input(name, dtype), within) for within in (nullcontext(), WrittenOutDoubleBackward())
    )
    for mine, its in zip(found[0], expected[0], strict=True):
        assert torch.equal(mine, its)
    assert_near(found[1], expected[1], 1e-12 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize("name", ["batch", "instance with weights"])
def test_against_differences(name):
    layer, x = layer_and_input(name, torch.float64)
    weight, bias = layer.parameters()

    def normalise(x, weight, bias):
        with WrittenOutDoubleBackward():
            return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradgradcheck(normalise, (x, weight, bias))


def test_what_lies_far_from_zero_is_rounded_no_worse_than_by_torch():
    """A mean of a hundred deviations: x̂ is taken from differences."""
    layer, _ = layer_and_input("batch", torch.float64)
    far = torch.randn(3, 4, 6, 7) + 100
    _, exact = derivatives(layer, far.double().requires_grad_(), nullcontext())
    narrow = copy.deepcopy(layer).float()
    errors = []
    for within in (WrittenOutDoubleBackward(), nullcontext()):
        _, found = derivatives(narrow, far.clone().requires_grad_(), within)
        errors.append(max(float((f - e).norm() / e.norm()) for f, e in zip(found, exact, strict=True)))
    assert errors[0] < max(2 * errors[1], 1e-4)


def test_evaluation_and_bfloat16_are_left_to_torch():
    for name, dtype in (("batch", torch.bfloat16), ("batch", torch.float32)):
        layer, x = layer_and_input(name, dtype)
        layer.train(dtype == torch.bfloat16)
        with WrittenOutDoubleBackward():
            y = layer(x)
        assert "Forward" not in type(y.grad_fn).__name__


@pytest.mark.parametrize("name", ["batch", "instance"])
def test_a_single_value_a_channel_is_refused_as_by_torch(name):
    layer, _ = layer_and_input(name, torch.float32)
    with WrittenOutDoubleBackward(), pytest.raises(ValueError, match="Expected more than 1"):
        layer(torch.zeros(1, 4, 1, 1, requires_grad=True))


# -- what is computed --------------------------------------------------------------------------------------------


class Operators(TorchDispatchMode):
    """Collects the names of what runs within it, and refuses what a GPU cannot do."""

    VIEWS = ("view", "_unsafe_view", "expand", "unsqueeze", "detach", "unbind", "select", "empty_like")

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.removeprefix("aten::")
        if name == "native_batch_norm_backward":
            weight, wanted = args[2], args[9]
            assert weight is not None or wanted == [True, False, False], "tensor does not have a device"
        if name not in self.VIEWS:
            self.names.append(name)
        return function(*args, **(kwargs or {}))


def first_derivative(name):
    """x, γ and β, and the first derivative of something of their normalised input by them, as functions."""
    layer, x = layer_and_input(name, torch.float64)
    with WrittenOutDoubleBackward():
        y = layer(x)
    ends = [x, *layer.parameters()]
    with Operators():
        return ends, torch.autograd.grad(y, ends, y.detach() ** 2, create_graph=True)


@pytest.mark.parametrize(
    ("name", "most"), [("instance", 17), ("batch without weights", 17), ("batch", 21), ("instance with weights", 23)]
)
def test_few_operators_and_none_that_a_gpu_lacks(name, most):
    ends, first = first_derivative(name)
    vectors = [drawn_like(part) for part in first]
    with Operators() as seen:
        torch.autograd.grad(first, ends[:1], vectors)
    assert len(seen.names) <= most, seen.names


def test_a_vector_that_is_not_there_leaves_its_terms_out():
    """By way of ∂L/∂γ and ∂L/∂β alone, each and both; against torch's own."""
    for chosen in ([1], [2], [1, 2], [0, 2], [0, 1]):
        found = []
        for within in (nullcontext(), WrittenOutDoubleBackward()):
            layer, x = layer_and_input("batch", torch.float64)
            torch.manual_seed(1)
            with within:
                y = layer(x)
            first = torch.autograd.grad((y**3).sum(), [x, *layer.parameters()], create_graph=True)
            parts = [first[place] for place in chosen]
            vectors = [drawn_like(part) for part in parts]
            found.append(torch.autograd.grad(parts, [x, *layer.parameters()], vectors))
        for its, mine in zip(*found, strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-12, atol=1e-12 * float(its.abs().max()))


def test_weights_that_nobody_asks_for_cost_nothing():
    ends, first = first_derivative("batch")
    with Operators() as seen:
        torch.autograd.grad(first[1], ends[:1], drawn_like(first[1]))
    assert "addcmul_" not in seen.names
    assert seen.names.count("native_batch_norm_backward") == 1


def test_a_third_derivative_is_refused():
    ends, first = first_derivative("batch")
    with pytest.raises(RuntimeError, match="a third derivative was asked for"):
        torch.autograd.grad(first[0].sum(), ends, create_graph=True)


# -- in a whole joint step ---------------------------------------------------------------------------------------


def plainly(self, function, types, args=(), kwargs=None):
    return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "overrides", [["generator.norm=batch"], ["backbone=unet", "backbone.activation_checkpointing=true"]], ids=str
)
def test_the_gradient_of_the_architecture_is_that_of_torchs_own(overrides, monkeypatch):
    engines = [advance(real_engine("hypergradient=exact", *overrides), 3) for _ in range(2)]
    found = gradient_of_architecture(engines[0])
    with monkeypatch.context() as patch:
        patch.setattr(WrittenOutDoubleBackward, "__torch_function__", plainly)
        expected = gradient_of_architecture(engines[1])
    assert expected.norm() > 0
    assert (found - expected).norm() < 0.02 * expected.norm()  # float32, the first steps of Adam
