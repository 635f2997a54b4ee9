"""Soft-IntroVAE, conditional on the mask: mask and z -> image (Daniel & Tamar, CVPR 2021, arXiv:2012.13253).

A VAE that needs no discriminator: its encoder E tells real images from drawn ones by their ELBO, and its decoder D,
the generator G of GenSeg, raises the ELBO of what it draws. E stands where other families have the discriminator H,
although E and D also work together.

Changed to stand in GenSeg: the decoder is a U-Net over the mask whose cells are searchable, and z joins it at the
bottleneck through a linear layer, as the published decoder begins; the encoder sees mask and image. Small batches
call for norms of single images in place of BatchNorm. The log-variance is bounded, so that no early step overflows.
At 256 pixels and 64 channels G has 243 M parameters, and 34 M with one operation a cell.
"""

import math
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.generators.layers import (
    build_encoder,
    build_pooled_body,
    build_stage,
    initialise,
    run_decoder,
    run_encoder,
)
from genseg_betty.generators.objectives import Network, Objective
from genseg_betty.generators.search_space import MAX_DEPTH, SearchSpace
from genseg_betty.generators.searchable import Alpha, SearchableGenerator, spread_shapes
from genseg_betty.generators.shapes import Shapes

SLOPE = 0.2
LARGEST_LOG_VARIANCE = 10.0


class SoftIntroVAE(SearchableGenerator):
    """The decoder D(z, mask): a U-Net with searchable cells, and z at its bottleneck.

    It draws images of the size that it is built for, and of no other.

    Args:
        shapes: see `Shapes`.
        space: see `SearchSpace`; its depth None takes two fewer than halve the smaller side to one pixel, at most 6.
        latent_channels: length of z.
    """

    @spread_shapes
    def __init__(self, shapes: Shapes, space: SearchSpace, latent_channels: int = 64) -> None:
        super().__init__()
        space.check_images("soft_intro_vae")
        deepest = min(shapes.count_halvings(), MAX_DEPTH)
        depth = space.choose_depth(shapes, deepest, deepest - 2)
        widths = space.list_widths(depth)
        # z becomes a map of the size of the smallest one, and is joined to it.
        sides = shapes.list_sides(halvings=depth)
        self.innermost = [widths[-1], *sides]
        self.latent = nn.Linear(latent_channels, math.prod(self.innermost))
        channels = [shapes.in_channels, *widths]
        activation = partial(nn.LeakyReLU, SLOPE)
        self.down = build_encoder(space, channels, activation, norm="instance", is_last_normalised=True)
        self.up = nn.ModuleList()
        rising = [*reversed(widths), shapes.out_channels]
        for i, (inputs, outputs) in enumerate(pairwise(rising)):
            with_skip = (2 * inputs, outputs)
            norm = None if i == depth - 1 else "instance"
            stage = build_stage(space, "decoder", with_skip, nn.ReLU(), norm)
            self.up.append(stage)
        self.apply(initialise)

    def forward(self, z: Tensor, condition: Tensor, alpha: Alpha | None = None) -> Tensor:
        """z [B, Z] and encoded masks [B, M, H, W] in -1..1 -> images [B, C, H, W] in -1..1."""
        rows = self.rows(alpha)
        x, skips = run_encoder(self.down, condition, rows)
        if list(x.shape[1:]) != self.innermost:
            size = list(condition.shape[2:])
            raise ValueError(f"masks are {size} pixels; the generator was built for another size")
        latent = self.latent(z)
        latent = latent.unflatten(1, self.innermost)
        x = torch.cat([x, latent], dim=1)
        return torch.tanh(run_decoder(self.up, x, skips, rows))


