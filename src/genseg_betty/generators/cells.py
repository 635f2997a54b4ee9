"""The searchable cell and the architecture that weighs it (GenSeg, Methods, "Architecture search space").

A cell computes y = Σ_k α_k · o_k(x) over K (transposed) convolutions, by default Conv/UpConv-421, -622 and -823
(kernel, stride, padding; Fig. 1b, c), of images or of volumes. All weights α together are the architecture
A = {α_ik} of stage III.

A convolution is linear in its kernel, and the three kernels share their centre, so that
Σ α_k conv(x, W_k) = conv(x, Σ α_k pad(W_k)): one 8x8 convolution in place of three, with 64 multiplications
per position and channel pair in place of 116. Values and derivatives agree to float rounding.
"""

import copy
import functools
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.errors import UserError
from genseg_betty.generators.convolution3d import DoublingConv3d, HalvingConv3d, conv3d, conv_transpose3d
from genseg_betty.multilevel.double_backward.kernel_sum import sum_kernels

Operation = tuple[int, int, int]

OPERATIONS: tuple[Operation, ...] = (
    (4, 2, 1),
    (6, 2, 2),
    (8, 2, 3),
)
"""The paper's candidates as (kernel, stride, padding), ordered by kernel size."""

CONVOLUTIONS = {
    2: (nn.Conv2d, nn.ConvTranspose2d),
    3: (nn.Conv3d, nn.ConvTranspose3d),
}
OF_CELLS = {  # of stride 2, and padding kernel / 2 - 1
    2: CONVOLUTIONS[2],
    3: (HalvingConv3d, DoublingConv3d),
}
Convolution = nn.Conv2d | nn.ConvTranspose2d | nn.Conv3d | nn.ConvTranspose3d


