"""The UNet of Ronneberger et al. (MICCAI 2015, arXiv:1505.04597), trained from scratch, as the paper's UNet.

Two changes against 2015 that have become usual: convolutions keep their size, and each is followed by
BatchNorm. 31.0 M parameters at 64 base channels.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from genseg_betty.backbones.dimensions import images_only
from genseg_betty.backbones.feature_dropout import EncoderOutput
from genseg_betty.backbones.padding import PadToMultiple

DEPTH = 4


def unet_classic(
    in_channels: int, num_outputs: int, spatial_dims: int = 2, base_channels: int = 64, bilinear: bool = False
) -> nn.Module:
    """Classic UNet: [B, in_channels, H, W] -> logits [B, num_outputs, H, W], any H and W.

    Args:
        base_channels: at full resolution; doubled by each of the 4 halvings.
        bilinear: double the size by interpolation and a 1 x 1 convolution instead of a transposed convolution (fewer
            parameters).
    """
    images_only("unet_classic", spatial_dims)
    network = ClassicUNet(in_channels, num_outputs, base_channels, bilinear)
    return PadToMultiple(network, multiple=2**DEPTH)


class ClassicUNet(nn.Module):
    """The network itself; H and W must be divisible by 16."""

    def __init__(self, in_channels: int, num_outputs: int, base_channels: int, bilinear: bool) -> None:
        super().__init__()
        widths = [base_channels * 2**level for level in range(DEPTH + 1)]
        self.entry = _build_convolutions(in_channels, widths[0])
        self.down = nn.ModuleList()
        for narrow, wide in pairwise(widths):
            halved = nn.Sequential(nn.MaxPool2d(2), _build_convolutions(narrow, wide))
            self.down.append(halved)
        self.features = EncoderOutput()
        self.up = nn.ModuleList()
        for wide, narrow in pairwise(reversed(widths)):
            self.up.append(_Up(wide, narrow, bilinear))
        self.head = nn.Conv2d(widths[0], num_outputs, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        features = [self.entry(image)]
        for down in self.down:
            features.append(down(features[-1]))
        features = [*self.features(features)]
        x = features.pop()
        for up in self.up:
            x = up(x, features.pop())
        return self.head(x)


class _Up(nn.Module):
    """Doubles the size, halves the channels, joins the encoder's feature of that size."""

    def __init__(self, wide: int, narrow: int, bilinear: bool) -> None:
        super().__init__()
        self.enlarge: nn.Module
        if bilinear:
            self.enlarge = nn.Sequential(
                nn.Conv2d(wide, narrow, kernel_size=1),
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            )
        else:
            self.enlarge = nn.ConvTranspose2d(wide, narrow, kernel_size=2, stride=2)
        self.join = _build_convolutions(2 * narrow, narrow)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = torch.cat([skip, self.enlarge(x)], dim=1)
        return self.join(x)


def _build_convolutions(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