class Encoder(nn.Module):
    """The encoder E(mask, image): mean and log-variance of z.

    Args:
        in_channels: channels of the encoded mask plus those of the image.
        latent_channels: length of z.
        base_channels: channels of the first layer, doubled by each next one up to 8 times.
        layers: stride-2 convolutions; their last map is averaged to 4x4 and then read by a linear layer.
    """

    def __init__(self, in_channels: int, latent_channels: int = 64, base_channels: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.body, width = build_pooled_body(in_channels, base_channels, layers)
        self.head = nn.Linear(width, 2 * latent_channels)

    def forward(self, condition: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """condition [B, M, H, W] and image [B, C, H, W] -> mean and log-variance of z, [B, Z] each."""
        pair = torch.cat([condition, image], dim=1)
        features = self.body(pair)
        mean, unbounded = self.head(features).chunk(2, dim=1)
        log_variance = LARGEST_LOG_VARIANCE * torch.tanh(unbounded / LARGEST_LOG_VARIANCE)
        return mean, log_variance


class Introspection(Objective):
    """The introspective losses with α = 2, as the published code has them, s = 1 / (C H W):

        L_E = s (β_rec rec(x) + β_kl KL(x)) + ½ exp(-2 s (β_rec rec(x̂) + β_neg KL(x̂)))
        L_D = s (β_rec rec(x) + β_kl KL(x̂) + γ_r β_rec rec(x̂))

    rec is the squared error summed over an image; KL is the divergence of q(z | image, mask) from N(0, 1). The drawn x̂
    are, in equal parts, images of z ~ N(0, 1) and reconstructions of x, all for the real masks.

    E sees the x̂ as constants. D sees the target and the z of rec(x̂) as constants, and no hypergradient goes through
    these two: γ_r is meant to be tiny.

    Args:
        latent_channels: length of z, as G and E have it.
        beta_rec: β_rec.
        beta_kl: β_kl.
        beta_neg: β_neg.
        reconstruct_drawn: γ_r.
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
        self.beta_rec = beta_rec
        self.beta_kl = beta_kl
        self.beta_neg = beta_neg
        self.reconstruct_drawn = reconstruct_drawn

    def draw(self, generator: Network, condition: Tensor) -> tuple[Tensor, Tensor]:
        z = self._draw_prior(condition)
        return generator(z, condition), condition

    def discriminator_loss(
        self, generator: Network, discriminator: Network, condition: Tensor, image: Tensor
    ) -> Tensor:
        scale = 1 / image[0].numel()
        mean, log_variance = discriminator(condition, image)
        reconstructed = generator(reparameterise(mean, log_variance), condition)
        error = self.beta_rec * squared_error(image, reconstructed)
        real = error + self.beta_kl * divergence(mean, log_variance)

        # What is drawn: the reconstructions, and as many images of z from the prior.
        with torch.no_grad():
            of_prior = generator(self._draw_prior(condition), condition)
            drawn = torch.cat([reconstructed, of_prior])
        twice = torch.cat([condition, condition])
        mean, log_variance = discriminator(twice, drawn)
        again = generator(reparameterise(mean, log_variance), twice)
        error = self.beta_rec * squared_error(drawn, again)
        fake = error + self.beta_neg * divergence(mean, log_variance)
        likelihood = torch.exp(-2 * scale * fake)
        return scale * real.mean() + 0.5 * likelihood.mean()

    def generator_loss(self, generator: Network, discriminator: Network, condition: Tensor, image: Tensor) -> Tensor:
        with torch.no_grad():
            mean, log_variance = discriminator(condition, image)
            z = reparameterise(mean, log_variance)
        twice = torch.cat([condition, condition])
        both = torch.cat([z, self._draw_prior(condition)])
        drawn = generator(both, twice)
        mean, log_variance = discriminator(twice, drawn)
        reconstructed = drawn[: len(image)]
        error = squared_error(image, reconstructed).mean()
        loss = self.beta_rec * error
        from_prior = divergence(mean, log_variance).mean()
        loss = loss + self.beta_kl * from_prior
        if self.reconstruct_drawn:
            again = generator(reparameterise(mean, log_variance).detach(), twice)
            error = squared_error(drawn.detach(), again).mean()
            loss = loss + self.reconstruct_drawn * self.beta_rec * error
        return loss / image[0].numel()

    def _draw_prior(self, condition: Tensor) -> Tensor:
        """z [B, Z] from N(0, 1), one for each mask."""
        shape = (len(condition), self.latent_channels)
        return torch.randn(shape, dtype=condition.dtype, device=condition.device)


def reparameterise(mean: Tensor, log_variance: Tensor) -> Tensor:
    """z ~ N(mean, variance), differentiable in both."""
    deviation = torch.exp(0.5 * log_variance)
    return mean + deviation * torch.randn_like(mean)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) ‖ N(0, 1)) of each [B, Z] -> [B]."""
    variance = log_variance.exp()
    summands = mean.square() + variance - 1 - log_variance
    return 0.5 * summands.sum(dim=1)


def squared_error(target: Tensor, image: Tensor) -> Tensor:
    """Squared error, summed over each image: [B]."""
    squares = F.mse_loss(image, target, reduction="none")
    return squares.flatten(1).sum(dim=1)
