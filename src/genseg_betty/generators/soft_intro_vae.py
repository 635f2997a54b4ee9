"""Soft-IntroVAE, conditional on the mask: mask and z -> image (Daniel & Tamar, CVPR 2021, arXiv:2012.13253).

A VAE that needs no discriminator: its encoder E tells real images from drawn ones by their ELBO, and its decoder D,
the generator G of GenSeg, raises the ELBO of what it draws. E is the opponent H, although the two also work together.

Changed to stand in GenSeg: the decoder is a U-Net over the mask whose cells are searchable, and z joins it at the
bottleneck through a linear layer, as the published decoder begins; the encoder sees mask and image. Small batches
call for norms of single images in place of BatchNorm. The log-variance is bounded, so that no early step overflows.
At 256 pixels and 64 channels G has 243 M parameters, and 34 M with one operation a cell.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.generators.layers import UNetStage, build_norm, crop, initialise, pad_even, pooled_body
from genseg_betty.generators.objectives import Network, Objective
from genseg_betty.generators.search_space import MAX_DEPTH, PAPER_SPACE, SearchSpace, count_halvings, list_sides
from genseg_betty.generators.searchable import Alpha, SearchableGenerator

LARGEST_LOG_VARIANCE = 10.0


class SoftIntroVAE(SearchableGenerator):
    """The decoder D(z, mask): a U-Net with searchable cells, and z at its bottleneck.

    Args:
        in_channels: channels of the encoded mask, see `encoding.encode_mask`.
        out_channels: channels of the image.
        image_size: (H, W) or one number for both, at least 32; it draws images of this size alone.
        space: what is searched, see `SearchSpace`; depth None takes
            two fewer than halve the smaller side to one pixel, and 6 at most.
        latent_channels: length of z.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_size: int | Sequence[int],
        space: SearchSpace = PAPER_SPACE,
        latent_channels: int = 64,
    ) -> None:
        super().__init__()
        space.check_images("soft_intro_vae")
        deepest = min(count_halvings(image_size), MAX_DEPTH)
        depth = space.choose_depth(image_size, deepest, deepest - 2)
        widths = space.list_widths(depth)
        self.innermost = [widths[-1], *(-(-side // 2**depth) for side in list_sides(image_size))]
        self.latent = nn.Linear(latent_channels, widths[-1] * self.innermost[1] * self.innermost[2])
        self.down = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise([in_channels, *widths])):
            cell = space.build_convolution("encoder", inputs, outputs, not i)
            activation = nn.LeakyReLU(0.2) if i else nn.Identity()
            self.down.append(UNetStage(activation, cell, build_norm("instance", outputs) if i else nn.Identity()))
        self.up = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise([*reversed(widths), out_channels])):
            last = i == depth - 1
            cell = space.build_convolution("decoder", 2 * inputs, outputs, last)
            self.up.append(UNetStage(nn.ReLU(), cell, nn.Identity() if last else build_norm("instance", outputs)))
        self.apply(initialise)

    def forward(self, z: Tensor, condition: Tensor, alpha: Alpha | None = None) -> Tensor:
        """z [B, Z] and encoded masks [B, M, H, W] in -1..1 -> images [B, C, H, W] in -1..1."""
        rows = self.rows(alpha)
        x, skips = condition, []
        for level in self.down:
            skips.append(x)
            x = level(pad_even(x), rows)
        if list(x.shape[1:]) != self.innermost:
            raise ValueError(f"masks are {list(condition.shape[2:])} pixels; the generator was built for another size")
        x = torch.cat([x, self.latent(z).unflatten(1, self.innermost)], dim=1)
        for level in self.up:
            skip = skips.pop()
            x = crop(level(x, rows), skip)
            if skips:
                x = torch.cat([skip, x], dim=1)
        return torch.tanh(x)


class Encoder(nn.Module):
    """The encoder E(mask, image): mean and log-variance of z.

    Args:
        in_channels: channels of the encoded mask plus those of the image.
        latent_channels: length of z. base_channels: channels of the first layer, doubled by each next one up to 8
            times. layers: stride-2 convolutions; their last map is averaged to 4x4 and then read by a linear layer.
    """

    def __init__(self, in_channels: int, latent_channels: int = 64, base_channels: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.body, width = pooled_body(in_channels, base_channels, layers)
        self.head = nn.Linear(width, 2 * latent_channels)

    def forward(self, condition: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """condition [B, M, H, W] and image [B, C, H, W] -> mean and log-variance of z, [B, Z] each."""
        mean, free = self.head(self.body(torch.cat([condition, image], dim=1))).chunk(2, dim=1)
        return mean, LARGEST_LOG_VARIANCE * torch.tanh(free / LARGEST_LOG_VARIANCE)


class Introspection(Objective):
    """The introspective losses with α = 2, as the published code has them, s = 1 / (C H W):

        L_E = s (β_rec rec(x) + β_kl KL(x)) + ½ exp(-2 s (β_rec rec(x̂) + β_neg KL(x̂)))
        L_D = s (β_rec rec(x) + β_kl KL(x̂) + γ_r β_rec rec(x̂))

    rec is the squared error summed over an image, KL that of q(z | image, mask) from N(0, 1). The drawn x̂ are, in
    equal parts, images of z ~ N(0, 1) and reconstructions of x. E sees them as constants; D does so in rec(x̂), where
    it changes neither the target nor its z, and no hypergradient goes through these two: γ_r is meant to be tiny. They
    are drawn for the real masks.

    Args:
        latent_channels: length of z, as G and E have it.
        beta_rec, beta_kl, beta_neg: β_rec, β_kl and β_neg. reconstruct_drawn: γ_r.
    """

    def __init__(
        self,
        latent_channels: int = 64,
        beta_rec: float = 1.0,
        beta_kl: float = 1.0,
        beta_neg: float = 256.0,
        reconstruct_drawn: float = 1e-8,
    ) -> None:
        self.latent_channels = latent_channels
        self.beta_rec, self.beta_kl, self.beta_neg = beta_rec, beta_kl, beta_neg
        self.reconstruct_drawn = reconstruct_drawn

    def draw(self, generator: Network, condition: Tensor) -> tuple[Tensor, Tensor]:
        return generator(self._prior(condition), condition), condition

    def opponent_loss(self, generator: Network, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        scale = 1 / image[0].numel()
        mean, log_variance = opponent(condition, image)
        reconstructed = generator(reparameterise(mean, log_variance), condition)
        real = self.beta_rec * squared_error(image, reconstructed) + self.beta_kl * divergence(mean, log_variance)
        with torch.no_grad():
            drawn = torch.cat([reconstructed, generator(self._prior(condition), condition)])
        twice = torch.cat([condition, condition])
        mean, log_variance = opponent(twice, drawn)
        again = generator(reparameterise(mean, log_variance), twice)
        fake = self.beta_rec * squared_error(drawn, again) + self.beta_neg * divergence(mean, log_variance)
        return scale * real.mean() + 0.5 * torch.exp(-2 * scale * fake).mean()

    def generator_loss(self, generator: Network, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        with torch.no_grad():
            z = reparameterise(*opponent(condition, image))
        twice = torch.cat([condition, condition])
        drawn = generator(torch.cat([z, self._prior(condition)]), twice)
        mean, log_variance = opponent(twice, drawn)
        loss = self.beta_rec * squared_error(image, drawn[: len(image)]).mean()
        loss = loss + self.beta_kl * divergence(mean, log_variance).mean()
        if self.reconstruct_drawn:
            again = generator(reparameterise(mean, log_variance).detach(), twice)
            loss = loss + self.reconstruct_drawn * self.beta_rec * squared_error(drawn.detach(), again).mean()
        return loss / image[0].numel()

    def _prior(self, condition: Tensor) -> Tensor:
        return torch.randn(len(condition), self.latent_channels, dtype=condition.dtype, device=condition.device)


def reparameterise(mean: Tensor, log_variance: Tensor) -> Tensor:
    """z ~ N(mean, variance), differentiable in both."""
    return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) ‖ N(0, 1)) of each [B, Z] -> [B]."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)


def squared_error(target: Tensor, image: Tensor) -> Tensor:
    """Squared error, summed over each image: [B]."""
    return F.mse_loss(image, target, reduction="none").flatten(1).sum(dim=1)
