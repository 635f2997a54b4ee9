"""Convolutions whose second derivative is three ordinary convolutions.

PyTorch differentiates the weight's gradient of a convolution by a convolution whose kernel is as large as the map.
cuDNN answers with its slowest kernels: at 256 x 256 a third of the time of a step with a hypergradient. Written out, no
call has other shapes than those of the first derivative. Let y = c(x, W) + b, bilinear in the images x [B, C, ...] and
the kernels W, and let g be ∂L/∂y. The first derivative is

    ∂L/∂x = dgrad(g, W),   ∂L/∂W = wgrad(x, g),   ∂L/∂b = Σ g

Its product with vectors v_x, v_W, v_b for the three has the derivatives

    by g: c(v_x, W) + c(x, v_W) + v_b,   by x: dgrad(g, v_W),   by W: wgrad(v_x, g)
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from genseg_betty.multilevel.double_backward.walk import find_wanted_inputs, refuse_third_derivative, with_nodes

Sizes = int | Sequence[int]
Gradients = tuple[Tensor | None, ...]


class _Geometry(NamedTuple):
    """How a kernel moves over a map: what `aten::convolution` is told beside its tensors, in its order."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """c(x, W) + b."""
        return torch.convolution(x, weight, bias, *self)

    def differentiate(self, g: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]) -> Gradients:
        """dgrad(g, W), wgrad(x, g) and Σ g; None in place of those that are not wanted."""
        # A bias has as many values as the output has channels.
        return torch.ops.aten.convolution_backward.default(g, x, weight, [g.shape[1]], *self, wanted)


def _convolve(
    torchs: Callable[..., Tensor],
    dimensions: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """In place of `functional.conv2d` and `conv3d`, which is `torchs` and has these arguments from `input` on."""
    if isinstance(padding, str) or _is_left_to_torch(dimensions, input, weight, bias):
        return torchs(input, weight, bias, stride, padding, dilation, groups)
    for_each_axis = partial(_repeat_for_axes, dimensions)
    geometry = _Geometry(
        stride=for_each_axis(stride),
        padding=for_each_axis(padding),
        dilation=for_each_axis(dilation),
        transposed=False,
        output_padding=for_each_axis(0),
        groups=groups,
    )
    return _apply_convolution(input, weight, bias, geometry)


def _convolve_transposed(
    torchs: Callable[..., Tensor],
    dimensions: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """In place of `functional.conv_transpose2d` and `conv_transpose3d`."""
    if _is_left_to_torch(dimensions, input, weight, bias):
        return torchs(input, weight, bias, stride, padding, output_padding, groups, dilation)
    for_each_axis = partial(_repeat_for_axes, dimensions)
    geometry = _Geometry(
        stride=for_each_axis(stride),
        padding=for_each_axis(padding),
        dilation=for_each_axis(dilation),
        transposed=True,
        output_padding=for_each_axis(output_padding),
        groups=groups,
    )
    return _apply_convolution(input, weight, bias, geometry)


def _apply_convolution(input: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry) -> Tensor:
    parts = _cast_by_autocast(input, weight, bias)
    return _Convolution.apply(*with_nodes(parts), geometry)


WRITTEN_OUT_CONVOLUTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    functional.conv2d: partial(_convolve, functional.conv2d, 2),
    functional.conv3d: partial(_convolve, functional.conv3d, 3),
    functional.conv_transpose2d: partial(_convolve_transposed, functional.conv_transpose2d, 2),
    functional.conv_transpose3d: partial(_convolve_transposed, functional.conv_transpose3d, 3),
}
"""Torch's function -> the one with the same values and a second derivative that is written out.

Left to torch: padding by name ("same"), one image without the dimension of the batch, complex numbers, and what needs
no gradient.
"""


def _is_left_to_torch(dimensions: int, x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    parts = [x, weight] if bias is None else [x, weight, bias]
    plain = x.ndim == weight.ndim == dimensions + 2 and x.is_floating_point()
    return not plain or not any(part.requires_grad for part in parts)


def _repeat_for_axes(dimensions: int, size: Sizes) -> list[int]:
    """One size for each axis of space, as torch reads a single number."""
    return [size] * dimensions if isinstance(size, int) else list(size)


def _cast_by_autocast(*parts: Tensor | None) -> list[Tensor | None]:
    """The parts in autocast's precision where it is on, as torch casts what a convolution is given.

    It leaves float64 alone.
    """
    device = next(part.device.type for part in parts if part is not None)
    if not torch.is_autocast_enabled(device):
        return list(parts)
    dtype = torch.get_autocast_dtype(device)
    cast = []
    for part in parts:
        if part is not None and part.dtype != torch.float64:
            part = part.to(dtype)
        cast.append(part)
    return cast


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return geometry.convolve(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Gradients:
        if gradients[0] is None:
            return None, None, None, None
        wanted = find_wanted_inputs(ctx)[:3]
        by_inputs = _FirstDerivative.apply(gradients[0], *ctx.saved_tensors, wanted, ctx.geometry)
        return *by_inputs, None


class _FirstDerivative(Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, weight: Tensor, wanted: list[bool], geometry: _Geometry) -> Gradients:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, x, weight)
        ctx.geometry = geometry
        return geometry.differentiate(g, x, weight, wanted)

    @staticmethod
    def backward(ctx: Any, *vectors: Tensor | None) -> Gradients:
        refuse_third_derivative()
        v_x, v_weight, _ = vectors
        g, x, weight = ctx.saved_tensors
        geometry: _Geometry = ctx.geometry
        wants_g, wants_x, wants_weight, *_ = find_wanted_inputs(ctx)
        by_g = by_x = by_weight = None
        if wants_g:
            by_g = _differentiate_by_g(geometry, x, weight, vectors, g.shape)
        # A vector that is None stands for zeros: its terms are left out.
        if wants_x and v_weight is not None:
            by_x, _, _ = geometry.differentiate(g, x, v_weight, [True, False, False])
        if wants_weight and v_x is not None:
            _, by_weight, _ = geometry.differentiate(g, v_x, weight, [False, True, False])
        return by_g, by_x, by_weight, None, None


def _differentiate_by_g(
    geometry: _Geometry, x: Tensor, weight: Tensor, vectors: Sequence[Tensor | None], shape: Sequence[int]
) -> Tensor | None:
    """c(v_x, W) + c(x, v_W) + v_b, of the given shape."""
    v_x, v_weight, v_bias = vectors
    # The first convolution that there is adds v_b as its bias.
    if v_weight is not None:
        by_g = geometry.convolve(x, v_weight, v_bias)
        if v_x is not None:
            by_g.add_(geometry.convolve(v_x, weight))
        return by_g
    if v_x is not None:
        return geometry.convolve(v_x, weight, v_bias)
    if v_bias is not None:
        axes_of_space = [1] * (len(shape) - 2)
        return v_bias.view(-1, *axes_of_space).expand(shape)
    return None