def operations_of(kernels: Sequence[int]) -> tuple[Operation, ...]:
    """The operations of these kernel sizes that halve or double a map. Raises UserError unless even and rising."""
    found = list(kernels)
    are_rising = sorted(set(found)) == found
    are_even = all(kernel % 2 == 0 for kernel in found)
    if not found or min(found) < 2 or not are_rising or not are_even:
        raise UserError(f"generator.kernels is {found}; expected even sizes in rising order, as [4, 6, 8]")
    return tuple((kernel, 2, kernel // 2 - 1) for kernel in found)


def operation_name(operation: Operation, transposed: bool) -> str:
    """The paper's name of an operation: `conv_421`, `upconv_823`."""
    kind = "upconv" if transposed else "conv"
    kernel, stride, padding = operation
    return f"{kind}_{kernel}{stride}{padding}"


class Architecture(nn.Module):
    """A = {α}: the selection weights of all searchable cells of a generator.

    The parameters `down_logits` [down, K] and `up_logits` [up, K] start at 0, where every weight is 1/K, so
    that weight decay pulls towards no preference. A half without cells has no parameter.

    Args:
        down: number of searchable cells in the encoder.
        up: number of searchable cells in the decoder.
        operations: the K candidates of every cell, at least two.
        parametrisation: `softmax` (weights of a cell sum to 1), `sigmoid` (each by itself in 0..1), or `fixed` (every
        weight is 1, and there is nothing to learn: the paper's ablation "fixed multi-branch").
    """

    down_logits: Tensor
    up_logits: Tensor

    def __init__(
        self, down: int, up: int, operations: Sequence[Operation] = OPERATIONS, parametrisation: str = "softmax"
    ) -> None:
        super().__init__()
        if parametrisation not in ("softmax", "sigmoid", "fixed"):
            raise UserError(f"generator.alpha is {parametrisation!r}; choose softmax or sigmoid")
        if len(operations) < 2:
            raise ValueError(f"operations is {operations}; a cell chooses among two or more")
        self.parametrisation = parametrisation
        self.operations = tuple(operations)
        for name, count in (("down_logits", down), ("up_logits", up)):
            logits = torch.zeros(count, len(operations))
            if count and parametrisation != "fixed":
                self.register_parameter(name, nn.Parameter(logits))
            else:
                self.register_buffer(name, logits, persistent=False)

    def forward(self) -> dict[str, Tensor]:
        """The weights α in 0..1: {"down": [down, K], "up": [up, K]}, in the order in which the cells run."""
        return {
            "down": self._compute_weights(self.down_logits),
            "up": self._compute_weights(self.up_logits),
        }

    def _compute_weights(self, logits: Tensor) -> Tensor:
        if self.parametrisation == "fixed":
            return torch.ones_like(logits)
        if self.parametrisation == "softmax":
            return logits.softmax(dim=-1)
        operations = logits.shape[-1]
        return torch.sigmoid(logits - math.log(operations - 1))

    @torch.no_grad()
    def kept(self) -> list[str]:
        """The strongest operation of every cell, down cells first: `["conv_421", …, "upconv_823", …]`."""
        names = []
        for half, weights in self().items():
            for index in weights.argmax(dim=-1).tolist():
                operation = self.operations[index]
                names.append(operation_name(operation, transposed=half == "up"))
        return names

    @torch.no_grad()
    def to_lists(self) -> dict[str, list[list[float]]]:
        """The weights α as plain numbers, for results.json."""
        return {half: weights.tolist() for half, weights in self().items()}


class SearchableCell(nn.Module):
    """y = Σ_k α_k · o_k(x), every operation with weights of its own.

    Normalisation must follow the sum, not the single operation: only so does the fused form hold.

    Args:
        in_channels: channels of x.
        out_channels: channels of y.
        transposed: False halves the size of x, which must be even (Conv); True doubles it (UpConv).
        operations: candidates (kernel, 2, kernel / 2 - 1) by growing kernel.
        bias: give every operation a bias.
        fused: one convolution with the summed kernel (`always`), one for each operation (`never`), or what is faster
            for the size at hand (`auto`, see `fusing_pays`).
        spatial_dims: 2 for images, 3 for volumes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        transposed: bool,
        operations: Sequence[Operation] = OPERATIONS,
        bias: bool = False,
        fused: str = "auto",
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        if fused not in ("auto", "always", "never"):
            raise UserError(f"generator.fused is {fused!r}; choose auto, always or never")
        for kernel, stride, padding in operations:
            if stride != 2 or padding != kernel / 2 - 1:
                raise ValueError(f"operations are {operations}; each needs stride 2 and padding kernel / 2 - 1")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.transposed = transposed
        self.fused = fused
        self.spatial_dims = spatial_dims
        convolution = OF_CELLS[spatial_dims][transposed]
        self.operations = nn.ModuleList()
        for operation in operations:
            layer = convolution(in_channels, out_channels, *operation, bias=bias)
            self.operations.append(layer)

    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        """x [B, C, H, W] and alpha [K] -> [B, C', H/2, W/2], or [B, C', 2H, 2W] if transposed; volumes alike."""
        is_fused = self.fused == "always"
        if self.fused == "auto":
            is_fused = self.fusing_pays(x)
        if is_fused:
            return self._convolve_once(x, alpha)
        pairs = zip(alpha.unbind(), self.operations, strict=True)
        weighted = (weight * operation(x) for weight, operation in pairs)
        return functools.reduce(torch.add, weighted)

    def fusing_pays(self, x: Tensor) -> bool:
        """Whether one convolution is expected to be faster than K for an input of this size.

        Every position of the smaller map saves multiplications; summing the kernels costs work in the size of the
        weights, and more once they outgrow the cache. The two were measured on CPU in float32, in both orders. They
        break even near in_channels * out_channels / 512 + 32 positions; at an eighth of these where the larger map is 4
        pixels wide, and at any number where it is 2 wide: few taps reach such maps. Not measured for volumes.
        """
        side = self._larger_side(x)
        if side <= 2:
            return True
        images, _, *sides = x.shape
        positions = images * math.prod(sides)
        if not self.transposed:
            positions //= 2**self.spatial_dims
        break_even = self.in_channels * self.out_channels / 512 + 32
        if side <= 4:
            break_even /= 8
        return positions >= break_even

    def _convolve_once(self, x: Tensor, alpha: Tensor) -> Tensor:
        """One convolution with the summed kernel, without the taps that meet nothing but padding."""
        convolutions = self._list_convolutions()
        longest = convolutions[-1].kernel_size[0]
        size = min(longest, 2 * self._larger_side(x) - 2)
        kernel = sum_kernels(alpha, [convolution.weight for convolution in convolutions], size)
        biases = [convolution.bias for convolution in convolutions if convolution.bias is not None]
        bias = alpha @ torch.stack(biases) if biases else None
        if self.spatial_dims == 3:
            convolve_volume = conv_transpose3d if self.transposed else conv3d
            return convolve_volume(x, kernel, bias)
        convolve = F.conv_transpose2d if self.transposed else F.conv2d
        padding = kernel.shape[-1] // 2 - 1
        return convolve(x, kernel, bias, stride=2, padding=padding)

    def _list_convolutions(self) -> list[Convolution]:
        return cast(list[Convolution], list(self.operations))

    def _larger_side(self, x: Tensor) -> int:
        """The longer side of the larger of the two maps x and y."""
        side = max(x.shape[2:])
        return 2 * side if self.transposed else side

    @torch.no_grad()
    def keep_strongest(self, alpha: Tensor) -> Convolution:
        """The strongest operation alone as a plain layer, a copy with its α folded into weight and bias."""
        index = int(alpha.argmax())
        kept = copy.deepcopy(self._list_convolutions()[index])
        for parameter in kept.parameters():
            parameter.mul_(alpha[index])
        return kept
