"""Near duplicates: the same picture in two files, resized, saved again as JPEG, brightened or trimmed.

All pairs are compared on 16 pixels a side, after what all images of the dataset share is taken out; the most unusual
ones are laid over each other (stretch and shift) and compared in their detail at 64 pixels.

Measured, with every pair found looked at: NLM-SZ (400) and NLM-MC (69) none, the closest two chests at 0.80 of the
0.85 that counts; ISIC (1200) 8, lesions in other colours at 0.90 and more, the next pair below 0.65; FUSeg (400) 3,
equal pixel by pixel, the next at 0.67; BUID (149) 17, the next at 0.71; CVC-ClinicDB (400) 29, all of one video each;
hippocampus (208 volumes) none, the closest at 0.72. No pair was of two patients. Of 60 altered copies in each 2D set,
those of half the size, brighter and JPEG of quality 70 were found (ISIC: 97 %), those trimmed by 3 % at every edge
too, by 5 % 80 to 100 %; mirrored copies are not found. 1200 images take 0.8 s on one core, 34 000 half a minute.
"""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genseg_betty.data.case import Case
from genseg_betty.data.dataset import Dataset
from genseg_betty.data.files import Finding
from genseg_betty.data.folds import TooFew
from genseg_betty.data.formats import read_image
from genseg_betty.data.preprocessing import LUMA, PERCENTILES

SIDE = 64  # pixels a side of the thumbnail that stands for an image
POOLED = 16  # pixels a side on which all pairs are compared; divides SIDE
ALIKE = 0.97  # cosine before whitening from which a pair is always among those looked at closely
MANY, UNUSUAL = 1000, 0.2  # of more images than that, only pairs above that whitened cosine are ranked
LEAST_PAIRS = 800  # pairs that are looked at closely, or one an image where that is more
FEW = 40  # of which those of one image
BLOCK_VALUES = 2**24  # cosines in memory at a time: 64 MiB
BATCH = 64  # pairs registered at a time: what a processor's cache holds
# Pixels a side, blur of the detail, registration steps, and the correlation that leads to the next level.
LEVELS = ((32, 4.0, 6, 0.9), (64, 2.0, 0, 0.65), (64, 2.0, 6, 0.85))
IDENTITY = (1.0, 0.0, 1.0, 0.0)  # stretch and shift of x, then of y
DRAWN = "train or validation"
REACH = 0.12  # of half a side, the furthest that registration shifts or stretches


