"""Lay one thumbnail over another by stretch and shift, and say how well they agree in their detail.

Thumbnails are [N, s, s] float32. A pose is (stretch of x, shift of x, stretch of y, shift of y), in units where the
picture runs from -1 to 1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

Pose = tuple[float, float, float, float]
IDENTITY: Pose = (1.0, 0.0, 1.0, 0.0)
REACH = 0.12  # of half a side, the furthest that `align` shifts or stretches


def align(fixed: Tensor, moving: Tensor, pose: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Stretch and shift `moving` [N, s, s] onto `fixed` by Gauss-Newton steps (Baker and Matthews, IJCV 2004).

    Returns the best correlation [N] on the way and its pose [N, 4]. Both must have like contrast: brightness is not
    fitted.
    """
    axis = axis_of(fixed.shape[-1])
    down, right = torch.gradient(fixed, spacing=float(axis[1] - axis[0]), dim=(1, 2))
    slopes = torch.stack([right * axis, right, down * axis[:, None], down], dim=1).flatten(2)
    solver = torch.linalg.inv(slopes @ slopes.mT + 1e-3 * torch.eye(4)) @ slopes
    identity = torch.tensor(IDENTITY)
    best, best_pose = torch.full((len(fixed),), -1.0), pose
    for step in range(steps + 1):
        moved, inside = warp(moving, pose)
        score = correlation(fixed, moved, inside)
        best_pose = torch.where((score > best)[:, None], pose, best_pose)
        best = torch.maximum(best, score)
        if step < steps:
            change = (solver @ ((moved - fixed) * inside).flatten(1)[..., None])[..., 0]
            pose = (pose - change.clamp(-REACH / 2, REACH / 2) - identity).clamp(-REACH, REACH) + identity
    return best, best_pose


def warp(images: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """The images [N, s, s] seen through `pose` [N, 4], and 1 where that falls inside them, else 0."""
    axis = axis_of(images.shape[-1])
    stretch_x, shift_x, stretch_y, shift_y = pose[:, :, None].unbind(1)
    x, y = stretch_x * axis + shift_x, stretch_y * axis + shift_y
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=-1)
    moved = F.grid_sample(images[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False)[:, 0]
    inside_x, inside_y = x.abs() <= 1, y.abs() <= 1
    return moved, (inside_x[:, None, :] & inside_y[:, :, None]).float()


def axis_of(side: int) -> Tensor:
    """The centres of `side` pixels where the picture runs from -1 to 1."""
    return (torch.arange(side) + 0.5) * 2 / side - 1


def local_contrast(images: Tensor, sigma: float) -> Tensor:
    """[N, s, s] without changes slower than `sigma` pixels, each neighbourhood brought to like contrast."""
    detail = images - blur(images, sigma)
    spread = blur(detail.square(), 1.5 * sigma).sqrt()
    usual = detail.square().mean((1, 2), keepdim=True).sqrt()
    return detail / (spread + 0.3 * usual + 1e-3)


def within_contrast(images: Tensor, content: Tensor, sigma: float) -> Tensor:
    """`local_contrast` of what lies where `content` [N, s, s] is 1, as if there were nothing elsewhere; 0 there."""
    weight = blur(content, sigma).clamp(min=1e-3)
    detail = (images - blur(images * content, sigma) / weight) * content
    energy = detail.square()
    spread = (blur(energy, 1.5 * sigma) / blur(content, 1.5 * sigma).clamp(min=1e-3)).sqrt()
    pixels = content.sum((1, 2), keepdim=True).clamp(min=1)
    usual = energy.sum((1, 2), keepdim=True) / pixels
    return detail / (spread + 0.3 * usual.sqrt() + 1e-3)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of [N, s, s] as two products, with weights that sum to 1 at the border too."""
    axis = torch.arange(images.shape[-1])
    weights = torch.exp(-((axis[:, None] - axis) / sigma).square() / 2)
    weights /= weights.sum(dim=1, keepdim=True)
    return weights @ images @ weights.T


def shrink(images: Tensor, side: int) -> Tensor:
    """[N, H, W] -> [N, side, side]."""
    return F.interpolate(images[None], size=(side, side), mode="bilinear", antialias=True, align_corners=False)[0]


def correlation(a: Tensor, b: Tensor, inside: Tensor) -> Tensor:
    """Of each pair of [N, s, s], where `inside` is 1; [N]."""
    a, b = (a * inside).flatten(1), (b * inside).flatten(1)
    count = inside.sum((1, 2)).clamp(min=1)
    left, right = a.sum(1), b.sum(1)
    covariance = torch.linalg.vecdot(a, b) - left * right / count
    spread = torch.linalg.vecdot(a, a) - left.square() / count
    spread = spread * (torch.linalg.vecdot(b, b) - right.square() / count)
    return covariance / spread.clamp(min=1e-6).sqrt()
