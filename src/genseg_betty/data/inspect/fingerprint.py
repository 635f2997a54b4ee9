"""The fingerprint of a dataset: what its labelled images are like, and the defaults that follow from it.

It is taken of training and validation cases alone: what a test set is like must not shape a training.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from types import MappingProxyType
from typing import Any

import numpy as np

from genseg_betty.config.origins import SET
from genseg_betty.data.intensities import PERCENTILES, is_eight_bit, is_gray
from genseg_betty.data.source.case import Sample
from genseg_betty.errors import UserError

LONGEST, STEP, LEAST = 256, 32, 64  # pixels of a default side of an image
PATCH, PATCH_STEP, LEAST_PATCH = 128, 16, 32  # voxels of a default side of a volume, or of a patch of it
WHOLE = 160  # voxels along the longest side of the median volume, from which on volumes are made coarser
UNLIKE = 4  # times as bright as another: intensities of such images are of no common unit
NEARLY_SQUARE = 1.15  # ratio of the sides up to which an image is taken as a square
PIXELS_OF_A_BATCH = 4 * 256 * 256
SMALL_FOREGROUND = 0.02  # share of an image below which cross-entropy alone is content with background everywhere
SAMPLED = 2**14  # pixels of one image from which its percentiles are taken, about


@dataclass(frozen=True)
class CaseFacts:
    """What one case holds, short enough to be kept."""

    shape: tuple[int, ...]  # (H, W) or (D, H, W)
    spacing: tuple[float, ...] | None  # mm, in the order of `shape`
    channels: int  # 1 or 3; gray images stored as colour have 1
    eight_bit: bool  # whole numbers within 0..255
    intensities: tuple[float, ...]  # least, 0.5th percentile, median, 99.5th percentile, greatest
    counts: tuple[int, ...]  # pixels of each class

    @classmethod
    def of(cls, sample: Sample, num_classes: int) -> "CaseFacts":
        """The facts of a case as it was read."""
        assert sample.mask is not None
        image = sample.image
        low, high = float(image.min()), float(image.max())
        pixels = image.reshape(-1, image.shape[-1])
        some = pixels[:: len(pixels) // SAMPLED | 1]  # odd, so that it does not walk down one column
        inner = np.percentile(some, (PERCENTILES[0], 50, PERCENTILES[1]))
        counts = np.bincount(sample.mask.ravel(), minlength=num_classes)
        channels = 1 if is_gray(image) else 3
        intensities = (low, *map(float, inner), high)
        eight_bit = is_eight_bit(image)
        return cls(image.shape[:-1], sample.spacing, channels, eight_bit, intensities, tuple(map(int, counts)))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CaseFacts":
        """The inverse of `dataclasses.asdict`, by way of JSON too."""
        return cls(**_as_tuples(values))

    @property
    def foreground(self) -> float:
        """Share of the pixels that are foreground."""
        return 1 - self.counts[0] / sum(self.counts)

    def stand_in(self) -> np.ndarray:
        """One pixel for an 8-bit image, of which `Preprocessing.fit` asks no more than that, and whether it is gray."""
        return np.arange(self.channels, dtype=np.float32).reshape(*(1 for _ in self.shape), self.channels)


@dataclass(frozen=True)
class Settings:
    """What suits a fingerprint, or what a run uses: there the config has the last word."""

    image_size: tuple[int, ...]
    spacing: tuple[float, ...] | None  # mm that volumes are resampled to; None of images, and where a file states none
    channels: int
    batch_size: int
    loss: str
    normalisation: str  # 8-bit (0 and 255 become -1 and 1), percentiles (0.5th and 99.5th of training images), window


@dataclass(frozen=True)
class Fingerprint:
    """The training and validation cases of a run in numbers. Sizes in pixels, spacing in mm, shares in 0..1."""

    cases: int
    groups: int
    smallest: tuple[int, ...]  # (H, W) or (D, H, W), axis by axis; so the next two
    median: tuple[int, ...]
    largest: tuple[int, ...]
    spacing: tuple[float, ...] | None  # median, axis by axis; None where a file has none
    channels: int
    eight_bit: bool
    intensities: tuple[float, ...]  # least, 0.5th percentile, median, 99.5th (medians over cases), greatest
    foreground: tuple[float, ...]  # share of a case: least, median, greatest
    classes: dict[str, float]  # name -> share of all pixels

    @property
    def defaults(self) -> Settings:
        """Image size, channels, batch size, loss and normalisation that suit these cases."""
        volumes = len(self.median) == 3
        coarser = max(1.0, max(self.median) / WHOLE)
        spacing = tuple(round(step * coarser, 6) for step in self.spacing) if volumes and self.spacing else None
        scale = coarser if spacing else 1.0
        size = default_patch([side / scale for side in self.largest]) if volumes else default_image_size(self.median)
        # trainer.loss=auto has a Dice term whatever the share of foreground: it is needed where that is small, and
        # costs nothing elsewhere.
        loss = "bce_dice" if len(self.classes) == 2 else "ce_dice"
        normalisation = "8-bit" if self.eight_bit else "percentiles"
        return Settings(size, spacing, self.channels, default_batch_size(size), loss, normalisation)

    def to_dict(self, used: Settings) -> dict[str, Any]:
        """Plain lists and numbers, as fingerprint.json keeps them, with what would suit and what is used."""
        return _as_lists(asdict(self) | {"suits": asdict(self.defaults), "used": asdict(used)})


def fingerprint(facts: Sequence[CaseFacts], groups: Iterable[str], classes: Sequence[str]) -> Fingerprint:
    """The fingerprint of cases, at least one; `groups` names the group of each, `classes` are those of the dataset.

    Raises UserError for images and volumes in one dataset.
    """
    dimensions = {len(fact.shape) for fact in facts}
    if len(dimensions) > 1:
        flat = sum(len(fact.shape) == 2 for fact in facts)
        raise UserError(
            f"found {flat} images and {len(facts) - flat} volumes among the labelled cases; expected one kind: "
            "choose it by dataset.images"
        )
    sides = list(zip(*(fact.shape for fact in facts), strict=True))
    spacings = [fact.spacing for fact in facts if fact.spacing is not None]
    known = len(spacings) == len(facts)
    lows, *inner, highs = zip(*(fact.intensities for fact in facts), strict=True)
    shares = [fact.foreground for fact in facts]
    counts = np.sum([fact.counts for fact in facts], axis=0)
    return Fingerprint(
        len(facts),
        len(set(groups)),
        tuple(min(side) for side in sides),
        tuple(round(median(side)) for side in sides),
        tuple(max(side) for side in sides),
        tuple(median(step) for step in zip(*spacings, strict=True)) if known else None,
        max(fact.channels for fact in facts),
        all(fact.eight_bit for fact in facts),
        (min(lows), *(median(values) for values in inner), max(highs)),
        (min(shares), median(shares), max(shares)),
        dict(zip(classes, (counts / counts.sum()).tolist(), strict=True)),
    )


def needs_per_image_normalisation(facts: Sequence[CaseFacts]) -> bool:
    """Whether images are so unlike in brightness that each has to be brought to a scale by itself, as MRI may be.

    Asked of training cases alone: what a validation image is like must not decide how training images are read.
    """
    bright = [fact.intensities[3] for fact in facts]
    return not all(fact.eight_bit for fact in facts) and 0 < UNLIKE * min(bright) < max(bright)


def default_image_size(sides: Sequence[int]) -> tuple[int, ...]:
    """The network's input for images of these sides: their proportions, in steps that networks can halve.

    Multiples of 32 within 64..256, a square where the sides are nearly equal.
    """
    scale = min(1.0, LONGEST / max(sides))
    size = tuple(max(LEAST, round(side * scale / STEP) * STEP) for side in sides)
    return (max(size),) * len(size) if max(sides) <= NEARLY_SQUARE * min(sides) else size


def fitting_patch(facts: Sequence[CaseFacts], spacing: Sequence[float] | None) -> tuple[int, ...]:
    """`default_patch` of volumes that are brought to a spacing in mm; None leaves them as they are."""
    grids = [
        [side * own / wanted for side, own, wanted in zip(fact.shape, fact.spacing, spacing, strict=True)]
        if spacing and fact.spacing
        else list(fact.shape)
        for fact in facts
    ]
    return default_patch([max(sides) for sides in zip(*grids, strict=True)])


def default_patch(sides: Sequence[float]) -> tuple[int, ...]:
    """What volumes up to these sides fit into, in multiples of 16 voxels within 32..128; of larger ones a patch."""
    return tuple(int(min(PATCH, max(LEAST_PATCH, -(-side // PATCH_STEP) * PATCH_STEP))) for side in sides)


def default_batch_size(image_size: Sequence[int]) -> int:
    """4 up to 256 x 256 pixels, fewer of what is larger, at least 2."""
    return max(2, min(4, PIXELS_OF_A_BATCH // int(np.prod(image_size))))


def describe(found: Fingerprint, used: Settings, origins: Mapping[str, str] = MappingProxyType({})) -> str:
    """The fingerprint in five to seven lines; behind an arrow what is used, and what would suit if that is another.

    `origins` says what set a key of the config: `set` (the user), or the name of a preset. What nothing has set follows
    from other settings, and nothing is said to suit better.
    """
    suits = found.defaults

    def either(used: object, suits: object, key: str) -> str:
        origin = origins.get(key)
        if used == suits or origin is None:
            return f"{used}"
        return f"{used} (as {'set' if origin == SET else f'{origin} has it'}; {suits} would suit)"

    shared = "" if found.groups == found.cases else f" of {found.groups} groups"
    span = "all of them"
    if found.smallest != found.largest:
        span = f"median; {_times(found.smallest)} to {_times(found.largest)}"
    low, *_, high = found.intensities
    colour = "gray" if found.channels == 1 else "RGB"
    least, middle, greatest = map(_percent, found.foreground)
    loss = either(used.loss, suits.loss, "trainer.loss")
    reason = " (so little foreground needs the Dice term)" if found.foreground[1] < SMALL_FOREGROUND else ""
    lines = [
        f"{found.cases} labelled cases{shared} (train and validation; the test part is not looked at)",
        f"size: {_times(found.median)} px ({span}) → "
        f"image_size {either(_times(used.image_size), _times(suits.image_size), 'image_size')}, "
        f"batch {either(used.batch_size, suits.batch_size, 'trainer.batch_size')}",
        f"colour: {colour} → channels {either(used.channels, suits.channels, 'dataset.channels')}",
        f"intensities: {low:g} to {high:g} → {either(used.normalisation, suits.normalisation, 'dataset.intensity')}",
        f"foreground: {middle} of a case (median; {least} to {greatest}) → loss {loss}{reason}",
    ]
    if found.spacing:
        steps = either(_steps(used.spacing), _steps(suits.spacing), "dataset.spacing")
        resampled = f" → {steps}" if len(found.median) == 3 else ""
        lines.insert(2, f"spacing: {_steps(found.spacing)} mm (median){resampled}")
    if len(found.classes) > 2:
        shares = [f"{name} {_percent(share)}" for name, share in found.classes.items()]
        lines.append(f"classes: {', '.join(shares)}")
    return "\n".join(lines)


def _times(sides: Sequence[int]) -> str:
    return "×".join(map(str, sides))


def _steps(spacing: Sequence[float] | None) -> str:
    return " × ".join(f"{step:.3g}" for step in spacing) if spacing else "as it is"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _as_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_lists(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _as_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
