"""The segmenter in a form that a graph holds: intensities of files in, logits out, any size where it takes any.

What training needs is left out (second derivatives, activation checkpointing, warnings), and padding is written with
operations whose amounts a graph works out for each image. Nothing that is computed changes.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genseg_betty.backbones.checkpointing import forget_checkpointing
from genseg_betty.backbones.encoder_input import PretrainedNetwork
from genseg_betty.backbones.padding import PadToMultiple
from genseg_betty.backbones.pairs import MeanOfTwo
from genseg_betty.backbones.second_order import TwiceDifferentiable
from genseg_betty.data.preprocessing import Preprocessing

Window = tuple[float, float]


def simplify_network(network: nn.Module) -> nn.Module:
    """A copy of a segmenter, [B, C, *] in -1..1 -> logits [B, O, *], on the CPU in eval mode, in float32."""
    own = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
    forget_checkpointing(own)
    return _replace_wrappers(own)


def _replace_wrappers(network: nn.Module) -> nn.Module:
    """The network without what surrounds it in training."""
    if isinstance(network, MeanOfTwo):
        first = _replace_wrappers(network.first)
        second = _replace_wrappers(network.second)
        return MeanOfTwo(first, second)
    if isinstance(network, PadToMultiple):
        padded = EdgePadding(network.network, network.multiple, network.least)
        if isinstance(network, PretrainedNetwork):
            return nn.Sequential(network.encoder_input, padded)
        return padded
    if type(network) is TwiceDifferentiable:
        return _replace_wrappers(network.network)
    return network


class EdgePadding(nn.Module):
    """`PadToMultiple` with amounts that a graph works out: a pixel beyond the border is the nearest one within.

    Args:
        network: [B, C, *] -> [B, O, *], all sides multiples of `multiple`.
        multiple: every side that the network gets is a multiple of it.
        least: every side that the network gets is at least this long; a multiple as well.
    """

    def __init__(self, network: nn.Module, multiple: int, least: int) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple
        self.least = least

    def forward(self, image: Tensor) -> Tensor:
        sides = image.shape[2:]
        wanted = [self._round_up(side) for side in sides]
        starts = [(longer - side) // 2 for longer, side in zip(wanted, sides, strict=True)]
        # A traced graph names no device where padding is one operation; torch.export wants to know that indices fit.
        pad, crop = (_pad_borders, _cut_borders) if torch.jit.is_tracing() else (_repeat_borders, _choose_inside)
        logits = self.network(pad(image, starts, wanted))
        return crop(logits, starts, sides)

    def _round_up(self, side: Any) -> Any:
        """The length of a side once it is padded: a number, or what stands for one while a graph is recorded."""
        rounded = (side + self.multiple - 1) // self.multiple * self.multiple
        if self.least <= self.multiple:
            return rounded
        if isinstance(rounded, Tensor):  # of torch.jit.trace
            return rounded.clamp(min=self.least)
        return torch.sym_max(rounded, self.least)


def _pad_borders(image: Tensor, starts: Sequence[Any], wanted: Sequence[Any]) -> Tensor:
    """Pad the image by its border, from `starts` on, to the sides `wanted`."""
    amounts: list[Any] = []  # torch counts axes from the last
    for side, start, longer in zip(image.shape[2:], starts, wanted, strict=True):
        amounts = [start, longer - side - start, *amounts]
    return functional.pad(image, amounts, mode="replicate")


def _cut_borders(logits: Tensor, starts: Sequence[Any], sides: Sequence[Any]) -> Tensor:
    """The part of the logits that lies at `starts` and has these sides."""
    for axis, (start, side) in enumerate(zip(starts, sides, strict=True), start=2):
        logits = logits.narrow(axis, start, side)
    return logits


def _repeat_borders(image: Tensor, starts: Sequence[Any], wanted: Sequence[Any]) -> Tensor:
    """As `_pad_borders`, by the index of each pixel."""
    for axis, (start, longer) in enumerate(zip(starts, wanted, strict=True), start=2):
        last = image.shape[axis] - 1
        nearest = (torch.arange(longer, device=image.device) - start).clamp(0, last)
        image = image.index_select(axis, nearest)
    return image


def _choose_inside(logits: Tensor, starts: Sequence[Any], sides: Sequence[Any]) -> Tensor:
    """As `_cut_borders`, by the index of each pixel."""
    for axis, (start, side) in enumerate(zip(starts, sides, strict=True), start=2):
        inside = torch.arange(side, device=logits.device) + start
        logits = logits.index_select(axis, inside)
    return logits


class FileSegmenter(nn.Module):
    """Intensities of files float32 [B, C, *] -> logits [B, O, *].

    Args:
        network: takes images in -1..1.
        window: intensities that become -1 and 1, what lies beyond them too; None: the images are in -1..1 already.
    """

    def __init__(self, network: nn.Module, window: Window | None) -> None:
        super().__init__()
        self.network = network
        self.window = window

    def forward(self, image: Tensor) -> Tensor:
        return self.network(scale_intensities(image, self.window))


class ReversedAxes(nn.Module):
    """A segmenter whose images and logits have their spatial axes in the opposite order: x first, as MONAI has them."""

    def __init__(self, segmenter: nn.Module, spatial_dims: int) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.order = [0, 1, *range(spatial_dims + 1, 1, -1)]

    def forward(self, image: Tensor) -> Tensor:
        logits = self.segmenter(image.permute(self.order))
        return logits.permute(self.order)


class AnySizeSegmenter(nn.Module):
    """Intensities of image files [B, C, H, W] of any size -> logits [B, O, H, W], through the network at its own size.

    Both resizes are those of `Preprocessing`. Arguments as for `FileSegmenter`; `size` is the network's.
    """

    def __init__(self, network: nn.Module, window: Window | None, size: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self.window = window
        self.size = size

    def forward(self, image: Tensor) -> Tensor:
        scaled = scale_intensities(image, self.window)
        resized = _resize_planes(scaled, self.size).clamp(-1, 1)
        logits = self.network(resized)
        return _resize_planes(logits, image.shape[2:])


def scale_intensities(image: Tensor, window: Window | None) -> Tensor:
    """As `Preprocessing.image` does."""
    if window is None:
        return image
    low, high = window
    return ((image - low) / (high - low) * 2 - 1).clamp(-1, 1)


def find_range(preprocessing: Preprocessing) -> Window:
    """The values that become -1 and 1 in a `FileSegmenter`."""
    return preprocessing.intensity or (-1.0, 1.0)


def _resize_planes(planes: Tensor, size: Any) -> Tensor:
    return functional.interpolate(planes, size=size, mode="bilinear", antialias=True, align_corners=False)