def signature(image: np.ndarray) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] intensities -> [SIDE * SIDE] uint8: a gray thumbnail.

    Of a volume, the means of four slabs along D, two by two.
    """
    if image.ndim == 3:
        thumbnail = _shrink(_gray(image)[None], SIDE)[0]
    else:
        cuts = [len(image) * quarter // 4 for quarter in range(5)]
        slabs = [image[start : max(end, start + 1)].mean(axis=0) for start, end in itertools.pairwise(cuts)]
        quarters = _shrink(torch.stack([_gray(slab) for slab in slabs]), SIDE // 2)
        thumbnail = quarters.reshape(2, 2, SIDE // 2, SIDE // 2).transpose(1, 2).reshape(SIDE, SIDE)
    low, high = np.percentile(thumbnail, PERCENTILES)
    stretched = (thumbnail.numpy() - low) / max(high - low, 1e-6)
    return np.rint(stretched.clip(0, 1) * 255).astype(np.uint8).ravel()


def near_duplicates(
    signatures: np.ndarray, apart: Sequence[Sequence[str]] = (), block_values: int = BLOCK_VALUES
) -> list[tuple[int, int]]:
    """Pairs (i < j), sorted, of images that are almost certainly the same picture.

    `signatures` is [N, SIDE * SIDE] uint8. Each sequence in `apart` has N labels, such as the images' groups: only
    pairs that differ in every one are looked at. At most `block_values` pairs are in memory at a time.
    """
    if len(signatures) < 2:
        return []
    pairs = _candidates(signatures, [np.unique(np.asarray(own), return_inverse=True)[1] for own in apart], block_values)
    same = [
        batch[_same_picture(signatures, batch)]
        for batch in (pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH))
    ]
    return sorted((int(i), int(j)) for batch in same for i, j in batch)


def near_duplicate_findings(dataset: Dataset, signatures: Iterable[tuple[Case, np.ndarray]]) -> list[Finding]:
    """Warnings `near_duplicate`: pairs of different groups that may come into different parts, one finding a pair.

    `signatures` are those of the cases that could be read. Pairs of equal pixels are left to `duplicate`. Raises
    ImageError where an image of a pair can no longer be read.
    """
    known = list(signatures)
    if dataset.root is None or not known:  # phantoms are no files that could be mended
        return []
    cases = [case for case, _ in known]
    parts = _parts(dataset)
    # What is drawn by a run's seed may be trained on with one and validated on with another.
    own_parts = [parts.get(case.id, f"drawn {index}") for index, case in enumerate(cases)]
    pairs = near_duplicates(np.stack([own for _, own in known]), ([case.group for case in cases], own_parts))
    found = []
    for first, second in ((cases[i], cases[j]) for i, j in pairs):
        if not np.array_equal(read_image(first.image), read_image(second.image)):
            names = [case.image.relative_to(dataset.root).as_posix() for case in (first, second)]
            places = [parts.get(case.id, DRAWN) for case in (first, second)]
            message = (
                f"looks like the same picture as {names[0]} (that one: {places[0]}; this one: {places[1]}); expected a "
                "picture in one part alone, so give both the same group (dataset.group) or remove one"
            )
            found.append(Finding("near_duplicate", names[1], message))
    return found


def _parts(dataset: Dataset) -> dict[str, str]:
    """The part of each case that is in one whatever the seed."""
    try:
        fixed = dataset.own_split or {"test": dataset.test_ids()}
    except TooFew:  # told by the check
        return {}
    return {id: part for part, ids in fixed.items() for id in ids}


def _candidates(signatures: np.ndarray, apart: list[np.ndarray], block_values: int) -> np.ndarray:
    """The pairs [n, 2] that are worth a closer look, the most unusual first."""
    plain = _pooled(signatures)
    white = _whitened(plain)
    count = len(plain)
    step = max(1, block_values // count)
    pairs, scores = [], []
    for start in range(0, count, step):
        rows = slice(start, start + step)
        score = white[rows] @ white[start:].T
        score[plain[rows] @ plain[start:].T > ALIKE] = 1
        chosen = np.triu(score > (UNUSUAL if count > MANY else -2), 1)
        for labels in apart:
            chosen &= labels[rows, None] != labels[None, start:]
        i, j = np.nonzero(chosen)
        order = np.lexsort((-score[i, j], i))
        i, j = i[order], j[order]
        kept = np.arange(len(i)) - np.searchsorted(i, i) < FEW  # a long video is not to crowd out the others
        pairs.append(np.stack([i[kept], j[kept]], axis=1) + start)
        scores.append(score[i[kept], j[kept]])
    best = np.argsort(-np.concatenate(scores), kind="stable")[: max(LEAST_PAIRS, count)]
    return np.concatenate(pairs)[best]


def _pooled(signatures: np.ndarray) -> np.ndarray:
    """[N, POOLED * POOLED] float32 of length 1: what is left without the slow changes of brightness."""
    factor = SIDE // POOLED
    parts = np.array_split(signatures, len(signatures) // 4096 + 1)
    means = [part.reshape(-1, POOLED, factor, POOLED, factor).mean(axis=(2, 4), dtype=np.float32) for part in parts]
    cells = torch.from_numpy(np.concatenate(means))
    return _unit((cells - _blur(cells, 3.0)).flatten(1).numpy())


def _whitened(vectors: np.ndarray) -> np.ndarray:
    """What sets each image apart from the rest: chests look like chests, so what all share tells nothing."""
    centred = vectors - vectors.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    return _unit(centred @ (axes / np.sqrt(variances.clip(0) + 0.2 * variances.mean() + 1e-9)))


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-6)).astype(np.float32)


@torch.inference_mode()
def _same_picture(signatures: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """For each pair, whether one image laid over the other agrees with it down to its detail."""
    used, places = np.unique(pairs, return_inverse=True)
    thumbnails = torch.from_numpy(signatures[used].reshape(-1, SIDE, SIDE).astype(np.float32))
    left, right = torch.from_numpy(places.reshape(-1, 2)).T
    alive = torch.arange(len(pairs))
    pose = torch.tensor(IDENTITY).repeat(len(pairs), 1)
    for side, sigma, steps, least in LEVELS:
        detail = _local_contrast(_shrink(thumbnails, side), sigma)
        score, pose = _register(detail[left[alive]], detail[right[alive]], pose, steps)
        alive, pose = alive[score > least], pose[score > least]
    same = np.zeros(len(pairs), dtype=bool)
    same[alive] = True
    return same


def _register(fixed: Tensor, moving: Tensor, pose: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Stretch and shift `moving` [N, s, s] onto `fixed` by Gauss-Newton steps (Baker and Matthews, IJCV 2004).

    Returns the best correlation [N] on the way and its pose [N, 4], in units where the picture runs from -1 to 1.
    Both must have like contrast: brightness is not fitted.
    """
    axis = (torch.arange(fixed.shape[-1]) + 0.5) * 2 / fixed.shape[-1] - 1
    down, right = torch.gradient(fixed, spacing=float(axis[1] - axis[0]), dim=(1, 2))
    slopes = torch.stack([right * axis, right, down * axis[:, None], down], dim=1).flatten(2)
    solver = torch.linalg.inv(slopes @ slopes.mT + 1e-3 * torch.eye(4)) @ slopes
    identity = torch.tensor(IDENTITY)
    best, best_pose = torch.full((len(fixed),), -1.0), pose
    for step in range(steps + 1):
        moved, inside = _warp(moving, pose, axis)
        score = _correlation(fixed, moved, inside)
        best_pose = torch.where((score > best)[:, None], pose, best_pose)
        best = torch.maximum(best, score)
        if step < steps:
            change = (solver @ ((moved - fixed) * inside).flatten(1)[..., None])[..., 0]
            pose = (pose - change.clamp(-REACH / 2, REACH / 2) - identity).clamp(-REACH, REACH) + identity
    return best, best_pose


