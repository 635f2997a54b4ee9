"""First and second derivatives of a layer, in any precision, to compare two ways to compute them."""

import torch


def drawn_like(tensor):
    """The same numbers in float32 and float64, but for their rounding."""
    return torch.randn(tensor.shape, dtype=torch.float64).to(tensor.dtype)


def derivatives(layer, x, within):
    """Values, first derivatives and statistics, and second derivatives, of something smooth of the layer's output."""
    torch.manual_seed(1)
    with within:
        y = layer(x)
    ends = [x, *layer.parameters()]
    first = torch.autograd.grad((y * drawn_like(y)).sum() + (y**3).sum(), ends, create_graph=True)
    second = torch.autograd.grad(first, ends, [drawn_like(g) for g in first])
    return [y, *first, *layer.buffers()], list(second)


def assert_near(found, expected, rtol):
    """Each tensor is near the other's, up to `rtol` of its greatest value."""
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, its, rtol=rtol, atol=rtol * float(its.abs().max()))
