"""Second derivatives of convolutions: against torch's own and against differences, and what is not computed."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from genseg_betty.multilevel.double_backward import WrittenOutDoubleBackward
from multilevel.second_derivatives import assert_near, derivatives, drawn_like

LAYERS = {
    "3x3": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "without bias": lambda: nn.Conv2d(4, 6, 3, bias=False),
    "4x4 halving": lambda: nn.Conv2d(4, 6, 4, 2, 1),
    "8x8 halving": lambda: nn.Conv2d(4, 6, 8, 2, 3),
    "1x1": lambda: nn.Conv2d(4, 6, 1),
    "oblong": lambda: nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 0), dilation=(1, 2)),
    "dilated": lambda: nn.Conv2d(4, 6, 3, padding=2, dilation=2),
    "grouped": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, padding=1, groups=4),
    "padded by name": lambda: nn.Conv2d(4, 6, 3, padding="same"),
    "padded by reflection": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "4x4 doubling": lambda: nn.ConvTranspose2d(4, 6, 4, 2, 1),
    "doubling, grouped": lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2, bias=False),
    "doubling, dilated": lambda: nn.ConvTranspose2d(4, 6, 3, 2, dilation=2),
    "volumes": lambda: nn.Conv3d(4, 6, 3, padding=1),
    "volumes, halving": lambda: nn.Conv3d(4, 6, 4, 2, 1, groups=2),
    "volumes, doubling": lambda: nn.ConvTranspose3d(4, 6, 4, 2, 1),
    "vectors": lambda: nn.Conv1d(4, 6, 3),
}
LEFT_TO_TORCH = {"padded by name", "vectors"}
SPACE = {nn.Conv1d: (9,), nn.Conv3d: (6, 8, 6), nn.ConvTranspose3d: (4, 5, 3)}


def layer_and_input(name, dtype, layout=torch.contiguous_format):
    torch.manual_seed(0)
    layer = LAYERS[name]().to(dtype)
    x = torch.randn(2, 4, *SPACE.get(type(layer), (10, 12)), dtype=torch.float64).to(dtype)
    return layer, x.contiguous(memory_format=layout).requires_grad_()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_against_torchs_own(name, dtype):
    expected, found = (
        derivatives(*layer_and_input(name, dtype), within) for within in (nullcontext(), WrittenOutDoubleBackward())
    )
    for mine, its in zip(found[0], expected[0], strict=True):
        assert torch.equal(mine, its)
        assert mine.stride() == its.stride()
    assert_near(found[1], expected[1], 1e-12 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize("name", ["3x3", "4x4 halving", "4x4 doubling"])
def test_channels_last(name):
    expected, found = (
        derivatives(*layer_and_input(name, torch.float32, torch.channels_last), within)
        for within in (nullcontext(), WrittenOutDoubleBackward())
    )
    for mine, its in zip(found[0], expected[0], strict=True):
        assert torch.equal(mine, its)
        assert mine.stride() == its.stride()
    assert_near(found[1], expected[1], 1e-4)


@pytest.mark.parametrize("name", ["oblong", "grouped", "doubling, grouped", "volumes, halving"])
def test_against_differences(name):
    layer, x = layer_and_input(name, torch.float64)
    names = [part for part, _ in layer.named_parameters()]

    def convolve(x, *parts):
        with WrittenOutDoubleBackward():
            return torch.func.functional_call(layer, dict(zip(names, parts, strict=True)), (x,))

    assert torch.autograd.gradgradcheck(convolve, (x[:1, :, :8, :6], *layer.parameters()), fast_mode=True)


@pytest.mark.parametrize("name", sorted(LAYERS.keys() - LEFT_TO_TORCH))
def test_under_autocast(name):
    """In the precision that torch would cast to, and with gradients in the weights' own."""
    within = torch.autocast("cpu", torch.bfloat16)
    torchs = derivatives(*layer_and_input(name, torch.float32), within)
    layer, x = layer_and_input(name, torch.float32)
    torch.manual_seed(1)
    with within, WrittenOutDoubleBackward():
        found = derivatives(layer, x, nullcontext())
    assert [part.dtype for part in found[0]] == [part.dtype for part in torchs[0]]
    for mine, its in zip((*found[0], *found[1]), (*torchs[0], *torchs[1]), strict=True):
        assert (mine - its).norm().item() <= 0.03 * its.norm().item()


