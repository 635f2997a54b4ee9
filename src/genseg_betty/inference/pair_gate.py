"""The quality of synthetic pairs in figures, and which are dropped: unlike their mask, or a copy of a patient."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from genseg_betty.data.formats.place import affine_from_orientation
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.errors import UserError
from genseg_betty.inference.nearest_real import Thumbnails, find_nearest, make_moved_thumbnail, make_thumbnails
from genseg_betty.inference.pair_draws import DrawnPair, PairDraws
from genseg_betty.inference.pair_files import to_intensities, to_training_units
from genseg_betty.inference.predictor import Predictor
from genseg_betty.inference.recorded import read_splits
from genseg_betty.inference.saved_networks import load
from genseg_betty.metrics.scores import score_masks
from genseg_betty.run import Run
from genseg_betty.run.names import DICE
from genseg_betty.terminal import say

COPY_REASON = "copy"
AGREEMENT_REASON = "agreement"


@dataclass(frozen=True)
class PairQuality:
    """What is measured of a pair.

    Args:
        agreement: Dice of the pair's mask with what the judge finds in the image, the mean over the foreground classes.
        distance: to the nearest real training image, in [0, 2]; see `nearest_real`.
        nearest: the position of that image.
        is_moved: whether it is nearest after it was moved as the mask was.
    """

    agreement: float
    distance: float
    nearest: int
    is_moved: bool


@dataclass(frozen=True)
class Judge:
    """A segmenter that says whether an image shows what its mask says, and how the screen calls it."""

    predictor: Predictor
    title: str
    preprocessing: Preprocessing

    def measure_agreement(self, image: Tensor, mask: np.ndarray) -> float:
        """Dice of a mask [*] with what the judge finds in the image [C, *] in [-1, 1]. Raises UserError."""
        own = self.preprocessing
        values = to_training_units(to_intensities(image, own), own)
        spacing = affine = None
        if own.spatial_dims == 3:
            spacing = own.spacing or (1.0, 1.0, 1.0)
            affine = affine_from_orientation(own.orientation or "RAS", spacing)
        scaled = self.predictor.preprocessing.in_units_of_training(values, own.scale)
        found = self.predictor(scaled, own.spacing, affine)
        agreement = score_masks(found, mask, own.num_classes, spacing).means[DICE]
        assert agreement is not None  # a share of pixels is always defined
        return round(agreement, 6)


@dataclass
class PairGate:
    """Measures pairs, and says which are dropped.

    Args:
        real: training images [C, *] in [-1, 1], of volumes the whole ones.
        min_agreement: pairs of less are dropped.
        min_distance: pairs nearer than that to a real image are copies, and dropped.
    """

    judge: Judge
    real: Sequence[Tensor]
    min_agreement: float
    min_distance: float
    _thumbnails: Thumbnails | None = field(default=None, init=False)

    def measure_pair(self, drawn: DrawnPair, draws: PairDraws) -> PairQuality:
        """The figures of a pair. Raises UserError where the judge cannot read its image."""
        moved = None
        if drawn.move is not None:
            whole = self.real[drawn.source]
            own = whole if drawn.cut is None else drawn.cut.take_part(whole, fill=-1)
            moved = make_moved_thumbnail(own, drawn.move)
        nearest = find_nearest(drawn.image, self._take_thumbnails(draws, drawn.number), drawn.source, moved)
        agreement = self.judge.measure_agreement(drawn.image, drawn.mask.numpy())
        return PairQuality(agreement, nearest.distance, nearest.index, nearest.is_moved)

    def find_reason(self, quality: PairQuality) -> str:
        """Why a pair is dropped; "" of one that is kept."""
        if quality.distance < self.min_distance:
            return COPY_REASON
        return AGREEMENT_REASON if quality.agreement < self.min_agreement else ""

    def _take_thumbnails(self, draws: PairDraws, number: int) -> Thumbnails:
        """Those of all real images; of volumes of the parts that this draw would take of each."""
        if self._thumbnails is not None:
            return self._thumbnails
        cuts = [draws.find_cut(place, number) for place in range(len(self.real))]
        parts = []
        for image, cut in zip(self.real, cuts, strict=True):
            parts.append(image if cut is None else cut.take_part(image, fill=-1))
        found = make_thumbnails(parts)
        if all(cut is None for cut in cuts):
            self._thumbnails = found
        return found


def load_judge(run: Run, preprocessing: Preprocessing, judge: Path | str | None, device: str, trust: bool) -> Judge:
    """The segmenter of another Run, or of the Run itself where none is given, with a line on the screen that says so.

    Raises UserError for one of other classes, or of volumes where these are images.
    """
    is_own = judge is None or Path(judge).resolve() == run.path.resolve()
    opened = run if is_own or judge is None else Run.open(judge)
    predictor = load(opened.path, device, trust)
    _require_same_kind(opened, predictor.preprocessing, preprocessing)
    title = "the Run's own segmenter" if is_own else f"the segmenter of {opened.path.name}"
    if is_own:
        _tell(f"{title}, which learned from this generator and is no independent judge; --judge RUN names one")
    else:
        _tell(f"{title}{_describe_common(run, opened)}")
    return Judge(predictor, title, preprocessing)


def _tell(judge: str) -> None:
    say(f"judge: {judge}", file=sys.stderr)


def _describe_common(run: Run, judge: Run) -> str:
    """Of how many of the same images the judge has learned, where both say so."""
    own, other = (set(read_splits(one).contents) for one in (run, judge))
    common = len(own & other)
    if not common:
        return ""
    return f", which learned from {common} of the Run's {len(own)} labelled images"


def _require_same_kind(judge: Run, found: Preprocessing, expected: Preprocessing) -> None:
    both_binary = found.num_classes == expected.num_classes == 2
    faults = []
    if found.classes != expected.classes and not both_binary:
        faults.append(f"its classes are {', '.join(found.classes)}; expected {', '.join(expected.classes)}")
    if found.spatial_dims != expected.spatial_dims:
        kinds = {2: "images", 3: "volumes"}
        faults.append(f"it reads {kinds[found.spatial_dims]}; expected one of {kinds[expected.spatial_dims]}")
    if faults:
        raise UserError(f"The Run at {judge.path} cannot judge these pairs: {'; '.join(faults)}")
