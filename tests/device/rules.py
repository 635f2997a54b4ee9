"""What is refused: operators that a GPU has to be waited for, and calls that work on the CPU and fail on CUDA."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from device.places import find_tensors, lies_on_device


class Call(NamedTuple):
    """An operator that is about to run."""

    op: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def argument(self, name: str) -> Any:
        """The argument of that name in the operator's schema; None where it is left out."""
        if name in self.kwargs:
            return self.kwargs[name]
        names = [argument.name for argument in self.op._schema.arguments]
        position = names.index(name) if name in names else len(self.args)
        return self.args[position] if position < len(self.args) else None


@dataclass(frozen=True)
class Rule:
    """Operators that are refused on the device, where `applies` holds for the call, and why."""

    operators: tuple[str, ...]
    reason: str
    applies: Callable[[Call], bool] = lambda call: True


def _has_mask_among_indices(call: Call) -> bool:
    indices = [index for index in call.argument("indices") if index is not None]
    masks = [index for index in indices if index.dtype in (torch.bool, torch.uint8)]
    value = call.argument("values")
    # One mask and one number of main memory become `masked_fill`, which needs no count.
    filled = value is not None and value.numel() == 1 and not lies_on_device(value) and len(indices) == 1
    return bool(masks) and not (filled and not call.argument("accumulate"))


def _asks_gradient_of_no_weight(call: Call) -> bool:
    return call.argument("weight") is None and any(call.argument("output_mask")[1:])


def _has_other_strides(call: Call) -> bool:
    lists = [call.argument(name) for name in ("self", "grads", "exp_avgs", "exp_avg_sqs", "momentum_buffer_list")]
    weights, *others = [tensors for tensors in lists if tensors]
    return any(_strides(w) != _strides(o) for other in others for w, o in zip(weights, other, strict=True))


def _strides(tensor: Tensor) -> list[int]:
    """Those of sides longer than 1, as the kernel compares them."""
    return [stride for stride, side in zip(tensor.stride(), tensor.shape, strict=True) if side != 1]


def _is_of_integers(call: Call) -> bool:
    return not all(t.is_floating_point() or t.is_complex() for t in find_tensors(call.args, call.kwargs))


WAITS = (
    Rule(("_local_scalar_dense", "is_nonzero", "equal"), "the host asks for a number of it"),
    Rule(("nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount"),
         "the shape of the result depends on its values"),
    Rule(("index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_"),
         "how many elements a mask selects depends on its values", _has_mask_among_indices),
    Rule(("repeat_interleave",), "the shape of the result depends on its values",
         lambda call: call.argument("output_size") is None),
    Rule(("_linalg_check_errors",), "the host asks whether all went well"),
)  # fmt: skip
"""What the host has to wait for. Refused within a step."""

FAILS = (
    Rule(("native_batch_norm_backward",),
         "its CUDA kernel makes the gradients of weight and bias like the weight, and there is none: 'tensor does not "
         "have a device'", _asks_gradient_of_no_weight),
    Rule(("_fused_adam_", "_fused_adamw_", "_fused_sgd_"),
         "its CUDA kernel takes weights, gradients and moments of the same strides alone", _has_other_strides),
    Rule(("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "vdot", "convolution"),
         "CUDA has no products of matrices of integers", _is_of_integers),
)  # fmt: skip
"""What works on the CPU, and fails on CUDA. Refused everywhere."""

TAKES_NUMBERS = ("fill_", "fill", "masked_fill", "masked_fill_", "index_put", "index_put_", "_index_put_impl_",
                 "_foreach_mul", "_foreach_mul_", "_foreach_div", "_foreach_div_")  # fmt: skip
"""Operators that take a tensor without dimensions from main memory, beside all that work element by element."""
INDEXING = ("index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_")
"""Operators that take indices from main memory: they copy them to the device."""
COPYING = ("copy_", "_foreach_copy_")
"""Operators from place to place."""


@dataclass(frozen=True)
class Operator:
    """What an operator's schema says, and which rules are about it.

    Attributes:
        name: without namespace and overload, as "add_".
        written: positions of the arguments that it writes.
        names_device: whether it has an argument `device`.
        pointwise: whether it works element by element.
        fails, waits: the rules of FAILS and WAITS.
    """

    name: str
    written: frozenset[int]
    names_device: bool
    pointwise: bool
    fails: tuple[Rule, ...]
    waits: tuple[Rule, ...]


@cache
def describe_operator(op: Any) -> Operator:
    """The description of one of torch's operators, such as `torch.ops.aten.add.Tensor`."""
    arguments = op._schema.arguments
    name = op._schema.name.split("::")[-1]
    return Operator(
        name,
        frozenset(at for at, given in enumerate(arguments) if given.alias_info and given.alias_info.is_write),
        any(given.name == "device" for given in arguments),
        torch.Tag.pointwise in op.tags,
        tuple(rule for rule in FAILS if name in rule.operators),
        tuple(rule for rule in WAITS if name in rule.operators),
    )
