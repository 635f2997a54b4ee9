"""Convolutions of volumes that halve or double a map, safe on every processor.

oneDNN (as in PyTorch 2.11 to 2.15) touches memory that is not its own in the backward pass of a 3D convolution whose
kernel is as long as the map is deep, or longer: with kernels of 8 on maps of 6 slices "malloc(): corrupted top size"
ends the process, on maps of 8 whatever lies there is added to the gradient of the weights. Which backend runs is
decided anew in the backward pass, so that it cannot be switched off around the forward pass alone. On the CPU such
maps, which are small, are convolved slice by slice in two dimensions: the slices that a kernel sees stand side by side
as channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 2


class HalvingConv3d(nn.Conv3d):
    """`nn.Conv3d` of stride 2 and padding kernel / 2 - 1."""

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, D, H, W], even sides -> [B, C', D/2, H/2, W/2]."""
        return conv3d(x, self.weight, self.bias)


class DoublingConv3d(nn.ConvTranspose3d):
    """`nn.ConvTranspose3d` of stride 2 and padding kernel / 2 - 1."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """x [B, C, D, H, W] -> [B, C', 2D, 2H, 2W]."""
        return conv_transpose3d(x, self.weight, self.bias)


def conv3d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """As `F.conv3d` with stride 2 and padding kernel / 2 - 1, for x of an even depth."""
    kernel = weight.shape[-1]
    padding = kernel // 2 - 1
    if not is_unsound(x, kernel, x.shape[2]):
        return F.conv3d(x, weight, bias, STRIDE, padding)
    padded = F.pad(x, (0, 0, 0, 0, padding, padding))
    seen = padded.unfold(2, kernel, STRIDE)  # [B, C, D/2, H, W, k]
    slices = seen.permute(0, 2, 1, 5, 3, 4)
    as_images = slices.flatten(0, 1).flatten(1, 2)
    kernels = weight.flatten(1, 2)
    made = F.conv2d(as_images, kernels, bias, STRIDE, padding)
    made = made.unflatten(0, slices.shape[:2])
    return made.transpose(1, 2)


def conv_transpose3d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """As `F.conv_transpose3d` with stride 2 and padding kernel / 2 - 1."""
    kernel = weight.shape[-1]
    depth = STRIDE * x.shape[2]
    padding = kernel // 2 - 1
    if not is_unsound(x, kernel, depth):
        return F.conv_transpose3d(x, weight, bias, STRIDE, padding)
    slices = x.transpose(1, 2)
    as_images = slices.flatten(0, 1)
    kernels = weight.flatten(1, 2)
    made = F.conv_transpose2d(as_images, kernels, None, STRIDE, padding)
    made = made.unflatten(0, slices.shape[:2])
    made = made.unflatten(2, (-1, kernel))  # [B, D, C', k, 2H, 2W]

    # Each tap of the kernel adds its slices at places of its own: slice d reaches 2 d + tap - padding.
    total = made.new_zeros(())
    for tap in range(kernel):
        of_tap = made[:, :, :, tap]
        between = torch.zeros_like(of_tap)
        spread = torch.stack([of_tap, between], dim=2)
        spread = spread.flatten(1, 2)
        forwards = max(tap - padding, 0)
        backwards = max(padding - tap, 0)
        moved = F.pad(spread, (0, 0, 0, 0, 0, 0, forwards, backwards))
        total = total + moved.narrow(1, backwards, depth)
    total = total.transpose(1, 2)
    if bias is None:
        return total
    return total + bias.view(-1, 1, 1, 1)


def is_unsound(x: Tensor, kernel: int, depth: int) -> bool:
    """Whether the larger of the two maps is no deeper than the kernel is long, on a CPU."""
    return x.device.type == "cpu" and kernel >= depth
