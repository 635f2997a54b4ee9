"""BBDM: a Brownian bridge from the mask to the image (Li et al., CVPR 2023, arXiv:2205.07952).

Diffusion between two images in place of one image and noise: x_t goes from the image x_0 to the mask y = x_T, and a
network learns the way back. The bridge is in pixels. y has the mask as grey levels, the classes evenly from -1 to 1,
alike in all channels of the image: nothing is learned there.

Changed to stand in GenSeg: what halves or doubles a map in the U-Net is a searchable cell; the U-Net sees the encoded
mask beside x_t, since grey levels do not tell classes apart as well; it is smaller and without attention. What the
segmenter trains on comes from a few steps of the accelerated sampler, differentiated through the last of them.
At 256 pixels and 64 channels it has 116 M parameters, and 30 M with one operation a cell.
"""

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genseg_betty.errors import UserError
from genseg_betty.generators.layers import crop, pad_even
from genseg_betty.generators.objectives import Network, Objective
from genseg_betty.generators.search_space import MAX_DEPTH, SearchSpace
from genseg_betty.generators.searchable import Alpha, Rows, SearchableGenerator, convolve, spread_shapes
from genseg_betty.generators.shapes import Shapes

DEEPEST = 4
GROUPS = 8
FREQUENCIES = 32
LONGEST_PERIOD = 10_000.0
TIMES = 1000.0  # the scale of t that the frequencies are made for


class Block(nn.Module):
    """A cell where given, then a 3x3 convolution beside a shortcut; the time shifts what comes out of the first."""

    def __init__(self, inputs: int, outputs: int, embedded: int, cell: nn.Module | None = None) -> None:
        super().__init__()
        if cell is None:
            cell = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.cell = cell
        self.time = nn.Linear(embedded, outputs)
        self.norm = build_group_norm(outputs)
        self.convolution = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor, rows: Rows) -> Tensor:
        x = convolve(self.cell, x, rows)
        shift = self.time(time)[:, :, None, None]
        y = F.silu(self.norm(x) + shift)
        return x + self.convolution(y)


