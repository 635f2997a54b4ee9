"""WGAN-GP: image and mask together from a Gaussian vector (Gulrajani et al., NeurIPS 2017, arXiv:1704.00028).

This is GenSeg's ablation "Simultaneous": no mask is given, stage II trains on the mask that comes with the image.

Changed to stand in GenSeg: all layers of the generator that double a map are searchable cells; one generator draws
the channels of the image and those of the mask, which is relaxed to shares of the classes, so that the losses of
stages II and III reach α through it as well; the critic sees the pair. H makes one step for each of G (published: 5).
At 256 pixels and 64 channels G has 82 M parameters, and 12 M with one operation a cell.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.errors import UserError
from genseg_betty.generators.layers import UNetStage, build_norm, initialise, pooled_body
from genseg_betty.generators.objectives import Network, Objective
from genseg_betty.generators.search_space import MAX_DEPTH, PAPER_SPACE, SearchSpace, count_halvings, list_sides
from genseg_betty.generators.searchable import Alpha, SearchableGenerator

TINY = 1e-12


class WGAN(SearchableGenerator):
    """Gaussian vector -> image and soft mask. All its searchable cells are up cells.

    Args:
        in_channels: channels of the encoded mask, see `encoding.encode_mask`; here they are drawn.
        out_channels: channels of the image.
        image_size: (H, W) or one number for both, at least 32.
        space: what is searched, see `SearchSpace`; depth None takes
            two fewer than halve the smaller side to one pixel, and 6 at most.
        latent_channels: length of the vector.
        norm: `batch`, as published, or `instance`.
        temperature: of the sigmoid or softmax that makes the mask; below 1 it is sharper.
        straight_through: hand out the mask of the strongest class, with the derivative of the soft one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_size: int | Sequence[int],
        space: SearchSpace = PAPER_SPACE,
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
        deepest = min(count_halvings(image_size), MAX_DEPTH)
        depth = space.choose_depth(image_size, deepest, deepest - 2)
        self.channels = [out_channels, in_channels]
        self.temperature, self.straight_through = temperature, straight_through
        sides = list_sides(image_size)
        self.sizes = [[-(-side // 2**i) for side in sides] for i in reversed(range(depth + 1))]
        widths = space.list_widths(depth)[::-1]
        self.innermost = [widths[0], *self.sizes[0]]
        self.latent = nn.Linear(latent_channels, widths[0] * self.sizes[0][0] * self.sizes[0][1])
        self.norm = build_norm(norm, widths[0])
        self.up = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise([*widths, sum(self.channels)])):
            last = i == depth - 1
            cell = space.build_convolution("decoder", inputs, outputs, last)
            self.up.append(UNetStage(nn.ReLU(), cell, nn.Identity() if last else build_norm(norm, outputs)))
        self.apply(initialise)

    def forward(self, z: Tensor, alpha: Alpha | None = None) -> tuple[Tensor, Tensor]:
        """z [B, Z] -> images [B, C, H, W] and encoded soft masks [B, M, H, W], both in -1..1."""
        rows = self.rows(alpha)
        x = self.norm(self.latent(z).unflatten(1, self.innermost))
        for level, (height, width) in zip(self.up, self.sizes[1:], strict=True):
            x = level(x, rows)[..., :height, :width]
        image, mask = x.split(self.channels, dim=1)
        return torch.tanh(image), self.relaxed(mask)

    def relaxed(self, logits: Tensor) -> Tensor:
        """The soft mask in -1..1 of logits [B, M, H, W]; one channel is the foreground's."""
        logits = logits / self.temperature
        binary = logits.shape[1] == 1
        soft = torch.tanh(logits / 2) if binary else 2 * logits.softmax(dim=1) - 1  # 2 sigmoid(x) - 1 = tanh(x / 2)
        if not self.straight_through:
            return soft
        if binary:
            chosen = (logits > 0).to(soft.dtype)
        else:
            chosen = F.one_hot(logits.argmax(dim=1), logits.shape[1]).movedim(-1, 1).to(soft.dtype)
        return (2 * chosen - 1) + (soft - soft.detach())


class Critic(nn.Module):
    """Mask and image -> one number without bounds, higher for real pairs. LayerNorm, as published for the penalty.

    Args:
        in_channels: channels of the encoded mask plus those of the image.
        base_channels: channels of the first layer, doubled by each next one up to 8 times.
        layers: stride-2 convolutions; their last map is averaged to 4x4 and then read by a linear layer.
    """

    def __init__(self, in_channels: int, base_channels: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.body, width = pooled_body(in_channels, base_channels, layers)
        self.head = nn.Linear(width, 1)

    def forward(self, condition: Tensor, image: Tensor) -> Tensor:
        """condition [B, M, H, W] and image [B, C, H, W] -> [B]."""
        return self.head(self.body(torch.cat([condition, image], dim=1))).squeeze(1)


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
        """An image and its own soft mask: as many, and of the kind, of those given, which it does not look at."""
        z = torch.randn(len(condition), self.latent_channels, dtype=condition.dtype, device=condition.device)
        image, mask = generator(z)
        return image, mask

    def opponent_loss(self, generator: Network, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        with torch.no_grad():
            drawn, mask = self.draw(generator, condition)
        distance = opponent(mask, drawn).mean() - opponent(condition, image).mean()
        return distance + self.penalty_weight * gradient_penalty(opponent, (condition, image), (mask, drawn))

    def generator_loss(self, generator: Network, opponent: Network, condition: Tensor, image: Tensor) -> Tensor:
        drawn, mask = self.draw(generator, condition)
        return -opponent(mask, drawn).mean()


def gradient_penalty(critic: Network, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]) -> Tensor:
    """E[(‖∇H‖ - 1)²] at pairs on the straight lines between real and drawn ones; a pair moves as one.

    In the precision of the real pairs: what was drawn in half of it is brought there.
    """
    share = torch.rand(len(real[0]), 1, 1, 1, dtype=real[0].dtype, device=real[0].device)
    mixed = [
        torch.lerp(a.detach(), b.detach().to(a.dtype), share).requires_grad_() for a, b in zip(real, fake, strict=True)
    ]
    gradients = torch.autograd.grad(critic(*mixed).sum(), mixed, create_graph=True)
    squares = torch.stack([gradient.flatten(1).square().sum(dim=1) for gradient in gradients]).sum(dim=0)
    return ((squares + TINY).sqrt() - 1).square().mean()
