"""The fingerprint of a dataset: what its labelled images are like, and the defaults that follow from it.

It is taken of training and validation cases alone: what a test set is like must not shape a training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from genseg_betty.data.inspect.case_facts import CaseFacts
from genseg_betty.data.inspect.default_settings import default_batch_size, default_image_size, default_patch
from genseg_betty.errors import UserError

WHOLE = 160  # voxels along the longest side of the median volume, from which on volumes are made coarser


@dataclass(frozen=True)
class Settings:
    """What suits a fingerprint, or what a run uses: there the config has the last word.

    Attributes:
        spacing: mm that volumes are resampled to; None of images, and where a file states none.
        normalisation: 8-bit (0 and 255 become -1 and 1), percentiles (0.5th and 99.5th of training images), window.
    """

    image_size: tuple[int, ...]
    spacing: tuple[float, ...] | None
    channels: int
    batch_size: int
    loss: str
    normalisation: str


@dataclass(frozen=True)
class Fingerprint:
    """The training and validation cases of a run in numbers. Sizes in pixels, spacing in mm, shares in 0..1.

    Attributes:
        smallest: (H, W) or (D, H, W), axis by axis; so are `median` and `largest`.
        spacing: median, axis by axis; None where a file has none.
        intensities: least, 0.5th percentile, median, 99.5th (medians over cases), greatest.
        foreground: share of a case: least, median, greatest.
        classes: name -> share of all pixels.
    """

    cases: int
    groups: int
    smallest: tuple[int, ...]
    median: tuple[int, ...]
    largest: tuple[int, ...]
    spacing: tuple[float, ...] | None
    channels: int
    eight_bit: bool
    intensities: tuple[float, ...]
    foreground: tuple[float, ...]
    classes: dict[str, float]

    @property
    def defaults(self) -> Settings:
        """Image size, channels, batch size, loss and normalisation that suit these cases."""
        if len(self.median) == 3:
            size, spacing = self._choose_grid()
        else:
            size, spacing = default_image_size(self.median), None
        # trainer.loss=auto has a Dice term whatever the share of foreground: it is needed where that is small, and
        # costs nothing elsewhere.
        is_binary = len(self.classes) == 2
        return Settings(
            image_size=size,
            spacing=spacing,
            channels=self.channels,
            batch_size=default_batch_size(size),
            loss="bce_dice" if is_binary else "ce_dice",
            normalisation="8-bit" if self.eight_bit else "percentiles",
        )

    def _choose_grid(self) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
        """The patch and the spacing that suit volumes: large ones are made coarser, if the files state a spacing."""
        if not self.spacing:
            return default_patch(self.largest), None
        longest = max(self.median)
        coarser = max(1.0, longest / WHOLE)
        sides = [side / coarser for side in self.largest]
        spacing = [round(step * coarser, 6) for step in self.spacing]
        return default_patch(sides), tuple(spacing)

    def to_dict(self, used: Settings) -> dict[str, Any]:
        """Plain lists and numbers, as fingerprint.json keeps them, with what would suit and what is used."""
        values = asdict(self)
        values["suits"] = asdict(self.defaults)
        values["used"] = asdict(used)
        return _as_lists(values)


def take_fingerprint(facts: Sequence[CaseFacts], groups: Iterable[str], classes: Sequence[str]) -> Fingerprint:
    """The fingerprint of cases, at least one; `groups` names the group of each, `classes` are those of the dataset.

    Raises UserError for images and volumes in one dataset.
    """
    _require_one_kind(facts)
    shapes = [fact.shape for fact in facts]
    sides = list(zip(*shapes, strict=True))
    lows, *inner, highs = zip(*(fact.intensities for fact in facts), strict=True)
    shares = [fact.foreground for fact in facts]
    return Fingerprint(
        cases=len(facts),
        groups=len(set(groups)),
        smallest=tuple(map(min, sides)),
        median=tuple(round(median(side)) for side in sides),
        largest=tuple(map(max, sides)),
        spacing=_find_median_spacing(facts),
        channels=max(fact.channels for fact in facts),
        eight_bit=all(fact.eight_bit for fact in facts),
        intensities=(min(lows), *map(median, inner), max(highs)),
        foreground=(min(shares), median(shares), max(shares)),
        classes=_find_class_shares(facts, classes),
    )


def _require_one_kind(facts: Sequence[CaseFacts]) -> None:
    """Raise UserError for images and volumes in one dataset."""
    images = 0
    volumes = 0
    for fact in facts:
        if len(fact.shape) == 2:
            images += 1
        else:
            volumes += 1
    if images and volumes:
        raise UserError(
            f"found {images} images and {volumes} volumes among the labelled cases; "
            "expected one kind: choose it by dataset.images"
        )


def _find_median_spacing(facts: Sequence[CaseFacts]) -> tuple[float, ...] | None:
    """Axis by axis; None where a file states none."""
    spacings = []
    for fact in facts:
        if fact.spacing is None:
            return None
        spacings.append(fact.spacing)
    steps = zip(*spacings, strict=True)
    return tuple(map(median, steps))


def _find_class_shares(facts: Sequence[CaseFacts], classes: Sequence[str]) -> dict[str, float]:
    """The share of each class of all pixels."""
    counts = np.sum([fact.counts for fact in facts], axis=0)
    shares = counts / counts.sum()
    return dict(zip(classes, shares.tolist(), strict=True))


def _as_lists(value: Any) -> Any:
    """A value with lists in the place of tuples, those in its dictionaries too."""
    if isinstance(value, tuple):
        return list(value)
    if not isinstance(value, dict):
        return value
    lists = {}
    for key, item in value.items():
        lists[key] = _as_lists(item)
    return lists
