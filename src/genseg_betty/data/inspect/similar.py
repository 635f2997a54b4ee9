"""Near duplicates: the same picture in two files, mirrored, turned, trimmed, resized, brightened or saved as JPEG.

All pairs are compared on 16 pixels a side in all eight positions (mirrored or not, turned by 0, 90, 180 or 270
degrees; of volumes the slices in reverse too), whole and trimmed, after what all images of the dataset share is taken
out. The most unusual pairs are laid over each other (stretch and shift) and compared in their detail at 64 pixels, at
last without the blank frame that one camera gives all its images.

Measured, with every pair found looked at: NLM-SZ (400 images), NLM-MC (69) and hippocampus (208 volumes) none, ISIC
(1200) 9, one of them upside down and none of two lesions, FUSeg (400) 3, BUID (149) 17, CVC-ClinicDB (400) 27, all of
one video each. Of 60 altered copies in each 2D set, in all eight positions, half or 1.6 times the size and JPEG of
quality 60 or 90, all were found untrimmed and trimmed by 3 % at every edge, 58 to 60 by 5 %, 57 to 60 by 6 % at two
edges that meet, 25 to 59 by 10 % there. 1200 images take 2 s on one core, 5000 half a minute, 20 000 two and a half.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from genseg_betty.data.inspect.alignment import (
    IDENTITY,
    Pose,
    align,
    blur,
    correlation,
    local_contrast,
    shrink,
    warp,
    within_contrast,
)
from genseg_betty.data.inspect.signatures import SIDE, joined, parted

POOLED = 16  # pixels a side on which all pairs are compared; divides SIDE
# Cosine before whitening from which a pair is likely, and how likely: where most images are one picture, whitening
# leaves nothing of it, and where all have the frame of one camera, their cosines are high for that.
ALIKE, LIKELY = 0.97, 0.5
LEAST_PAIRS, PAIRS_PER_IMAGE = 800, 4  # pairs that are looked at closely: the larger number of the two
FEW = 40  # of which those of one image in one position
BLOCK_VALUES = 2**24  # cosines in memory at a time: 64 MiB
BATCH = 64  # pairs aligned at a time: what a processor's cache holds
# Pixels a side, blur of the detail, steps of alignment, and the correlation that leads to the next level.
LEVELS = ((32, 4.0, 6, 0.9), (64, 2.0, 0, 0.65), (64, 2.0, 6, 0.85))
# Of a thumbnail's 0 to 255, what counts as black or white at the border; pixels around such a frame that its edge
# colours; the share of the picture that must be left; and blur and correlation of the detail there.
BLANK, MARGIN, LEAST_CONTENT = 8, 2, 0.2
WITHIN_BLUR, WITHIN = 2.0, 0.7
# A picture trimmed at all edges, or at two edges that meet, as seen from the whole one. Looking for trimmed corners
# takes three quarters of the time, so it is done for up to MANY images.
CENTRE: Pose = (0.92, 0.0, 0.92, 0.0)
CORNERS: tuple[Pose, ...] = (
    (0.94, -0.06, 0.94, -0.06),
    (0.94, -0.06, 0.94, 0.06),
    (0.94, 0.06, 0.94, -0.06),
    (0.94, 0.06, 0.94, 0.06),
)
MANY = 5000
# Bit 2: rows become columns; then bit 1: upside down; then bit 0: left to right. Of volumes bit 3: slices in reverse.
POSITIONS = range(8)
VOLUME_POSITIONS = range(16)
INVERSE = (0, 1, 2, 3, 4, 6, 5, 7, 8, 9, 10, 11, 12, 14, 13, 15)


@torch.inference_mode()
def near_duplicates(
    signatures: np.ndarray,
    apart: Sequence[Sequence[str]] = (),
    block_values: int = BLOCK_VALUES,
    volumes: bool = False,
) -> list[tuple[int, int]]:
    """Pairs (i < j), sorted, of images that are almost certainly the same picture.

    `signatures` is [N, SIDE * SIDE] uint8. Each sequence in `apart` has N labels, such as the images' groups: only
    pairs that differ in every one are looked at. At most `block_values` pairs are in memory at a time. `volumes` says
    that each signature is four slabs, which are turned one by one.
    """
    if len(signatures) < 2:
        return []
    thumbnails = torch.from_numpy(signatures.reshape(-1, SIDE, SIDE))
    labels = [torch.from_numpy(np.unique(np.asarray(own), return_inverse=True)[1]) for own in apart]
    found = _candidates(thumbnails, labels, block_values, volumes)
    batches = (found[start : start + BATCH] for start in range(0, len(found), BATCH))
    same = [pair for batch in batches for pair in _same_picture(thumbnails, batch, volumes)]
    return sorted(set(same))


@torch.inference_mode()
def _candidates(thumbnails: Tensor, labels: list[Tensor], block_values: int, volumes: bool) -> list["_Hypothesis"]:
    """What is worth a closer look, the most unusual first."""
    poses = [IDENTITY] if volumes else _picture_poses(len(thumbnails))
    views = [_pooled(thumbnails, pose) for pose in poses]
    whiten = _Whitening(views[0])
    found = [
        hypotheses
        for turn in _turns(volumes)
        for hypotheses in _of_one_position(views, whiten, turn, labels, block_values)
    ]
    scores, left, right, pose, position = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = scores.argsort(descending=True, stable=True)
    most = max(LEAST_PAIRS, PAIRS_PER_IMAGE * len(thumbnails))
    best: dict[tuple[int, int, int], _Hypothesis] = {}
    rows = torch.stack([left, right, pose, position], dim=1)[order[: 2 * most]]
    for i, j, seen_through, turned in rows.tolist():
        # The same turn is found from both sides: of two hypotheses about it the likelier stands.
        key = (i, j, turned) if i < j else (j, i, INVERSE[turned])
        best.setdefault(key, (i, j, poses[seen_through], turned))
    return list(best.values())[:most]


_Hypothesis = tuple[int, int, Pose, int]  # image `i` shows image `j`, turned to a position and seen through a pose


def _picture_poses(count: int) -> list[Pose]:
    return [IDENTITY, CENTRE, *(CORNERS if count <= MANY else ())]


def _of_one_position(
    views: list[Tensor], whiten: "_Whitening", turn: "_Turn", labels: list[Tensor], block_values: int
) -> Iterator[tuple[Tensor, ...]]:
    """Scores, first and second image, number of the pose and position of the likeliest pairs, block by block."""
    plain, white = views[0], whiten(views[0])
    count = len(plain)
    turned = [turn(view.reshape(-1, POOLED, POOLED)).flatten(1) for view in views]
    turned_white = [whiten(view).T for view in turned]
    step = max(1, block_values // count)
    for start in range(0, count, step):
        rows = torch.arange(start, min(start + step, count))
        best = white[rows] @ turned_white[0]
        alike = plain[rows] @ turned[0].T > ALIKE
        best[alike] = best[alike].clamp(min=LIKELY)
        pose = torch.zeros_like(best, dtype=torch.uint8)
        for number, view in enumerate(turned_white[1:], start=1):
            score = white[rows] @ view
            pose[score > best] = number
            best = torch.maximum(best, score)
        best[torch.arange(len(rows)), rows] = -torch.inf
        for own in labels:
            best[own[rows, None] == own] = -torch.inf
        score, right = best.topk(min(FEW, count - 1), dim=1)
        left = rows[:, None].expand_as(right)
        chosen = score > -torch.inf
        numbers = pose.gather(1, right)[chosen].long()
        yield score[chosen], left[chosen], right[chosen], numbers, torch.full_like(numbers, turn.position)


@dataclass(frozen=True)
class _Turn:
    """Brings thumbnails [..., s, s] into one of the eight positions of a square, or of a volume's sixteen."""

    position: int
    of_volumes: bool

    def __call__(self, thumbnails: Tensor) -> Tensor:
        if not self.of_volumes:
            return self._square(thumbnails)
        slabs = self._square(parted(thumbnails))
        return joined(slabs.flip(-3) if self.position & 8 else slabs)

    def _square(self, images: Tensor) -> Tensor:
        if self.position & 4:
            images = images.mT
        axes = [axis for axis, bit in ((-2, 2), (-1, 1)) if self.position & bit]
        return images.flip(axes) if axes else images


