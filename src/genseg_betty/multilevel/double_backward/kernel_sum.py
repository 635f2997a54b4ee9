"""The kernel of a searchable cell, Σ_k α_k pad(W_k), with derivatives of few passes.

The kernels share their centre. Each is added in place to the centre of the sum, where padded copies would be as large
as the weights of the network. With g = ∂L/∂(sum), and its centre cut to the size of W_k as g_k, the first derivative is

    ∂L/∂α_k = ⟨g_k, W_k⟩,   ∂L/∂W_k = α_k g_k

Its product with vectors a_k and V_k for the two has the derivatives

    by g: Σ_k pad(a_k W_k + α_k V_k),   by α_k: ⟨g_k, V_k⟩,   by W_k: a_k g_k
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from genseg_betty.multilevel.double_backward.walk import find_wanted_inputs, refuse_third_derivative, with_nodes

Gradients = tuple[Tensor | None, ...]


def sum_kernels(alpha: Tensor, weights: Sequence[Tensor], size: int) -> Tensor:
    """Σ_k α_k pad(W_k).

    Args:
        alpha: [K].
        weights: kernels of the same channels and rising sizes, all even or all odd, [A, B, k, k] or [A, B, k, k, k].
        size: of the sum, at most that of the largest kernel; larger ones are cut to it around their centre.

    Returns:
        [A, B, size, size], or [A, B, size, size, size].
    """
    return _KernelSum.apply(*with_nodes([alpha]), size, *with_nodes(weights))


def _crop(kernel: Tensor, size: int) -> Tensor:
    """The centre of a kernel, at most `size` long along each axis of space; a view."""
    margin = (kernel.shape[-1] - size) // 2
    if margin > 0:
        for axis in range(2, kernel.ndim):
            kernel = kernel.narrow(axis, margin, size)
    return kernel


def _add_weighted(total: Tensor, factors: Sequence[Tensor], weights: Sequence[Tensor | None]) -> Tensor:
    """Add factor times weight to the centre of `total`, in place and from the smallest kernel up."""
    for factor, weight in zip(factors, weights, strict=True):
        if weight is not None:
            part = _crop(weight, total.shape[-1])
            centre = _crop(total, part.shape[-1])
            centre.addcmul_(factor, part)
    return total


class _KernelSum(Function):
    @staticmethod
    def forward(ctx: Any, alpha: Tensor, size: int, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(alpha, *weights)
        largest = weights[-1]
        total = largest.new_zeros(_crop(largest, size).shape)
        if largest.is_contiguous(memory_format=torch.channels_last):
            total = total.contiguous(memory_format=torch.channels_last)
        return _add_weighted(total, alpha.unbind(), weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        wants_alpha, _, *wants_weights = find_wanted_inputs(ctx)
        wanted = [wants_alpha, *wants_weights]
        by_alpha, *by_weights = _FirstDerivative.apply(gradients[0], wanted, *ctx.saved_tensors)
        return by_alpha, None, *by_weights


class _FirstDerivative(Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, wanted: list[bool], alpha: Tensor, *weights: Tensor) -> Gradients:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, alpha, *weights)
        wants_alpha, *wants_weights = wanted
        by_alpha = _dot_each(g, weights) if wants_alpha else None
        by_weights = _scale_wanted(alpha, g, weights, wants_weights)
        return by_alpha, *by_weights

    @staticmethod
    def backward(ctx: Any, *vectors: Tensor | None) -> Gradients:
        refuse_third_derivative()
        g, alpha, *weights = ctx.saved_tensors
        wants_g, _, wants_alpha, *wants_weights = find_wanted_inputs(ctx)
        of_alpha, *of_weights = vectors
        by_g = by_alpha = None
        if wants_g:
            by_g = _add_weighted(torch.zeros_like(g), alpha.unbind(), of_weights)
            if of_alpha is not None:
                _add_weighted(by_g, of_alpha.unbind(), weights)
        if wants_alpha:
            by_alpha = _dot_each(g, of_weights)
        by_weights: list[Tensor | None] = [None] * len(weights)
        if of_alpha is not None:
            by_weights = _scale_wanted(of_alpha, g, weights, wants_weights)
        return by_g, None, by_alpha, *by_weights


def _dot_each(g: Tensor, others: Sequence[Tensor | None]) -> Tensor:
    """⟨g_k, W_k⟩ for each kernel, [K]; 0 for a kernel that is None."""
    products = []
    for other in others:
        if other is None:
            products.append(g.new_zeros(()))
        else:
            part = _crop(other, g.shape[-1])
            centre = _crop(g, part.shape[-1])
            products.append((centre * part).sum())
    return torch.stack(products)


def _scale_wanted(factors: Tensor, g: Tensor, weights: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor | None]:
    """factor_k · g_k for each kernel; None in place of those that are not wanted."""
    scaled: list[Tensor | None] = []
    for factor, weight, wants in zip(factors.unbind(), weights, wanted, strict=True):
        scaled.append(_scale_crop(factor, g, weight) if wants else None)
    return scaled


def _scale_crop(factor: Tensor, g: Tensor, weight: Tensor) -> Tensor:
    """factor · g_k, with zeros where the kernel reaches beyond the sum."""
    size = min(weight.shape[-1], g.shape[-1])
    part = _crop(g, size)
    if part.shape == weight.shape:
        return part * factor
    scaled = torch.zeros_like(weight)
    centre = _crop(scaled, size)
    centre.addcmul_(factor, part)
    return scaled
