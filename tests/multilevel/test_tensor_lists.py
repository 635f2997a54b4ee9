"""Operators on lists of tensors do what they would do one by one."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from genseg_betty.multilevel import tensor_lists
from genseg_betty.multilevel.tensor_lists import clone_together, restore_unless


def make_tensors():
    """Of several types, sizes and layouts; some that an autograd graph holds."""
    torch.manual_seed(0)
    image = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    double = torch.randn(4, dtype=torch.float64)
    return [torch.randn(7), torch.tensor(3), image, double, torch.tensor(5), torch.randn(900)]


def test_copies_are_equal_and_apart():
    tensors = [*make_tensors(), torch.nn.Parameter(torch.randn(3))]
    copies = clone_together(tensors)
    for copy, tensor in zip(copies, tensors, strict=True):
        assert torch.equal(copy, tensor)
        assert (copy.dtype, copy.stride(), copy.requires_grad) == (tensor.dtype, tensor.stride(), False)
        assert copy.data_ptr() != tensor.data_ptr()
    assert clone_together([]) == []


@pytest.mark.parametrize("small", [0, 10, 10**6])
@pytest.mark.parametrize("kept", [True, False])
def test_values_return_unless_kept(kept, small, monkeypatch):
    """Also those that are not finite."""
    monkeypatch.setattr(tensor_lists, "SMALL", small)
    tensors, before = make_tensors(), clone_together(make_tensors())
    for tensor in tensors:
        tensor.add_(1)
    tensors[0].fill_(torch.nan)
    after = clone_together(tensors)
    restore_unless(torch.tensor(kept), tensors, before)
    for tensor, expected in zip(tensors, after if kept else before, strict=True):
        assert torch.equal(tensor.nan_to_num(9), expected.nan_to_num(9))


def test_small_tensors_take_few_operators():
    tensors = [torch.randn(5) for _ in range(50)]
    count = 0

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            nonlocal count
            count += not operator.is_view and operator is not torch.ops.aten.empty_like.default
            return operator(*args, **(kwargs or {}))

    before = clone_together(tensors)
    with Counting():
        clone_together(tensors)
        restore_unless(torch.tensor(False), tensors, before)
    assert count == 5  # a copy; two rows, a choice, a copy


def test_a_graph_that_holds_the_tensors_can_still_be_walked():
    weight = torch.randn(3, requires_grad=True)
    loss = (weight.exp() * weight).sum()
    restore_unless(torch.tensor(True), [weight], clone_together([weight]))
    loss.backward()
