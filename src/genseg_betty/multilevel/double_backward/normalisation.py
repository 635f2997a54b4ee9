"""Batch and instance normalisation whose second derivative takes few passes over the images.

The double backward of torch's batch normalisation is put together of many operators, each as large as what is
normalised: half of what the segmenter's hop of the hypergradient read and wrote (23 of 46 GB at 256 x 256, batch 2).
Here it is written out, by torch's own fused first derivative. With n values a channel, x̂ = (x - μ) r, r = 1/√(σ² + ε),
and sums Σ over the channel, let

    E(g) = r (g - Σg/n - x̂ Σg x̂/n)

Then the first derivative (Ioffe & Szegedy, arXiv:1502.03167, section 3) is

    ∂L/∂x = γ E(g),   ∂L/∂γ = Σ g x̂,   ∂L/∂β = Σ g

E is linear and symmetric, Σ v E(g) = Σ g E(v). So the product with vectors v, a, b for the three is

    γ T + a Σ g x̂ + b Σ g,   T = Σ v E(g)

and its derivatives are

    by g: γ E(v) + a x̂ + b
    by x: -(r Σg x̂/n) γ E(v) + (a - γ r Σv x̂/n) E(g) - (γ r T/n) x̂
    by γ: T
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from genseg_betty.joint_batch import count_sharing
from genseg_betty.multilevel.double_backward.walk import find_wanted_inputs, refuse_third_derivative, with_nodes

Gradients = tuple[Tensor | None, ...]
EXACT = (torch.float32, torch.float64)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    values = input.numel() // input.shape[1]
    is_shared = count_sharing() > 1  # by several processes: `divided_step.py` computes it in torch's place
    if not training or is_shared or _is_left_to_torch(input, weight, bias, values):
        return functional.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    return _normalise(input, weight, bias, running_mean, running_var, momentum, eps)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    values = input.numel() // (input.shape[0] * input.shape[1])
    if running_mean is not None or not use_input_stats or _is_left_to_torch(input, weight, bias, values):
        return functional.instance_norm(
            input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
        )  # fmt: skip
    images, channels, *space = input.shape
    if weight is not None and bias is not None:
        weight = weight.repeat(images)
        bias = bias.repeat(images)
    row = input.contiguous().view(1, images * channels, *space)
    normalised = _normalise(row, weight, bias, None, None, momentum, eps)
    return normalised.view(input.shape)


def _is_left_to_torch(input: Tensor, weight: Tensor | None, bias: Tensor | None, values: int) -> bool:
    """Narrow types, a weight without a bias or the reverse, and a single value a channel, which torch refuses."""
    is_half_given = (weight is None) != (bias is None)
    return input.dtype not in EXACT or is_half_given or values < 2


def _normalise(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, var: Tensor | None,
    momentum: float, eps: float,
) -> Tensor:  # fmt: skip
    return _Normalisation.apply(*with_nodes([x, weight, bias]), mean, var, momentum, eps)


class _Normalisation(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
    ) -> Tensor:
        y, centre, root = torch.native_batch_norm(x, weight, bias, mean, var, True, momentum, eps)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, centre, root)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Gradients:
        if gradients[0] is None:
            return (None,) * 7
        wanted = find_wanted_inputs(ctx)[:3]
        by_x, by_weight, by_bias = _FirstDerivative.apply(gradients[0], *ctx.saved_tensors, ctx.eps, wanted)
        return by_x, by_weight, by_bias, None, None, None, None


class _FirstDerivative(Function):
    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight: Any, centre: Tensor, root: Tensor, eps: float, wanted: list[bool]
    ) -> Gradients:
        ctx.set_materialize_grads(False)
        found = _differentiate(g, x, weight, centre, root, eps, wanted)
        _, wants_weight, wants_bias = wanted
        sums = None
        if wants_weight and wants_bias:
            # A copy of the sums, as an optimizer may write over the gradients of γ and β.
            sums = torch.stack(found[1:])
        ctx.save_for_backward(g, x, weight, centre, root, sums)
        ctx.eps = eps
        return found

    @staticmethod
    def backward(ctx: Any, *vectors: Tensor | None) -> Gradients:
        refuse_third_derivative()
        wants_g, wants_x, wants_weight, *_ = find_wanted_inputs(ctx)
        by_g, by_x, by_weight = _differentiate_twice(ctx.saved_tensors, vectors, ctx.eps, wants_x)
        if not wants_g:
            by_g = None
        if not wants_weight:
            by_weight = None
        return by_g, by_x, by_weight, None, None, None, None


def _differentiate(
    g: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, r: Tensor, eps: float, wanted: list[bool]
) -> tuple[Any, ...]:
    """γ E(g), Σ g x̂ and Σ g; None in place of those that are not wanted."""
    return torch.ops.aten.native_batch_norm_backward.default(g, x, weight, None, None, mean, r, True, eps, wanted)


def _differentiate_twice(
    saved: Sequence[Tensor], vectors: Sequence[Tensor | None], eps: float, wants_x: bool
) -> Gradients:
    """The derivatives by g, x and γ.

    A GPU takes as long for an operator on channels as for one on a small map, so there are few of both.
    """
    g, x, weight, mean, r, sums = saved
    v, a, b = vectors
    if v is None:
        by_g, by_x = _differentiate_sums_twice(saved, a, b, eps)
        return by_g, by_x, None
    ones = torch.ones_like(r)  # a GPU has the sums only for a weight that is there
    e_v, v_hat, _ = _differentiate(v, x, ones, mean, r, eps, [True, True, False])
    if sums is None:
        _, *sums = _differentiate(g, x, ones, mean, r, eps, [False, True, True])
    g_hat, g_sum = sums
    t = _sum_per_channel(g * e_v)
    centred = x - _per_channel(mean, x)
    a_r = None if a is None else a * r
    by_g = e_v
    if weight is not None:
        by_g = _combine(e_v, weight, b, centred, a_r)
    if not wants_x:
        return by_g, None, t

    # The factors of g, E(v), x - μ and 1. The last follows from the first, as E(v) and x - μ have no mean.
    share = -x.shape[1] / x.numel()  # -1/n
    step = r * share
    scale = step * r
    hop = step * g_hat
    of_v = hop
    if weight is not None:
        scale = scale * weight
        of_v = hop * weight
    of_g = scale * v_hat if a_r is None else torch.addcmul(a_r, scale, v_hat)
    of_x = (scale * t).addcmul_(of_g, hop)
    by_x = _weigh_maps([centred, g, e_v], [of_x, of_g, of_v])
    by_x.add_(_per_channel(of_g * g_sum, x), alpha=share)
    return by_g, by_x, t


def _weigh_maps(maps: Sequence[Tensor], factors: Sequence[Tensor]) -> Tensor:
    """The sum of the maps [B, C, *], each by its factors [C]; written over the first map."""
    total = maps[0].mul_(_per_channel(factors[0], maps[0]))
    for values, factor in zip(maps[1:], factors[1:], strict=True):
        total.addcmul_(values, _per_channel(factor, values))
    return total


def _combine(e_v: Tensor, weight: Tensor, b: Tensor | None, centred: Tensor, a_r: Tensor | None) -> Tensor:
    """γ E(v) + a x̂ + b."""
    factor = _per_channel(weight, e_v)
    combined = e_v * factor if b is None else torch.addcmul(_per_channel(b, e_v), e_v, factor)
    if a_r is not None:
        combined.addcmul_(centred, _per_channel(a_r, e_v))
    return combined


def _differentiate_sums_twice(saved: Sequence[Tensor], a: Tensor | None, b: Tensor | None, eps: float) -> Gradients:
    """The derivatives of a Σ g x̂ + b Σ g by g and x: nothing comes by way of ∂L/∂x."""
    g, x, _, mean, r, _ = saved
    by_b = None
    if b is not None:
        by_b = _per_channel(b, x).expand_as(x)
    if a is None:
        return by_b, None
    by_g = x - _per_channel(mean, x)
    by_g.mul_(_per_channel(a * r, x))
    if by_b is not None:
        by_g.add_(by_b)
    by_x, _, _ = _differentiate(g, x, a, mean, r, eps, [True, False, False])
    return by_g, by_x


def _sum_per_channel(x: Tensor) -> Tensor:
    """[B, C, *] -> [C]."""
    other_axes = [axis for axis in range(x.ndim) if axis != 1]
    return x.sum(other_axes)


def _per_channel(factor: Tensor, x: Tensor) -> Tensor:
    """One factor a channel [C], shaped to be multiplied with x [B, C, *]."""
    axes_of_space = [1] * (x.ndim - 2)
    return factor.view(1, -1, *axes_of_space)
