"""Convolutions of shallow volumes by slices, beside PyTorch's own in float64."""

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
    (HalvingConv3d, 6, True), (HalvingConv3d, 8, False), (DoublingConv3d, 3, True), (DoublingConv3d, 4, False),
])  # fmt: skip
def test_only_maps_shallower_than_the_kernel_are_sliced(kind, depth, sliced, monkeypatch):
    """PyTorch's own must not run there: its backward pass would end the process."""
    called = []
    for name in ("conv3d", "conv_transpose3d"):
        plain = getattr(F, name)
        monkeypatch.setattr(F, name, lambda *given, plain=plain: called.append(1) or plain(*given))
    layer = kind(2, 3, 8, 2, 3)
    layer(torch.randn(1, 2, depth, 8, 8)).square().sum().backward()
    assert bool(called) is not sliced