def build_group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm of 8 groups, or of as many as divide both 8 and the channels."""
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)


class BBDM(SearchableGenerator):
    """The network ε_θ(x_t, t, mask), which tells x_t - x_0: a U-Net with searchable cells.

    Args:
        shapes: see `Shapes`.
        space: see `SearchSpace`; its depth None takes log2 of the smaller side, at most 4.
    """

    @spread_shapes
    def __init__(self, shapes: Shapes, space: SearchSpace) -> None:
        super().__init__()
        space.check_images("bbdm")
        deepest = min(shapes.count_halvings(), MAX_DEPTH)
        depth = space.choose_depth(shapes, deepest, min(deepest, DEEPEST))
        widths = space.list_widths(depth + 1)
        embedded = 4 * space.base_channels
        self.out_channels = shapes.out_channels
        self.time = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, embedded),
            nn.SiLU(),
            nn.Linear(embedded, embedded),
            nn.SiLU(),
        )
        # A U-Net, whose blocks all see the time; the cells halve and double its maps.
        self.first = Block(shapes.in_channels + shapes.out_channels, widths[0], embedded)
        self.down = nn.ModuleList()
        for inputs, outputs in pairwise(widths):
            cell = space.build_convolution("encoder", inputs, outputs, bias=True)
            self.down.append(Block(inputs, outputs, embedded, cell))
        self.up = nn.ModuleList()
        self.merge = nn.ModuleList()
        for inputs, outputs in pairwise(reversed(widths)):
            cell = space.build_convolution("decoder", inputs, outputs, bias=True)
            self.up.append(cell)
            self.merge.append(Block(2 * outputs, outputs, embedded))
        self.last = nn.Sequential(
            build_group_norm(widths[0]),
            nn.SiLU(),
            nn.Conv2d(widths[0], shapes.out_channels, 3, padding=1),
        )

    def forward(self, x: Tensor, time: Tensor, condition: Tensor, alpha: Alpha | None = None) -> Tensor:
        """Tell x_t - x_0.

        Args:
            x: x_t [B, C, H, W], or [B, 1, H, W] for channels alike.
            time: t / T [B], in 0..1.
            condition: encoded masks [B, M, H, W] in -1..1.
            alpha: weights of the cells, see `SearchableGenerator`.

        Returns:
            [B, C, H, W].
        """
        rows = self.rows(alpha)
        embedded = self.time(embed_time(time))
        every_channel = x.expand(-1, self.out_channels, -1, -1)
        x = torch.cat([every_channel, condition], dim=1)
        x = self.first(x, embedded, rows)
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(pad_even(x), embedded, rows)
        for cell, merge in zip(self.up, self.merge, strict=True):
            skip = skips.pop()
            x = crop(convolve(cell, x, rows), skip)
            x = torch.cat([skip, x], dim=1)
            x = merge(x, embedded, rows)
        return self.last(x)


class BrownianBridge(Objective):
    """Training and sampling of the bridge, m_t = t / T and δ_t = 2 s (m_t - m_t²):

        x_t = (1 - m_t) x_0 + m_t y + √δ_t ε
        L_G = ‖m_t (y - x_0) + √δ_t ε - ε_θ(x_t, t, mask)‖², or its L1 form as in the authors' configurations

    Sampling goes from x_T = y through `steps` even times to x_0, as the paper's accelerated sampler does from t to s:

        x̂_0 = x_t - ε_θ,   σ² = (δ_t - δ_s (1 - m_t)² / (1 - m_s)²) δ_s / δ_t
        x_s = (1 - m_s) x̂_0 + m_s y + √((δ_s - σ²) / δ_t) (x_t - (1 - m_t) x̂_0 - m_t y) + η σ ε

    At t = T, where δ_T = 0, this has the limit x_s = (1 - m_s) x̂_0 + m_s y + η √δ_s ε. Each x̂_0 is clamped to [-1, 1].
    Only the last `differentiated` steps are part of a graph: the x_t that they begin with counts as a constant.

    Args:
        times: T.
        variance: s.
        steps: of the sampler.
        differentiated: the last of these steps that are part of a graph, at least 1.
        eta: η, 1 as published; 0 draws no noise.
        loss: `l2` or `l1`.
    """

    has_discriminator = False

    def __init__(
        self,
        times: int = 1000,
        variance: float = 1.0,
        steps: int = 4,
        differentiated: int = 2,
        eta: float = 1.0,
        loss: Literal["l1", "l2"] = "l2",
    ) -> None:
        if not 1 <= differentiated <= steps <= times:
            found = f"{differentiated}, {steps} and {times}"
            raise UserError(
                f"generator.objective.differentiated, steps and times are {found}; expected 1 or more, and none "
                "larger than the next"
            )
        if loss not in ("l1", "l2"):
            raise UserError(f"generator.objective.loss is {loss!r}; choose l1 or l2")
        self.times = times
        self.variance = variance
        self.eta = eta
        self.steps = steps
        self.differentiated = differentiated
        self.distance = F.l1_loss if loss == "l1" else F.mse_loss

    def generator_loss(self, generator: Network, discriminator: Network, condition: Tensor, image: Tensor) -> Tensor:
        y = as_grey_levels(condition)
        beyond = self.times + 1
        times = torch.randint(1, beyond, (len(image),), device=image.device)
        share = times.to(image.dtype) / self.times
        m = share[:, None, None, None]
        towards_mask = m * (y - image)
        noise = self.compute_spread(m) * torch.randn_like(image)
        away = towards_mask + noise
        told = generator(image + away, share, condition)
        return self.distance(told, away)

    def draw(self, generator: Network, condition: Tensor) -> tuple[Tensor, Tensor]:
        x = as_grey_levels(condition)
        is_recording = torch.is_grad_enabled()
        for step in range(self.steps):
            is_differentiated = step >= self.steps - self.differentiated
            with torch.set_grad_enabled(is_recording and is_differentiated):
                x = self.step_back(generator, x, condition, step)
        return x, condition

    def step_back(self, generator: Network, x: Tensor, condition: Tensor, step: int) -> Tensor:
        """x_s of x_t, for the `step`-th of the sampler's steps."""
        m = 1 - step / self.steps  # m_t
        after = 1 - (step + 1) / self.steps  # m_s
        y = as_grey_levels(condition)
        time = x.new_full((len(x),), m)
        told = generator(x, time, condition)
        image = (x - told).clamp(-1, 1)  # x̂_0
        if step == self.steps - 1:
            return image

        # What is left of the bridge from x̂_0 to y, and the noise that is drawn anew.
        delta = self.compute_delta(m)
        delta_after = self.compute_delta(after)
        mean = (1 - after) * image + after * y
        drawn = delta_after  # σ²
        if step:
            kept = ((1 - m) / (1 - after)) ** 2
            drawn = (delta - delta_after * kept) * delta_after / delta
            noise = x - (1 - m) * image - m * y
            scale = math.sqrt((delta_after - drawn) / delta)
            mean = mean + scale * noise
        scale = self.eta * math.sqrt(drawn)
        return mean + scale * torch.randn_like(mean)

    def compute_delta(self, m: float) -> float:
        """δ_t."""
        return 2 * self.variance * (m - m**2)

    def compute_spread(self, m: Tensor) -> Tensor:
        """√δ_t for every image."""
        delta = 2 * self.variance * (m - m.square())
        return delta.sqrt()


def as_grey_levels(condition: Tensor) -> Tensor:
    """y [B, 1, H, W] in -1..1 of an encoded mask [B, M, H, W]: class k of K is -1 + 2 k / (K - 1)."""
    classes = condition.shape[1]
    if classes == 1:
        return condition
    levels = torch.linspace(-1, 1, classes, dtype=condition.dtype, device=condition.device)
    shares = (condition + 1) / 2
    grey = torch.einsum("bmhw,m->bhw", shares, levels)
    return grey.unsqueeze(1)


def embed_time(time: Tensor) -> Tensor:
    """Sines and cosines [B, 2 F] of a time [B] in 0..1, at F frequencies."""
    exponents = torch.arange(FREQUENCIES, dtype=time.dtype, device=time.device) / FREQUENCIES
    frequencies = LONGEST_PERIOD**-exponents
    angles = TIMES * time[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
