"""WGAN-GP: image and mask together from a Gaussian vector (Gulrajani et al., NeurIPS 2017, arXiv:1704.00028).

This is GenSeg's ablation "Simultaneous": no mask is given, stage II trains on the mask that comes with the image.

Changed to stand in GenSeg: all layers of the generator that double a map are searchable cells; one generator draws
the channels of the image and those of the mask, which is relaxed to shares of the classes, so that the losses of
stages II and III reach α through it as well; the critic sees the pair. H makes one step for each of G (published: 5).
At 256 pixels and 64 channels G has 82 M parameters, and 12 M with one operation a cell.
"""

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.errors import UserError
from genseg_betty.generators.layers import build_norm, build_pooled_body, build_stage, initialise
from genseg_betty.generators.objectives import Network, Objective
from genseg_betty.generators.search_space import MAX_DEPTH, SearchSpace
from genseg_betty.generators.searchable import Alpha, SearchableGenerator, spread_shapes
from genseg_betty.generators.shapes import Shapes

TINY = 1e-12

Pairs = tuple[Tensor, Tensor]
"""Encoded masks [B, M, H, W] and images [B, C, H, W]."""


class WGAN(SearchableGenerator):
    """Gaussian vector -> image and soft mask. All its searchable cells are up cells.

    Args:
        shapes: see `Shapes`; the encoded mask is drawn here, too.
        space: see `SearchSpace`; its depth None takes two fewer than halve the smaller side to one pixel, at most 6.
        latent_channels: length of the vector.
        norm: `batch`, as published, or `instance`.
        temperature: of the sigmoid or softmax that makes the mask; below 1 it is sharper.
        straight_through: hand out the mask of the strongest class, with the derivative of the soft one.
    """

    @spread_shapes
    def __init__(
        self,
        shapes: Shapes,
        space: SearchSpace,
        latent_channels: int = 128,
        norm: Literal["instance", "batch"] = "batch",
        temperature: float = 1.0,
        straight_through: bool = False,
    ) -> None:
        super().__init__()
        space.check_images("wgan_gp")
        if space.searched not in ("both", "decoder"):
            raise UserError(f"generator.searched is {space.searched!r}; wgan_gp has no encoder: choose both or decoder")
        if temperature <= 0:
            raise UserError(f"generator.temperature is {temperature}; expected a number above 0")
        self.channels = [shapes.out_channels, shapes.in_channels]
        self.temperature = temperature
        self.straight_through = straight_through
        deepest = min(shapes.count_halvings(), MAX_DEPTH)
        depth = space.choose_depth(shapes, deepest, deepest - 2)
        # The vector becomes the smallest map; each level doubles a map and crops it to its size.
        rising = reversed(range(depth + 1))
        self.sizes = [shapes.list_sides(halvings) for halvings in rising]
        widths = space.list_widths(depth)[::-1]
        self.innermost = [widths[0], *self.sizes[0]]
        self.latent = nn.Linear(latent_channels, math.prod(self.innermost))
        self.norm = build_norm(norm, widths[0])
        self.up = nn.ModuleList()
        for i, channels in enumerate(pairwise([*widths, sum(self.channels)])):
            norm_here = None if i == depth - 1 else norm
            stage = build_stage(space, "decoder", channels, nn.ReLU(), norm_here)
            self.up.append(stage)
        self.apply(initialise)

    def forward(self, z: Tensor, alpha: Alpha | None = None) -> tuple[Tensor, Tensor]:
        """z [B, Z] -> images [B, C, H, W] and encoded soft masks [B, M, H, W], both in -1..1."""
        rows = self.rows(alpha)
        x = self.latent(z)
        x = x.unflatten(1, self.innermost)
        x = self.norm(x)
        for level, (height, width) in zip(self.up, self.sizes[1:], strict=True):
            x = level(x, rows)
            x = x[..., :height, :width]
        image, mask = x.split(self.channels, dim=1)
        return torch.tanh(image), self.relax_mask(mask)

    def relax_mask(self, logits: Tensor) -> Tensor:
        """The soft mask in -1..1 of logits [B, M, H, W]; one channel is the foreground's."""
        logits = logits / self.temperature
        soft = soften_mask(logits)
        if not self.straight_through:
            return soft
        chosen = choose_classes(logits).to(soft.dtype)
        hard = 2 * chosen - 1
        return hard + (soft - soft.detach())