def _warp(images: Tensor, pose: Tensor, axis: Tensor) -> tuple[Tensor, Tensor]:
    """The images seen through `pose`, and 1 where that falls inside them, else 0."""
    x, y = pose[:, 0, None] * axis + pose[:, 1, None], pose[:, 2, None] * axis + pose[:, 3, None]
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=-1)
    moved = F.grid_sample(images[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False)[:, 0]
    return moved, ((x.abs() <= 1)[:, None, :] & (y.abs() <= 1)[:, :, None]).float()


def _correlation(a: Tensor, b: Tensor, inside: Tensor) -> Tensor:
    a, b = (a * inside).flatten(1), (b * inside).flatten(1)
    count = inside.sum((1, 2)).clamp(min=1)
    left, right = a.sum(1), b.sum(1)
    covariance = torch.linalg.vecdot(a, b) - left * right / count
    spread = torch.linalg.vecdot(a, a) - left.square() / count
    spread = spread * (torch.linalg.vecdot(b, b) - right.square() / count)
    return covariance / spread.clamp(min=1e-6).sqrt()


def _local_contrast(images: Tensor, sigma: float) -> Tensor:
    """[N, s, s] without changes slower than `sigma` pixels, each neighbourhood brought to like contrast."""
    detail = images - _blur(images, sigma)
    spread = _blur(detail.square(), 1.5 * sigma).sqrt()
    usual = detail.square().mean((1, 2), keepdim=True).sqrt()
    return detail / (spread + 0.3 * usual + 1e-3)


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of [N, s, s] as two products, with weights that sum to 1 at the border too."""
    axis = torch.arange(images.shape[-1])
    weights = torch.exp(-((axis[:, None] - axis) / sigma).square() / 2)
    weights /= weights.sum(dim=1, keepdim=True)
    return weights @ images @ weights.T


def _gray(image: np.ndarray) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
    return (pixels[..., :3] * torch.tensor(LUMA)).sum(dim=-1) if pixels.shape[-1] >= 3 else pixels[..., 0]


def _shrink(images: Tensor, side: int) -> Tensor:
    return F.interpolate(images[None], size=(side, side), mode="bilinear", antialias=True, align_corners=False)[0]
