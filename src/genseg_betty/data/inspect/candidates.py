"""The first look for near duplicates: all pairs of images compared on few pixels, in every position and some poses.

What all images of the dataset share is taken out before, so that a pair counts by how unusual its likeness is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genseg_betty.data.inspect.alignment import IDENTITY, Pose, blur_images, warp_images
from genseg_betty.data.inspect.positions import INVERSE, Turn, list_turns
from genseg_betty.data.inspect.signatures import SIDE

POOLED = 16  # pixels a side on which all pairs are compared; divides SIDE
CELL = SIDE // POOLED
PART = 4096  # thumbnails pooled at a time
# Cosine before whitening from which a pair is likely, and how likely: where most images are one picture, whitening
# leaves nothing of it, and where all have the frame of one camera, their cosines are high for that.
ALIKE = 0.97
LIKELY = 0.5
FEW = 40  # of the pairs of one image in one position, the likeliest
# Pairs that are looked at closely: the larger number of the two.
LEAST_PAIRS = 800
PAIRS_PER_IMAGE = 4
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


@dataclass(frozen=True)
class Hypothesis:
    """That image `i` shows image `j`, turned to a position and seen through a pose."""

    i: int
    j: int
    pose: Pose
    position: int


@dataclass(frozen=True)
class _Scored:
    """Some pairs of images with the score [P] of each.

    Attributes:
        pairs: [P, 4]: the two images, the number of the pose, and the position.
    """

    score: Tensor
    pairs: Tensor


@torch.inference_mode()
def find_candidates(thumbnails: Tensor, labels: Sequence[Tensor], block_values: int, volumes: bool) -> list[Hypothesis]:
    """What is worth a closer look, the most unusual first.

    Args:
        thumbnails: [N, SIDE, SIDE].
        labels: of N numbers each. Only pairs that differ in every one are looked at.
        block_values: cosines in memory at a time.
        volumes: whether each thumbnail is four slabs of a volume.
    """
    poses = _list_poses(len(thumbnails), volumes)
    search = _Search(thumbnails, poses, labels)
    blocks: list[_Scored] = []
    for turn in list_turns(volumes):
        blocks += search.score_position(turn, block_values)
    score = torch.cat([block.score for block in blocks])
    pairs = torch.cat([block.pairs for block in blocks])

    # The same turn is found from both sides: of two hypotheses about it the likelier stands.
    most = max(LEAST_PAIRS, PAIRS_PER_IMAGE * len(thumbnails))
    order = score.argsort(descending=True, stable=True)
    likeliest = order[: 2 * most]
    best: dict[tuple[int, int, int], Hypothesis] = {}
    for i, j, number, position in pairs[likeliest].tolist():
        key = (i, j, position)
        if i >= j:
            key = (j, i, INVERSE[position])
        if key not in best:
            best[key] = Hypothesis(i, j, poses[number], position)
    return list(best.values())[:most]


def _list_poses(count: int, volumes: bool) -> list[Pose]:
    """The poses that so many images are looked at through."""
    if volumes:
        return [IDENTITY]
    if count > MANY:
        return [IDENTITY, CENTRE]
    return [IDENTITY, CENTRE, *CORNERS]


class _Search:
    """The pooled thumbnails as they are and seen through each pose, with what sets them apart from each other."""

    def __init__(self, thumbnails: Tensor, poses: Sequence[Pose], labels: Sequence[Tensor]) -> None:
        self.labels = labels
        self.views = [_pool_thumbnails(thumbnails, pose) for pose in poses]
        self.plain = self.views[0]
        self.whiten = _Whitening(self.plain)
        self.white = self.whiten(self.plain)

    def score_position(self, turn: Turn, block_values: int) -> Iterator[_Scored]:
        """The likeliest pairs of which the second image is turned, block by block."""
        count = len(self.plain)
        turned = []
        for view in self.views:
            pooled = view.reshape(-1, POOLED, POOLED)
            turned.append(turn(pooled).flatten(1))
        turned_white = [self.whiten(view).T for view in turned]
        turned_plain = turned[0].T

        # Some rows of the table of all pairs at a time, which as a whole may not fit into memory.
        step = max(1, block_values // count)
        for start in range(0, count, step):
            end = min(start + step, count)
            rows = torch.arange(start, end)
            score, pose = self._score_rows(rows, turned_plain, turned_white)
            self._leave_out(score, rows)
            yield _select_likeliest(score, pose, rows, turn.position)

    def _score_rows(self, rows: Tensor, turned_plain: Tensor, turned_white: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The best score [R, N] of some images with every turned one, and the number of the pose that has it."""
        white = self.white[rows]
        best = white @ turned_white[0]
        alike = self.plain[rows] @ turned_plain > ALIKE
        best[alike] = best[alike].clamp(min=LIKELY)
        pose = torch.zeros_like(best, dtype=torch.uint8)
        for number, view in enumerate(turned_white[1:], start=1):
            score = white @ view
            pose[score > best] = number
            best = torch.maximum(best, score)
        return best, pose

    def _leave_out(self, score: Tensor, rows: Tensor) -> None:
        """Give no score to an image with itself, nor to pairs that share a label."""
        count = len(rows)
        score[torch.arange(count), rows] = -torch.inf
        for own in self.labels:
            of_rows = own[rows].unsqueeze(1)
            score[of_rows == own] = -torch.inf


def _select_likeliest(score: Tensor, pose: Tensor, rows: Tensor, position: int) -> _Scored:
    """Of each row of a block [R, N] the few pairs with the highest scores, those without a score left out."""
    count = score.shape[1]
    few = min(FEW, count - 1)
    highest, columns = score.topk(few, dim=1)
    has_score = highest > -torch.inf
    left = rows.unsqueeze(1).expand_as(columns)
    numbers = pose.gather(1, columns).long()
    positions = torch.full_like(numbers, position)
    pairs = torch.stack([left, columns, numbers, positions], dim=-1)
    return _Scored(highest[has_score], pairs[has_score])


def _pool_thumbnails(thumbnails: Tensor, pose: Pose) -> Tensor:
    """[N, SIDE, SIDE] -> [N, POOLED * POOLED] float32 of length 1: without the slow changes of brightness."""
    parts = []
    for part in thumbnails.split(PART):
        images = part.float()
        if pose != IDENTITY:
            poses = torch.tensor(pose).expand(len(images), 4)
            images, _ = warp_images(images, poses)
        cells = images.reshape(-1, POOLED, CELL, POOLED, CELL)
        pooled = cells.mean((2, 4))
        detail = pooled - blur_images(pooled, 3.0)
        parts.append(_scale_to_unit(detail.flatten(1)))
    return torch.cat(parts)


class _Whitening:
    """What sets each image apart from the rest: chests look like chests, so what all share tells nothing."""

    def __init__(self, vectors: Tensor) -> None:
        self._mean = vectors.mean(0)
        centred = vectors - self._mean
        covariance = centred.T @ centred / len(centred)
        found = torch.linalg.eigh(covariance.double())  # in float32 it may not converge
        variances = found.eigenvalues.float()
        axes = found.eigenvectors.float()
        damping = 0.2 * variances.mean()
        spread = variances.clamp(min=0) + damping + 1e-9
        self._scaled_axes = axes / spread.sqrt()

    def __call__(self, vectors: Tensor) -> Tensor:
        centred = vectors - self._mean
        return _scale_to_unit(centred @ self._scaled_axes)


def _scale_to_unit(vectors: Tensor) -> Tensor:
    """Vectors [N, D] of length 1; one of next to no length stays short."""
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / lengths.clamp(min=1e-6)