def _turns(volumes: bool) -> list[_Turn]:
    return [_Turn(position, volumes) for position in (VOLUME_POSITIONS if volumes else POSITIONS)]


def _pooled(thumbnails: Tensor, pose: Pose) -> Tensor:
    """[N, SIDE, SIDE] -> [N, POOLED * POOLED] float32 of length 1: without the slow changes of brightness."""
    factor = SIDE // POOLED
    parts = []
    for part in thumbnails.split(4096):
        images = part.float()
        if pose != IDENTITY:
            images = warp(images, torch.tensor(pose).expand(len(images), 4))[0]
        cells = images.reshape(-1, POOLED, factor, POOLED, factor).mean((2, 4))
        parts.append(_unit((cells - blur(cells, 3.0)).flatten(1)))
    return torch.cat(parts)


class _Whitening:
    """What sets each image apart from the rest: chests look like chests, so what all share tells nothing."""

    def __init__(self, vectors: Tensor) -> None:
        self._mean = vectors.mean(0)
        centred = vectors - self._mean
        covariance = (centred.T @ centred / len(centred)).double()  # in float32 it may not converge
        variances, axes = (found.float() for found in torch.linalg.eigh(covariance))
        self._scaled = axes / (variances.clamp(min=0) + 0.2 * variances.mean() + 1e-9).sqrt()

    def __call__(self, vectors: Tensor) -> Tensor:
        return _unit((vectors - self._mean) @ self._scaled)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp(min=1e-6)


