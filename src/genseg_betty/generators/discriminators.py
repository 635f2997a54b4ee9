"""Discriminators H: real or generated, judged patch by patch (PatchGAN; Isola et al., CVPR 2017), at one scale or more
(Wang et al., CVPR 2018; Park et al., CVPR 2019)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from genseg_betty.errors import UserError
from genseg_betty.generators.cells import CONVOLUTIONS
from genseg_betty.generators.layers import build_norm, initialise

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
        widths = [base_channels * min(2**i, 8) for i in range(layers + 1)]
        convolution = CONVOLUTIONS[spatial_dims][False]
        body: list[nn.Module] = [convolution(in_channels, widths[0], 4, 2, padding=1), nn.LeakyReLU(0.2)]
        for i in range(1, layers + 1):
            stride = 2 if i < layers else 1
            body += [
                convolution(widths[i - 1], widths[i], 4, stride, padding=1, bias=False),
                build_norm(norm, widths[i], spatial_dims),
                nn.LeakyReLU(0.2),
            ]
        self.body = nn.Sequential(*body, convolution(widths[-1], 1, 4, stride=1, padding=1))
        self.apply(initialise)

    @staticmethod
    def smallest_side(layers: int) -> int:
        """Pixels an input needs: the last stride-2 map must be 3 wide, the normalised one after it 2."""
        return 3 * 2**layers

    def forward(self, condition: Tensor, image: Tensor) -> Tensor:
        """condition [B, M, H, W] and image [B, C, H, W] -> logits [B, 1, h, w], positive for real; volumes alike."""
        side, needed = min(image.shape[2:]), self.smallest_side(self.layers)
        if side < needed:
            raise UserError(
                f"images are {side} pixels on the smaller side; a discriminator of {self.layers} layers "
                f"needs {needed}: enlarge image_size or lower generator.discriminator.layers"
            )
        return self.body(torch.cat([condition, image], dim=1))


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
        self.scales = nn.ModuleList(
            staged_discriminator(in_channels, base_channels, layers, spectral, spatial_dims) for _ in range(scales)
        )
        self.shrink = {2: F.avg_pool2d, 3: F.avg_pool3d}[spatial_dims]

    def forward(self, condition: Tensor, image: Tensor) -> list[list[Tensor]]:
        """condition [B, M, H, W] and image [B, C, H, W] -> of each scale the features of its layers and then its
        logits [B, 1, h, w], positive for real; volumes alike."""
        pair = torch.cat([condition, image], dim=1)
        verdict = []
        for i, stages in enumerate(self.scales):
            x = self.shrink(pair, 3, stride=2, padding=1, count_include_pad=False) if i else pair
            pair, seen = x, []
            for stage in stages:  # type: ignore[attr-defined]
                x = stage(x)
                seen.append(x)
            verdict.append(seen)
        return verdict


def staged_discriminator(
    in_channels: int, base_channels: int, layers: int, spectral: bool, spatial_dims: int
) -> nn.ModuleList:
    """The layers of one scale, in groups that end where feature matching looks; the last one gives the logits."""
    convolution = CONVOLUTIONS[spatial_dims][False]
    widths = [base_channels * min(2**i, 8) for i in range(layers + 1)]
    stages = [nn.Sequential(convolution(in_channels, widths[0], 4, 2, padding=2), nn.LeakyReLU(0.2))]
    for i in range(1, layers + 1):
        middle = convolution(widths[i - 1], widths[i], 4, 2 if i < layers else 1, padding=2, bias=False)
        initialise(middle)
        if spectral:
            normalise_spectrally(middle)
        stages.append(nn.Sequential(middle, build_norm("instance", widths[i], spatial_dims), nn.LeakyReLU(0.2)))
    stages.append(nn.Sequential(convolution(widths[-1], 1, 4, stride=1, padding=2)))
    initialise(stages[0][0])
    initialise(stages[-1][0])
    return nn.ModuleList(stages)


class SpectralNorm(nn.Module):
    """W / σ(W), with σ the largest singular value of W as a matrix [outputs, all else] (Miyato et al., ICLR 2018).

    PyTorch's carries a vector from call to call, one power iteration each, so that what a network returns depends on
    how often it was asked; a step that is replayed would not replay. This one starts anew from the longest column: a
    function of the weight alone, at most some percent below σ. Its derivative holds the singular vectors fixed.
    """

    iterations = 8

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        with torch.no_grad():
            longest = matrix.norm(dim=0).argmax()
            left = F.normalize(matrix.index_select(1, longest.reshape(1))[:, 0], dim=0)  # the device need not be asked
            for _ in range(self.iterations):
                right = F.normalize(left @ matrix, dim=0)
                left = F.normalize(matrix @ right, dim=0)
        return weight / (left @ matrix @ right).clamp_min(EPSILON)


def normalise_spectrally(convolution: nn.Module) -> None:
    """Put `SpectralNorm` before a layer's weight, whose first values must be drawn by then: it is
    `parametrizations.weight.original` from now on."""
    register_parametrization(convolution, "weight", SpectralNorm())
