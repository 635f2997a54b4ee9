"""Discriminators H: real or generated, judged patch by patch (PatchGAN; Isola et al., CVPR 2017), at one scale or more
(Wang et al., CVPR 2018; Park et al., CVPR 2019)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from genseg_betty.errors import UserError
from genseg_betty.generators.cells import CONVOLUTIONS
from genseg_betty.generators.layers import build_norm, initialise, list_doubled_widths

SLOPE = 0.2  # of the leaky ReLUs
EPSILON = 1e-12  # of a weight of zeros, which stays one


class PatchDiscriminator(nn.Module):
    """Conditional PatchGAN: one logit for each overlapping patch of the pair (mask, image).

    `layers` stride-2 convolutions, then two of stride 1, all 4x4: a logit sees 70x70 pixels at 3 layers,
    34x34 at 2 and 16x16 at 1. The first layer has no norm.

    Args:
        in_channels: channels of the encoded mask plus those of the image.
        base_channels: channels of the first layer, doubled by each next one up to 8 times.
        layers: stride-2 convolutions.
        norm: `instance` or `batch`.
        image_size: (H, W) or (D, H, W), if known: `layers` is then lowered until the last normalised map is at
            least 2 wide, to 2 below 24 pixels and to 1 below 12.
        spatial_dims: 2 for images, 3 for volumes.
    """

    def __init__(
        self,
        in_channels: int,
        base_channels: int = 64,
        layers: int = 3,
        norm: str = "instance",
        image_size: Sequence[int] | None = None,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise UserError(f"generator.discriminator.layers is {layers}; at least 1 is needed")
        if image_size is not None:
            while layers > 1 and min(image_size) < self.smallest_side(layers):
                layers -= 1
        self.layers = layers
        widths = list_doubled_widths(base_channels, layers + 1)
        convolution, _ = CONVOLUTIONS[spatial_dims]
        first = convolution(in_channels, widths[0], 4, 2, padding=1)
        body: list[nn.Module] = [first, nn.LeakyReLU(SLOPE)]
        for i, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            stride = 2 if i < layers else 1
            body += [
                convolution(inputs, outputs, 4, stride, padding=1, bias=False),
                build_norm(norm, outputs, spatial_dims),
                nn.LeakyReLU(SLOPE),
            ]
        last = convolution(widths[-1], 1, 4, stride=1, padding=1)
        self.body = nn.Sequential(*body, last)
        self.apply(initialise)

    @staticmethod
    def smallest_side(layers: int) -> int:
        """Pixels an input needs: the last stride-2 map must be 3 wide, the normalised one after it 2."""
        return 3 * 2**layers

    def forward(self, condition: Tensor, image: Tensor) -> Tensor:
        """condition [B, M, H, W] and image [B, C, H, W] -> logits [B, 1, h, w], positive for real; volumes alike."""
        side = min(image.shape[2:])
        needed = self.smallest_side(self.layers)
        if side < needed:
            raise UserError(
                f"images are {side} pixels on the smaller side; a discriminator of {self.layers} layers "
                f"needs {needed}: enlarge image_size or lower generator.discriminator.layers"
            )
        pair = torch.cat([condition, image], dim=1)
        return self.body(pair)


class MultiScaleDiscriminator(nn.Module):
    """PatchGANs at full, half, ... resolution that also tell what their layers see (Wang et al.; SPADE, Appendix A).

    Each is built as `PatchDiscriminator`, but for 2 pixels of padding in place of 1, so that any image of 32 pixels
    or more will do.

    Args:
        in_channels: channels of the encoded mask plus those of the image.
        base_channels: channels of the first layer, doubled by each next one up to 8 times.
        layers: stride-2 convolutions.
        scales: how many discriminators, each at half the resolution of the one before.
        spectral: divide weights by their largest singular value, but for the first and the last layer's, as
            published.
        spatial_dims: 2 for images, 3 for volumes.
    """

    def __init__(
        self,
        in_channels: int,
        base_channels: int = 64,
        layers: int = 3,
        scales: int = 2,
        spectral: bool = True,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        for name, number in (("layers", layers), ("scales", scales)):
            if number < 1:
                raise UserError(f"generator.discriminator.{name} is {number}; at least 1 is needed")
        self.scales = nn.ModuleList()
        for _ in range(scales):
            self.scales.append(build_stages(in_channels, base_channels, layers, spectral, spatial_dims))
        self.shrink = F.avg_pool2d if spatial_dims == 2 else F.avg_pool3d

    def forward(self, condition: Tensor, image: Tensor) -> list[list[Tensor]]:
        """condition [B, M, H, W] and image [B, C, H, W] -> of each scale the features of its layers and then its
        logits [B, 1, h, w], positive for real; volumes alike."""
        pair = torch.cat([condition, image], dim=1)
        verdict = []
        for i, stages in enumerate(self.scales):
            if i:
                pair = self.shrink(pair, 3, stride=2, padding=1, count_include_pad=False)
            x = pair
            seen = []
            for stage in stages:  # type: ignore[attr-defined]
                x = stage(x)
                seen.append(x)
            verdict.append(seen)
        return verdict


def build_stages(in_channels: int, base_channels: int, layers: int, spectral: bool, spatial_dims: int) -> nn.ModuleList:
    """The layers of one scale, in groups that end where feature matching looks; the last one gives the logits."""
    convolution, _ = CONVOLUTIONS[spatial_dims]
    widths = list_doubled_widths(base_channels, layers + 1)
    first = convolution(in_channels, widths[0], 4, 2, padding=2)
    stages = [nn.Sequential(first, nn.LeakyReLU(SLOPE))]
    for i, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        stride = 2 if i < layers else 1
        middle = convolution(inputs, outputs, 4, stride, padding=2, bias=False)
        initialise(middle)
        if spectral:
            normalise_spectrally(middle)
        norm = build_norm("instance", outputs, spatial_dims)
        stages.append(nn.Sequential(middle, norm, nn.LeakyReLU(SLOPE)))
    last = convolution(widths[-1], 1, 4, stride=1, padding=2)
    stages.append(nn.Sequential(last))
    # In this order: the first weights of the others are drawn by then.
    initialise(first)
    initialise(last)
    return nn.ModuleList(stages)


class SpectralNorm(nn.Module):
    """W / σ(W), with σ the largest singular value of W as a matrix [outputs, all else] (Miyato et al., ICLR 2018).

    PyTorch's spectral norm carries a vector from call to call, with one power iteration each. What its network returns
    depends on how often it was called, and a replayed step would differ. This one starts anew from the longest column:
    a function of the weight alone, at most some percent below σ. Its derivative holds the singular vectors fixed.
    """

    iterations = 8

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        with torch.no_grad():
            longest = matrix.norm(dim=0).argmax().reshape(1)
            column = matrix.index_select(1, longest)[:, 0]  # by a tensor, so that nothing is read from the device
            left = F.normalize(column, dim=0)
            for _ in range(self.iterations):
                right = F.normalize(left @ matrix, dim=0)
                left = F.normalize(matrix @ right, dim=0)
        largest = left @ matrix @ right
        return weight / largest.clamp_min(EPSILON)


def normalise_spectrally(convolution: nn.Module) -> None:
    """Put `SpectralNorm` before a layer's weight, whose first values must be drawn by then: it is
    `parametrizations.weight.original` from now on."""
    register_parametrization(convolution, "weight", SpectralNorm())