def test_double_precision_is_not_cast_by_autocast():
    layer, x = layer_and_input("3x3", torch.float64)
    with torch.autocast("cpu", torch.bfloat16), WrittenOutDoubleBackward():
        assert layer(x).dtype == torch.float64


@pytest.mark.parametrize("name", sorted(LEFT_TO_TORCH))
def test_what_is_left_to_torch(name):
    layer, x = layer_and_input(name, torch.float32)
    with WrittenOutDoubleBackward():
        assert "_Convolution" not in layer(x).grad_fn.name()


def test_what_needs_no_gradient_is_left_to_torch():
    layer, x = layer_and_input("3x3", torch.float32)
    with WrittenOutDoubleBackward(), torch.no_grad():
        assert layer(x).grad_fn is None
    layer.requires_grad_(False)
    with WrittenOutDoubleBackward():
        assert layer(x.detach()).grad_fn is None
        assert layer(x[0]).shape == (6, 10, 12)  # an image without a batch
        assert functional.conv2d(input=x, weight=layer.weight).grad_fn.name() == "_ConvolutionBackward"


# -- what is computed --------------------------------------------------------------------------------------------


class Convolutions(TorchDispatchMode):
    """The convolutions that run within it: the parts of a derivative that were asked for, and the kernels' sizes."""

    def __init__(self):
        super().__init__()
        self.parts = []
        self.kernels = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution.default:
            self.parts.append("value")
            self.kernels.append(tuple(args[1].shape[2:]))
        if function is torch.ops.aten.convolution_backward.default:
            names = ("by x", "by W", "by b")
            self.parts.append(" ".join(name for name, wanted in zip(names, args[10], strict=True) if wanted))
            self.kernels.append(tuple(args[2].shape[2:]))
        return function(*args, **(kwargs or {}))


def first_derivative(fixed_input=False):
    """x, W, b and the first derivative of something of their convolution by those that need one."""
    layer, x = layer_and_input("3x3", torch.float64)
    x.requires_grad_(not fixed_input)
    with WrittenOutDoubleBackward():
        y = layer(x)
    ends = [part for part in (x, layer.weight, layer.bias) if part.requires_grad]
    with Convolutions() as seen:
        first = torch.autograd.grad((y**3).sum(), ends, create_graph=True)
    return x, layer, first, seen.parts


def test_the_first_derivative_leaves_out_what_needs_none():
    assert first_derivative()[-1] == ["by x by W by b"]
    assert first_derivative(fixed_input=True)[-1] == ["by W by b"]


def test_a_walk_to_the_images_computes_nothing_of_the_weights():
    """Although the weights need a gradient: nobody asked for it in this walk."""
    x, _, first, _ = first_derivative()
    with Convolutions() as seen:
        torch.autograd.grad(first, [x], [drawn_like(g) for g in first])
    # By g two values and by x one derivative; then on from g, through y, to x.
    assert seen.parts == ["value", "value", "by x", "by x"]
    assert set(seen.kernels) == {(3, 3)}


def test_a_walk_to_the_weights_computes_nothing_of_the_images():
    _, layer, first, _ = first_derivative()
    with Convolutions() as seen:
        torch.autograd.grad(first, [layer.weight], [drawn_like(g) for g in first])
    assert seen.parts == ["value", "value", "by W", "by W"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [(0, ["value", "by W", "by x by W"]), (1, ["value", "by x", "by x by W"]), (2, ["by x by W"])],
    ids=["v_x", "v_W", "v_b"],
)
def test_the_terms_of_a_vector_that_is_not_there_are_left_out(chosen, expected):
    x, layer, first, _ = first_derivative()
    with Convolutions() as seen:
        torch.autograd.grad(first[chosen], [x, layer.weight], drawn_like(first[chosen]), allow_unused=True)
    assert sorted(seen.parts) == sorted(expected)


def test_a_third_derivative_is_refused():
    x, _, first, _ = first_derivative()
    with pytest.raises(RuntimeError, match="a third derivative was asked for"):
        torch.autograd.grad(first, [x], [drawn_like(g) for g in first], create_graph=True)
