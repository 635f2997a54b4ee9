"""Batch and instance normalisation whose second derivative takes few passes over the images.

The double backward of torch's batch normalisation is put together of many operators, each as large as what is
normalised: half of what the segmenter's hop of the hypergradient read and wrote (23 of 46 GB at 256 x 256, batch 2).
Here it is written out. With n values a channel, x̂ = (x - μ) r, r = 1/√(σ² + ε), and sums Σ over the channel, the
first derivative is

    ∂L/∂x = γ r (g - Σg/n - x̂ Σg x̂/n),   ∂L/∂γ = Σ g x̂,   ∂L/∂β = Σ g

(Ioffe & Szegedy, arXiv:1502.03167, section 3). Its product with vectors v, a, b for the three is

    P = Σ v g - Σv Σg/n - Σv x̂ Σg x̂/n,   γ r P + a Σ g x̂ + b Σ g

whose derivatives by g and by x are linear in v, g, x̂ and 1, with factors of the channel.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Gradients = tuple[Tensor | None, ...]
EXACT = (torch.float32, torch.float64)


class TwiceNormalised(TorchFunctionMode):
    """Within it, batch and instance normalisation by the statistics of what is normalised have this second derivative.

    Values and first derivatives are torch's own. In float32 and float64; what is narrower is left to torch.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.is_grad_enabled():
            if function is functional.batch_norm:
                return _batch_norm(*args, **kwargs)
            if function is functional.instance_norm:
                return _instance_norm(*args, **kwargs)
        return function(*args, **kwargs)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training or _is_left_to_torch(input, input.numel() // input.shape[1]):
        return functional.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    return _normalised(input, weight, bias, running_mean, running_var, momentum, eps)


def _instance_norm(
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
    if running_mean is not None or not use_input_stats or _is_left_to_torch(input, values):
        return functional.instance_norm(
            input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
        )  # fmt: skip
    images, channels, *space = input.shape
    weight, bias = (None if factor is None else factor.repeat(images) for factor in (weight, bias))
    row = input.contiguous().view(1, images * channels, *space)
    return _normalised(row, weight, bias, None, None, momentum, eps).view(input.shape)


def _is_left_to_torch(input: Tensor, values: int) -> bool:
    """What is narrow, and a single value a channel, which torch refuses."""
    return input.dtype not in EXACT or values < 2


def _normalised(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, var: Tensor | None,
    momentum: float, eps: float,
) -> Tensor:  # fmt: skip
    return _Forward.apply(x, weight, bias, mean, var, momentum, eps)


class _Forward(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
    ) -> Tensor:
        y, centre, root = torch.native_batch_norm(x, weight, bias, mean, var, True, momentum, eps)
        ctx.save_for_backward(x, weight, centre, root)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        x, weight, centre, root = ctx.saved_tensors
        dx, dweight, dbias = _Backward.apply(gradients[0], x, weight, centre, root, ctx.eps)
        return dx, dweight if ctx.needs_input_grad[1] else None, dbias if ctx.needs_input_grad[2] else None, *[None] * 4


class _Backward(Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, weight: Any, centre: Tensor, root: Tensor, eps: float) -> Any:
        found = torch.ops.aten.native_batch_norm_backward(
            g, x, weight, None, None, centre, root, True, eps, [True, True, True]
        )
        ctx.save_for_backward(g, x, weight, centre, root, found[1], found[2])
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *vectors: Tensor) -> Gradients:
        v, a, b = vectors
        g, x, weight, mean, r, g_hat, g_sum = ctx.saved_tensors  # g_hat = Σ g x̂, g_sum = Σ g
        n = x.numel() // x.shape[1]
        scale = r if weight is None else weight * r  # γ r
        x_hat = (x - _wide(mean, x)).mul_(_wide(r, x))
        v_sum, v_hat, v_g = v.sum(dim=_others(v)), _dot(v, x_hat), _dot(v, g)
        p = v_g - v_sum * g_sum / n - v_hat * g_hat / n
        # By g: γ r (v - Σv/n - x̂ Σv x̂/n) + a x̂ + b
        by_g = v * _wide(scale, x)
        by_g.addcmul_(x_hat, _wide(a - scale * v_hat / n, x)).add_(_wide(b - scale * v_sum / n, x))
        # By x̂ at fixed r, q = a g - γ r (v Σg x̂ + g Σv x̂)/n; by r, γ P; x̂ and r depend on x as in the first derivative.
        q_sum = a * g_sum - scale * (v_sum * g_hat + g_sum * v_hat) / n
        q_hat = a * g_hat - 2 * scale * g_hat * v_hat / n
        by_x = x_hat.mul_(_wide(-r * (q_hat + scale * p) / n, x))
        by_x.addcmul_(g, _wide(r * (a - scale * v_hat / n), x)).addcmul_(v, _wide(-r * scale * g_hat / n, x))
        by_x.add_(_wide(-r * q_sum / n, x))
        return by_g, by_x, None if weight is None else r * p, None, None, None


def _others(x: Tensor) -> list[int]:
    return [dim for dim in range(x.ndim) if dim != 1]


def _wide(factor: Tensor, x: Tensor) -> Tensor:
    """One factor a channel, to be multiplied with x."""
    return factor.view(1, -1, *[1] * (x.ndim - 2))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ a b of each channel."""
    rows = (*a.shape[:2], -1)
    return torch.linalg.vecdot(a.reshape(rows), b.reshape(rows)).sum(0)