def soften_mask(logits: Tensor) -> Tensor:
    """Twice the shares of the classes, less 1, by a sigmoid or a softmax."""
    if logits.shape[1] == 1:
        return torch.tanh(logits / 2)  # 2 sigmoid(x) - 1
    return 2 * logits.softmax(dim=1) - 1


def choose_classes(logits: Tensor) -> Tensor:
    """1 for the strongest class of each pixel, and 0 for the others."""
    classes = logits.shape[1]
    if classes == 1:
        return logits > 0
    strongest = logits.argmax(dim=1)
    chosen = F.one_hot(strongest, classes)
    return chosen.movedim(-1, 1)


class Critic(nn.Module):
    """Mask and image -> one number without bounds, higher for real pairs. LayerNorm, as published for the penalty.

    Args:
        in_channels: channels of the encoded mask plus those of the image.
        base_channels: channels of the first layer, doubled by each next one up to 8 times.
        layers: stride-2 convolutions; their last map is averaged to 4x4 and then read by a linear layer.
    """

    def __init__(self, in_channels: int, base_channels: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.body, width = build_pooled_body(in_channels, base_channels, layers)
        self.head = nn.Linear(width, 1)

    def forward(self, condition: Tensor, image: Tensor) -> Tensor:
        """condition [B, M, H, W] and image [B, C, H, W] -> [B]."""
        pair = torch.cat([condition, image], dim=1)
        return self.head(self.body(pair)).squeeze(1)


class WassersteinGAN(Objective):
    """The Wasserstein distance of real pairs to drawn ones (Eq. 3):

        L_H = E[H(fake)] - E[H(real)] + λ E[(‖∇H(mixed)‖ - 1)²],   L_G = -E[H(fake)]

    Args:
        latent_channels: length of the Gaussian vector, as G has it.
        penalty_weight: λ.
    """

    draws_masks = True

    def __init__(self, latent_channels: int = 128, penalty_weight: float = 10.0) -> None:
        self.latent_channels = latent_channels
        self.penalty_weight = penalty_weight

    def draw(self, generator: Network, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Images and their own soft masks: as many as the given masks, which it does not look at, and of their kind."""
        shape = (len(condition), self.latent_channels)
        z = torch.randn(shape, dtype=condition.dtype, device=condition.device)
        image, mask = generator(z)
        return image, mask

    def discriminator_loss(
        self, generator: Network, discriminator: Network, condition: Tensor, image: Tensor
    ) -> Tensor:
        with torch.no_grad():
            drawn, mask = self.draw(generator, condition)
        fake = discriminator(mask, drawn).mean()
        real = discriminator(condition, image).mean()
        penalty = gradient_penalty(discriminator, (condition, image), (mask, drawn))
        return fake - real + self.penalty_weight * penalty

    def generator_loss(self, generator: Network, discriminator: Network, condition: Tensor, image: Tensor) -> Tensor:
        drawn, mask = self.draw(generator, condition)
        return -discriminator(mask, drawn).mean()


def gradient_penalty(discriminator: Network, real: Pairs, fake: Pairs) -> Tensor:
    """E[(‖∇H‖ - 1)²] at pairs on the straight lines between real and drawn ones; a pair moves as one.

    In the precision of the real pairs: what was drawn in half of it is brought there.
    """
    mask, _ = real
    shape = (len(mask), 1, 1, 1)
    share = torch.rand(shape, dtype=mask.dtype, device=mask.device)
    mixed = []
    for start, end in zip(real, fake, strict=True):
        end = end.detach().to(start.dtype)
        between = torch.lerp(start.detach(), end, share)
        mixed.append(between.requires_grad_())
    judged = discriminator(*mixed).sum()
    gradients = torch.autograd.grad(judged, mixed, create_graph=True)
    squares = []
    for gradient in gradients:
        square = gradient.flatten(1).square()
        squares.append(square.sum(dim=1))
    total = torch.stack(squares).sum(dim=0)
    norm = (total + TINY).sqrt()
    return (norm - 1).square().mean()