def _same_picture(thumbnails: Tensor, batch: Sequence[_Hypothesis], volumes: bool) -> list[tuple[int, int]]:
    """The pairs of a batch of which one image laid over the other agrees with it down to its detail."""
    fixed = thumbnails[[i for i, *_ in batch]].float()
    turns = _turns(volumes)
    moving = torch.stack([turns[position](thumbnails[j]) for _, j, _, position in batch]).float()
    pose = torch.tensor([pose for _, _, pose, _ in batch])
    alive = torch.arange(len(batch))
    for side, sigma, steps, least in LEVELS:
        if not len(alive):
            return []
        first, second = (local_contrast(shrink(images[alive], side), sigma) for images in (fixed, moving))
        score, pose = align(first, second, pose, steps)
        alive, pose = alive[score > least], pose[score > least]
    if len(alive):
        alive = alive[_agree_within(fixed[alive], moving[alive], pose)]
    pairs = [batch[index][:2] for index in alive.tolist()]
    return [(min(pair), max(pair)) for pair in pairs]


def _agree_within(fixed: Tensor, moving: Tensor, pose: Tensor) -> Tensor:
    """For each aligned pair, whether the pictures agree without the blank frame that one camera gives all its images.

    The round edge of a fundus photograph outweighs all vessels in it. Where the frame leaves too little there is
    nothing but its edge to judge by, and that was done.
    """
    content = _content(torch.cat([fixed, moving]))
    details = within_contrast(torch.cat([fixed, moving]), content, WITHIN_BLUR)
    moved, _ = warp(details[len(fixed) :], pose)
    seen, inside = warp(content[len(fixed) :], pose)
    both = content[: len(fixed)] * (seen > 0.99) * inside
    agreeing = correlation(details[: len(fixed)], moved, both) > WITHIN
    return agreeing | (both.mean((1, 2)) < LEAST_CONTENT)


def _content(thumbnails: Tensor) -> Tensor:
    """[N, s, s], 1 but where black or white reaches in from the border, and MARGIN pixels around that."""
    blank = ((thumbnails < BLANK) | (thumbnails > 255 - BLANK)).numpy()
    frames = []
    for one in blank:
        regions, _ = ndimage.label(one)
        edges = (regions[0], regions[-1], regions[:, 0], regions[:, -1])
        border = np.concatenate(edges)
        frame = np.isin(regions, border[border > 0])
        frames.append(ndimage.binary_dilation(frame, iterations=MARGIN) if frame.any() else frame)
    return torch.from_numpy(~np.stack(frames)).float()
