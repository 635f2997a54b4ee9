"""Convolutions of shallow volumes by slices, beside PyTorch's own in float64."""

import copy

import pytest
import torch
from torch.nn import functional as F

from genseg_betty.generators import convolution3d
from genseg_betty.generators.convolution3d import DoublingConv3d, HalvingConv3d, conv3d, conv_transpose3d

PLAIN = {conv3d: F.conv3d, conv_transpose3d: F.conv_transpose3d}


@pytest.mark.parametrize("kernel", [4, 6, 8])
@pytest.mark.parametrize("depth", [2, 4, 6])
@pytest.mark.parametrize("function", PLAIN)
def test_values_and_derivatives(function, depth, kernel, monkeypatch):
    monkeypatch.setattr(convolution3d, "is_unsound", lambda *_: True)
    source = torch.Generator().manual_seed(0)
    transposed = function is conv_transpose3d
    sides = (depth // 2, 4, 5) if transposed else (depth, 8, 10)
    x = torch.randn(2, 3, *sides, dtype=torch.float64, generator=source, requires_grad=True)
    shape = (3, 5) if transposed else (5, 3)
    weight = torch.randn(*shape, kernel, kernel, kernel, dtype=torch.float64, generator=source, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, generator=source, requires_grad=True)
    inputs = (x, weight, bias)
    found, expected = function(*inputs), PLAIN[function](*inputs, stride=2, padding=kernel // 2 - 1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-11)
    for pair in zip(*(torch.autograd.grad(y.pow(3).sum(), inputs) for y in (found, expected)), strict=True):
        torch.testing.assert_close(*pair, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize(("kind", "depth", "sliced"), [
    (HalvingConv3d, 8, True), (HalvingConv3d, 10, False), (DoublingConv3d, 4, True), (DoublingConv3d, 5, False),
])  # fmt: skip
def test_only_maps_no_deeper_than_the_kernel_are_sliced(kind, depth, sliced, monkeypatch):
    """PyTorch's own must not run there: its backward pass would end the process."""
    called = []
    for name in ("conv3d", "conv_transpose3d"):
        plain = getattr(F, name)
        monkeypatch.setattr(F, name, lambda *given, plain=plain: called.append(1) or plain(*given))
    layer = kind(2, 3, 8, 2, 3)
    layer(torch.randn(1, 2, depth, 8, 8)).square().sum().backward()
    assert bool(called) is not sliced


def poison() -> None:
    """Leave NaN in the memory that the next tensors get, so that whoever reads beyond its own is found out."""
    for power in range(10, 23):
        taken = [torch.full((2**power,), torch.nan) for _ in range(4)]
        del taken


@pytest.mark.parametrize(
    ("kernel", "depth"), [*((kernel, depth) for kernel in (4, 6, 8) for depth in (4, 6, 8, 10)), (12, 12), (12, 14)]
)
@pytest.mark.parametrize("kind", [HalvingConv3d, DoublingConv3d])
def test_gradients_do_not_depend_on_what_lies_in_memory(kind, kernel, depth):
    """PyTorch's own, with kernels of 8 at depth 8 and of 12 at depth 12, return NaN here."""
    torch.manual_seed(0)
    layer = kind(3, 5, kernel, 2, kernel // 2 - 1)
    exact = copy.deepcopy(layer).double()
    x = torch.randn(2, 3, *((depth // 2, 4, 4) if kind is DoublingConv3d else (depth, 8, 8)))
    exact(x.double()).square().sum().backward()
    poison()
    output = layer(x)
    poison()
    output.square().sum().backward()
    for found, expected in zip(layer.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(found.grad.double(), expected.grad, rtol=1e-4, atol=1e-3)
