"""Lay one thumbnail over another by stretch and shift, and say how well they agree in their detail.

Thumbnails are [N, s, s] float32. A pose is (stretch of x, shift of x, stretch of y, shift of y), in units where the
picture runs from -1 to 1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.linalg import vecdot

Pose = tuple[float, float, float, float]
IDENTITY: Pose = (1.0, 0.0, 1.0, 0.0)
REACH = 0.12  # of half a side, the furthest that `align_thumbnails` shifts or stretches


def align_thumbnails(fixed: Tensor, moving: Tensor, pose: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Stretch and shift `moving` [N, s, s] onto `fixed` by Gauss-Newton steps (Baker and Matthews, IJCV 2004).

    Returns the best correlation [N] on the way and its pose [N, 4]. Both must have like contrast: brightness is not
    fitted.
    """
    solver = _make_solver(fixed)
    identity = torch.tensor(IDENTITY)
    count = len(fixed)
    best = torch.full((count,), -1.0)
    best_pose = pose
    for step in range(steps + 1):
        moved, inside = warp_images(moving, pose)
        score = correlate_pairs(fixed, moved, inside)
        is_better = (score > best).unsqueeze(1)
        best_pose = torch.where(is_better, pose, best_pose)
        best = torch.maximum(best, score)
        if step == steps:
            break

        # A step goes half the reach at most, and all steps together no further than the reach.
        residual = (moved - fixed) * inside
        pixels = residual.flatten(1).unsqueeze(-1)
        change = (solver @ pixels).squeeze(-1)
        change = change.clamp(-REACH / 2, REACH / 2)
        offset = pose - change - identity
        pose = offset.clamp(-REACH, REACH) + identity
    return best, best_pose


def _make_solver(fixed: Tensor) -> Tensor:
    """[N, 4, s * s]: from the pixels by which thumbnails differ from `fixed` to the change of pose that they call for.

    These are the least squares of the slopes along the four parameters, with a little damping.
    """
    x = place_pixels(fixed.shape[-1])
    y = x.unsqueeze(1)
    spacing = float(x[1] - x[0])
    down, right = torch.gradient(fixed, spacing=spacing, dim=(1, 2))
    slopes = [
        right * x,
        right,
        down * y,
        down,
    ]
    stacked = torch.stack(slopes, dim=1).flatten(2)
    damping = 1e-3 * torch.eye(4)
    curvature = stacked @ stacked.mT + damping
    return torch.linalg.inv(curvature) @ stacked


def warp_images(images: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """The images [N, s, s] seen through `pose` [N, 4], and 1 where that falls inside them, else 0."""
    axis = place_pixels(images.shape[-1])
    parameters = pose.unsqueeze(-1)
    stretch_x, shift_x, stretch_y, shift_y = parameters.unbind(1)
    x = (stretch_x * axis + shift_x).unsqueeze(1)
    y = (stretch_y * axis + shift_y).unsqueeze(2)
    places = torch.broadcast_tensors(x, y)
    moved = F.grid_sample(
        images.unsqueeze(1),
        torch.stack(places, dim=-1),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    inside_x = x.abs() <= 1
    inside_y = y.abs() <= 1
    inside = inside_x & inside_y
    return moved.squeeze(1), inside.float()


def place_pixels(side: int) -> Tensor:
    """The centres of `side` pixels where the picture runs from -1 to 1."""
    centres = torch.arange(side) + 0.5
    return centres * 2 / side - 1


def find_local_contrast(images: Tensor, sigma: float) -> Tensor:
    """[N, s, s] without changes slower than `sigma` pixels, each neighbourhood brought to like contrast."""
    detail = images - blur_images(images, sigma)
    energy = detail.square()
    around = blur_images(energy, 1.5 * sigma)
    usual = energy.mean((1, 2), keepdim=True)
    return _divide_by_spread(detail, around, usual)


def find_contrast_within(images: Tensor, content: Tensor, sigma: float) -> Tensor:
    """`find_local_contrast` where `content` [N, s, s] is 1, as if there were nothing elsewhere; 0 there."""
    weight = blur_images(content, sigma)
    blurred = blur_images(images * content, sigma)
    mean = blurred / weight.clamp(min=1e-3)
    detail = (images - mean) * content
    energy = detail.square()

    # The energy of a neighbourhood, and that of the whole picture, are means over the content alone.
    weight = blur_images(content, 1.5 * sigma)
    blurred = blur_images(energy, 1.5 * sigma)
    around = blurred / weight.clamp(min=1e-3)
    pixels = content.sum((1, 2), keepdim=True)
    total = energy.sum((1, 2), keepdim=True)
    usual = total / pixels.clamp(min=1)
    return _divide_by_spread(detail, around, usual)


def _divide_by_spread(detail: Tensor, around: Tensor, usual: Tensor) -> Tensor:
    """Detail brought to like contrast, by the energy of each neighbourhood and of the whole picture."""
    spread = around.sqrt()
    floor = 0.3 * usual.sqrt()
    return detail / (spread + floor + 1e-3)


def blur_images(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of [N, s, s] as two products, with weights that sum to 1 at the border too."""
    side = images.shape[-1]
    places = torch.arange(side)
    distances = places.unsqueeze(1) - places
    exponents = (distances / sigma).square() / 2
    weights = torch.exp(-exponents)
    weights /= weights.sum(dim=1, keepdim=True)
    return weights @ images @ weights.T


def shrink_images(images: Tensor, side: int) -> Tensor:
    """[N, H, W] -> [N, side, side]."""
    shrunk = F.interpolate(
        images[None],
        size=(side, side),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )
    return shrunk[0]


def correlate_pairs(a: Tensor, b: Tensor, inside: Tensor) -> Tensor:
    """The correlation [N] of each pair of pictures [N, s, s], over the pixels where `inside` is 1."""
    a = (a * inside).flatten(1)
    b = (b * inside).flatten(1)
    pixels = inside.sum((1, 2))
    count = pixels.clamp(min=1)
    covariance = _find_covariance(a, b, count)
    variance_a = _find_covariance(a, a, count)
    variance_b = _find_covariance(b, b, count)
    spread = variance_a * variance_b
    return covariance / spread.clamp(min=1e-6).sqrt()


def _find_covariance(a: Tensor, b: Tensor, count: Tensor) -> Tensor:
    """Of each pair of rows [N, P], of which `count` [N] values are not 0 for being outside; times that number."""
    product = a.sum(1) * b.sum(1)
    return vecdot(a, b) - product / count
