"""The summed kernel of a cell: values, first and second derivatives, against torch's own of padded kernels."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from genseg_betty.multilevel.double_backward.kernel_sum import sum_kernels

SHAPES = {"2D": (2, 3), "3D": (2, 2)}
SIZES = {"whole": 8, "cut": 6, "cut below the smallest": 2}


def pad_and_sum(alpha, weights, size):
    """The plain way: every kernel padded, or cropped, to the size of the sum."""
    total = 0.0
    for factor, weight in zip(alpha.unbind(), weights, strict=True):
        margin = (size - weight.shape[-1]) // 2
        total = total + factor * F.pad(weight, [margin] * (2 * (weight.ndim - 2)))
    return total


def draw(space, dtype=torch.float64):
    torch.manual_seed(0)
    dimensions = int(space[0])
    weights = [torch.randn(*SHAPES[space], *[k] * dimensions, dtype=dtype, requires_grad=True) for k in (4, 6, 8)]
    return torch.tensor([0.2, 0.5, 0.3], dtype=dtype, requires_grad=True), weights


@pytest.mark.parametrize("space", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_against_torchs_own(space, size):
    alpha, weights = draw(space)
    found = []
    for summed in (sum_kernels, pad_and_sum):
        torch.manual_seed(1)
        total = summed(alpha, weights, SIZES[size])
        ends = [alpha, *weights]
        first = torch.autograd.grad((total * torch.randn_like(total)).sum() + (total**3).sum(), ends, create_graph=True)
        second = torch.autograd.grad(first, ends, [torch.randn_like(g) for g in first])
        found.append([total, *first, *second])
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("wanted", [0, 1, 3])
def test_each_second_derivative_by_itself(wanted):
    """Where a walk asks for one input alone, what the others need is left out."""
    alpha, weights = draw("2D")
    found = []
    for summed in (sum_kernels, pad_and_sum):
        torch.manual_seed(1)
        total = summed(alpha, weights, 8)
        ends = [alpha, *weights]
        first = torch.autograd.grad((total**3).sum(), ends[wanted], create_graph=True)[0]
        found.append([first, *torch.autograd.grad(first, ends[wanted], torch.randn_like(first))])
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-12, atol=1e-12)


def test_against_differences():
    alpha, weights = draw("2D")
    small = [weight.detach()[:1, :1].requires_grad_() for weight in weights]
    assert torch.autograd.gradgradcheck(lambda *inputs: sum_kernels(inputs[0], inputs[1:], 8) ** 2, (alpha, *small))


def test_no_kernel_is_padded():
    class Pads(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            assert "pad" not in operator._schema.name
            return operator(*args, **(kwargs or {}))

    alpha, weights = draw("2D", torch.float32)
    with Pads():
        total = sum_kernels(alpha, weights, 8)
        first = torch.autograd.grad((total**2).sum(), [alpha, *weights], create_graph=True)
        torch.autograd.grad(first, [alpha, *weights], [torch.ones_like(g) for g in first])


def test_the_layout_of_the_kernels_is_kept():
    alpha, weights = draw("2D", torch.float32)
    last = [weight.detach().contiguous(memory_format=torch.channels_last) for weight in weights]
    assert sum_kernels(alpha, last, 8).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(sum_kernels(alpha, last, 8), sum_kernels(alpha, weights, 8))
