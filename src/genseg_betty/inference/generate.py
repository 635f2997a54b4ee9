"""Synthetic image-mask pairs from a trained Run: masks of its training set, augmented and rendered.

GenSeg, Eq. 2: M̂ = augmented M, Î = G(M̂, A); what the segmenter saw beside the real pairs, as files. Beside them lie
pairs.csv, which says where each comes from and how good it is, and a contact sheet.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from torch import Tensor

from genseg_betty.build import build_augmentation
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.data.source.case import Sample
from genseg_betty.device import resolve_device
from genseg_betty.errors import UserError
from genseg_betty.faults import list_below
from genseg_betty.files import TEMPORARY, atomic_write, remove_leftovers
from genseg_betty.inference.nearest_real import COPY
from genseg_betty.inference.nnunet_pairs import name_synthetic, write_nnunet_pairs
from genseg_betty.inference.pair_draws import DrawnPair, PairDraws
from genseg_betty.inference.pair_files import FOLDERS, Pairs, choose_stems, write_folder_pairs
from genseg_betty.inference.pair_gate import PairGate, load_judge
from genseg_betty.inference.pair_record import (
    SHEET,
    TABLE,
    Generation,
    PairRecord,
    describe_dropped,
    encode_records,
)
from genseg_betty.inference.pair_sheet import choose_shown, save_pair_sheet
from genseg_betty.inference.recorded import read_splits
from genseg_betty.inference.renderer import Renderer
from genseg_betty.inference.saved_networks import saved_preprocessing, trained_segmenter
from genseg_betty.inference.training_samples import read_training_samples
from genseg_betty.run import Run
from genseg_betty.trust import building_from

FORMATS = ("folder", "nnunet")
BUILT = ("generator", "generator.objective", "augment")  # sections of the config from which objects are built here
MOST_IN_A_ROW = 100
"""Draws that may be dropped one after the other before the search for better ones ends."""


def generate(
    run: Path | str,
    count: int,
    out: Path,
    format: str = "folder",
    seed: int = 0,
    strongest: bool = False,
    device: str = "auto",
    trust: bool = False,
    *,
    judge: Path | str | None = None,
    min_agreement: float = 0.0,
    min_distance: float = COPY,
    gate: bool = True,
) -> Generation:
    """Write `count` pairs out/images/NNNN.png and out/masks/NNNN.png, of volumes NNNN.nii.gz, pairs.csv and sheet.png.

    `dataset=folder dataset.root=OUT` reads them. With `format` nnunet they become a data set of nnU-Net beside the real
    pairs, see `nnunet_pairs`. The masks take turns in a seeded order, each augmented anew;
    a larger count with the same seed begins with the same pairs. Sizes are those the Run trained at; masks
    hold the label values or colours of the training files; volumes have the training data's orientation. The
    generator is in eval mode: no dropout. `strongest` renders with the strongest operation of every searched cell
    alone. Image and mask of a pair appear together, the mask last. `trust` is that of `load`.

    Draws that are dropped are made up for by further ones, until `MOST_IN_A_ROW` in a row were dropped; then there are
    fewer pairs than asked for, see `Generation.is_complete`.

    Args:
        judge: another Run, whose segmenter says how far the images show what their masks say; None: the Run's own.
        min_agreement: pairs whose Dice with the judge's mask is below that are dropped; 0 drops none.
        min_distance: pairs whose distance to the nearest real training image is below that are copies, and dropped; 0
            drops none. See `nearest_real`.
        gate: whether pairs are measured at all; without it there is no sheet and nothing is dropped.

    Raises:
        UserError: for a Run without a generator, for training data that are gone, for an `out` that is not empty or
            cannot be written, for a judge that cannot judge these images, and where no draw is kept.
    """
    out = Path(out)
    _check_arguments(count, out, format, min_agreement, min_distance)
    opened = Run.open(run)
    checkpoint = trained_segmenter(opened)
    preprocessing = saved_preprocessing(opened, checkpoint)
    with building_from(opened, opened.config, BUILT, trust):
        renderer = Renderer(opened, preprocessing, strongest, resolve_device(device))
        augment = build_augmentation(opened.config, preprocessing.spacing)
    judged_by = load_judge(opened, preprocessing, judge, device, trust) if gate else None
    parts = ("train", "validation") if format == "nnunet" else ("train",)
    real = read_training_samples(opened, preprocessing, parts)
    masks = [_prepare_mask(sample, preprocessing) for sample in real["train"]]
    drawing = _Drawing(
        draws=PairDraws(masks, preprocessing.image_size, seed, renderer, augment),
        ids=read_splits(opened).train,
        count=count,
        stems=name_synthetic if format == "nnunet" else choose_stems(count),
    )
    if judged_by is not None:
        images = [preprocessing.image(sample.image, sample.spacing) for sample in real["train"]]
        drawing.gate = PairGate(judged_by, images, min_agreement, min_distance)

    pairs = drawing.draw_some()
    if format == "nnunet":
        write_nnunet_pairs(out, pairs, real, preprocessing, str(opened.config.dataset.get("modality")))
    else:
        write_folder_pairs(out, pairs, count, preprocessing)
    return _write_records(out, drawing, opened, preprocessing)


@dataclass
class _Drawing:
    """Draws pairs until there are as many as were asked for, and keeps a record of every draw."""

    draws: PairDraws
    ids: Sequence[str]
    count: int
    stems: Callable[[int], str]
    gate: PairGate | None = None
    records: list[PairRecord] = field(default_factory=list)

    def draw_some(self) -> Pairs:
        """The pairs that are kept. Raises UserError, before any is handed on, where none is."""
        kept = self._draw_kept()
        first = next(kept, None)
        if first is None:
            raise UserError(self._explain_none())
        return itertools.chain([first], kept)

    def _draw_kept(self) -> Iterator[tuple[Tensor, np.ndarray]]:
        numbers = itertools.count()
        for index in track(range(self.count), description="generate", console=Console(stderr=True)):
            for number in itertools.islice(numbers, MOST_IN_A_ROW):
                drawn = self.draws.draw_pair(number)
                if self._record_draw(drawn, self.stems(index)):
                    yield drawn.pair
                    break
            else:
                return

    def _record_draw(self, drawn: DrawnPair, file: str) -> bool:
        """Note a draw; returns whether it is kept."""
        move = {} if drawn.move is None else drawn.move.describe()
        if drawn.cut is not None:
            move["patch"] = " ".join(map(str, drawn.cut.start))
        source = self.ids[drawn.source]
        if self.gate is None:
            self.records.append(PairRecord(drawn.number, file, source, move))
            return True
        quality = self.gate.measure_pair(drawn, self.draws)
        reason = self.gate.find_reason(quality)
        nearest = self.ids[quality.nearest]
        record = PairRecord(drawn.number, "" if reason else file, source, move, quality, nearest, reason)
        self.records.append(record)
        return not reason

    def _explain_none(self) -> str:
        assert self.gate is not None  # without one every draw is kept
        qualities = [record.quality for record in self.records if record.quality is not None]
        agreement = max(quality.agreement for quality in qualities)
        distance = max(quality.distance for quality in qualities)
        dropped = describe_dropped(self.records)
        return (
            f"No pair was written; {dropped[0]}. The largest agreement was {agreement:.3f} (min_agreement "
            f"{self.gate.min_agreement:g}), the largest distance {distance:.3f} (min_distance "
            f"{self.gate.min_distance:g}). Lower these, or train the generator longer or on more images"
        )


def _write_records(out: Path, drawing: _Drawing, run: Run, preprocessing: Preprocessing) -> Generation:
    """Write pairs.csv and, with a gate, sheet.png. Raises UserError where that fails."""
    records = drawing.records
    try:
        atomic_write(out / TABLE, encode_records(records, run.path.name, drawing.draws.seed), sync=False)
    except OSError as error:
        raise UserError(f"Cannot write {out / TABLE}: {error.strerror or error}") from error
    gate = drawing.gate
    if gate is None:
        return Generation(out, out / TABLE, None, drawing.count, records=records)
    generation = Generation(out, out / TABLE, out / SHEET, drawing.count, gate.judge.title, records)
    kept = generation.kept
    shown = choose_shown(kept)
    summary = [f"{len(kept)} pairs; {len(shown)} shown, those nearest to a real image first", *generation.describe()]
    title = f"Synthetic pairs of {run.path.name}"
    save_pair_sheet(out / SHEET, title, summary, shown, drawing.draws, gate.real, preprocessing.classes)
    return generation


def _check_arguments(count: int, out: Path, format: str, min_agreement: float, min_distance: float) -> None:
    """Raise UserError with all that is wrong with the arguments of `generate`."""
    faults = []
    if format not in FORMATS:
        faults.append(f"format is {format!r}; expected {' or '.join(FORMATS)}")
    if count < 1:
        faults.append(f"count is {count}; expected 1 or more")
    if not 0 <= min_agreement <= 1:
        faults.append(f"min_agreement is {min_agreement:g}; expected a Dice from 0 to 1")
    if not 0 <= min_distance <= 2:
        faults.append(f"min_distance is {min_distance:g}; expected a distance from 0 to 2")
    if out.exists() and not out.is_dir():
        faults.append(f"out {out} is a file; expected a folder")
    elif (held := _find_file(out)) is not None:
        faults.append(
            f"out {out} is not empty (it holds {held}); expected a new or empty folder, so that no pairs are mixed. If "
            "a generation was cut short there, delete the folder: the same command makes the same pairs again"
        )
    if faults:
        raise UserError(list_below("Nothing was generated:", faults))


def _find_file(out: Path) -> Path | None:
    """The first file below `out`, apart from what a killed process left behind."""
    remove_leftovers(out / folder for folder in FOLDERS)
    for file in out.rglob("*"):
        if not file.is_dir() and TEMPORARY not in file.name:
            return file
    return None


def _prepare_mask(sample: Sample, preprocessing: Preprocessing) -> Tensor:
    """The mask int64 [*] of a training case as the generator takes it."""
    assert sample.mask is not None  # the sample of a labelled case
    return preprocessing.mask(sample.mask, sample.spacing)
