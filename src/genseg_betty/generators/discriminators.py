"""Discriminators H: real or generated, judged patch by patch (PatchGAN; Isola et al., CVPR 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genseg_betty.errors import UserError
from genseg_betty.generators.pix2pix import build_norm, initialise


class PatchDiscriminator(nn.Module):
    """Conditional PatchGAN: one logit for each overlapping patch of the pair (mask, image).

    `layers` stride-2 convolutions, then two of stride 1, all 4x4: a logit sees 70x70 pixels at 3 layers,
    34x34 at 2 and 16x16 at 1. The first layer has no norm.

    Args:
        in_channels: channels of the encoded mask plus those of the image.
        base_channels: channels of the first layer, doubled by each next one up to 8 times.
        layers: stride-2 convolutions.
        norm: `instance` or `batch`.
        image_size: (H, W), if known: `layers` is then lowered until the last normalised map is at least 2x2,
            to 2 below 24 pixels and to 1 below 12.
    """

    def __init__(
        self,
        in_channels: int,
        base_channels: int = 64,
        layers: int = 3,
        norm: str = "instance",
        image_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise UserError(f"generator.discriminator.layers is {layers}; at least 1 is needed")
        if image_size is not None:
            while layers > 1 and min(image_size) < self.smallest_side(layers):
                layers -= 1
        self.layers = layers
        widths = [base_channels * min(2**i, 8) for i in range(layers + 1)]
        body: list[nn.Module] = [nn.Conv2d(in_channels, widths[0], 4, 2, padding=1), nn.LeakyReLU(0.2)]
        for i in range(1, layers + 1):
            stride = 2 if i < layers else 1
            body += [
                nn.Conv2d(widths[i - 1], widths[i], 4, stride, padding=1, bias=False),
                build_norm(norm, widths[i]),
                nn.LeakyReLU(0.2),
            ]
        self.body = nn.Sequential(*body, nn.Conv2d(widths[-1], 1, 4, stride=1, padding=1))
        self.apply(initialise)

    @staticmethod
    def smallest_side(layers: int) -> int:
        """Pixels an input needs: the last stride-2 map must be 3 wide, the normalised one after it 2."""
        return 3 * 2**layers

    def forward(self, condition: Tensor, image: Tensor) -> Tensor:
        """condition [B, M, H, W] and image [B, C, H, W] -> logits [B, 1, h, w], positive for real."""
        side, needed = min(image.shape[-2:]), self.smallest_side(self.layers)
        if side < needed:
            raise UserError(
                f"images are {side} pixels on the smaller side; a discriminator of {self.layers} layers "
                f"needs {needed}: enlarge image_size or lower generator.discriminator.layers"
            )
        return self.body(torch.cat([condition, image], dim=1))
