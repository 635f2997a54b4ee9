"""Synthetic image-mask pairs from a trained Run: masks of its training set, augmented and rendered.

GenSeg, Eq. 2: M̂ = augmented M, Î = G(M̂, A); what the segmenter saw beside the real pairs, as files: NNNN.png, of
volumes NNNN.nii.gz. Beside them lie pairs.csv, which says where each comes from and how good it is, and a contact
sheet.

The masks take turns in a seeded order, each augmented anew. Sizes are those the Run trained at; masks hold the label
values or colours of the training files; volumes have the training data's orientation. The generator is in eval mode: no
dropout. Image and mask of a pair appear together, the mask last. Draws that are dropped are made up for by further
ones, until so many in a row were dropped (see `pair_selection`); then there are fewer pairs than asked for.
"""

from dataclasses import dataclass
from pathlib import Path

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
from genseg_betty.inference.pair_draws import PairDraws
from genseg_betty.inference.pair_files import FOLDERS, choose_stems, write_folder_pairs
from genseg_betty.inference.pair_gate import PairGate, load_judge
from genseg_betty.inference.pair_record import (
    SHEET,
    TABLE,
    GeneratedPairs,
    encode_records,
)
from genseg_betty.inference.pair_selection import PairSelection
from genseg_betty.inference.pair_sheet import choose_shown, save_pair_sheet
from genseg_betty.inference.recorded import read_splits
from genseg_betty.inference.renderer import Renderer
from genseg_betty.inference.saved_networks import saved_preprocessing, trained_segmenter
from genseg_betty.inference.training_samples import read_training_samples
from genseg_betty.run import Run
from genseg_betty.trust import building_from

FORMATS = ("folder", "nnunet")
BUILT = ("generator", "generator.objective", "augment")  # sections of the config from which objects are built here


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
) -> GeneratedPairs:
    """Write `count` pairs into `out`/images and `out`/masks, and beside them pairs.csv and sheet.png.

    Args:
        format: folder, which `dataset=folder` reads, or nnunet: data sets of nnU-Net, see `nnunet_pairs`.
        seed: a larger count with the same seed begins with the same pairs.
        strongest: render with the strongest operation of every searched cell alone.
        device, trust: those of `load`.
        judge: a Run whose segmenter measures how far images show what their masks say; None: the Run's own.
        min_agreement: pairs of a smaller Dice with the judge's mask are dropped.
        min_distance: pairs nearer than that to a real training image are dropped as copies, see `nearest_real`.
        gate: whether pairs are measured at all; without it nothing is dropped, and there is no sheet.

    Raises:
        UserError: for a Run without a generator, training data that are gone, an `out` that is not empty or cannot be
            written, a judge that cannot judge these images, and where no draw is kept.
    """
    _check_arguments(count, Path(out), format, min_agreement, min_distance)
    order = _Order(Run.open(run), count, Path(out), format, seed, strongest, device, trust)
    return _fill_order(order, _Limits(judge, min_agreement, min_distance) if gate else None)


@dataclass(frozen=True)
class _Order:
    """What is to be written where."""

    run: Run
    count: int
    out: Path
    format: str
    seed: int
    strongest: bool
    device: str
    trust: bool


@dataclass(frozen=True)
class _Limits:
    """By whom pairs are judged, and which are dropped."""

    judge: Path | str | None
    min_agreement: float
    min_distance: float


def _fill_order(order: _Order, limits: _Limits | None) -> GeneratedPairs:
    """Draw the pairs and write all files; None: nothing is measured."""
    run = order.run
    checkpoint = trained_segmenter(run)
    preprocessing = saved_preprocessing(run, checkpoint)
    with building_from(run, run.config, BUILT, order.trust):
        renderer = Renderer(run, preprocessing, order.strongest, resolve_device(order.device))
        augment = build_augmentation(run.config, preprocessing.spacing)
    judge = load_judge(run, preprocessing, limits.judge, order.device, order.trust) if limits else None
    parts = ("train", "validation") if order.format == "nnunet" else ("train",)
    real = read_training_samples(run, preprocessing, parts)
    masks = [_prepare_mask(sample, preprocessing) for sample in real["train"]]
    drawing = PairSelection(
        draws=PairDraws(masks, preprocessing.image_size, order.seed, renderer, augment),
        ids=read_splits(run).train,
        count=order.count,
        stems=name_synthetic if order.format == "nnunet" else choose_stems(order.count),
    )
    if limits is not None and judge is not None:
        images = [preprocessing.image(sample.image, sample.spacing) for sample in real["train"]]
        drawing.gate = PairGate(judge, images, limits.min_agreement, limits.min_distance)

    pairs = drawing.draw_some()
    if order.format == "nnunet":
        write_nnunet_pairs(order.out, pairs, real, preprocessing, str(run.config.dataset.get("modality")))
    else:
        write_folder_pairs(order.out, pairs, order.count, preprocessing)
    return _write_records(order.out, drawing, run, preprocessing)


def _write_records(out: Path, drawing: PairSelection, run: Run, preprocessing: Preprocessing) -> GeneratedPairs:
    """Write pairs.csv and, with a gate, sheet.png. Raises UserError where that fails."""
    records = drawing.records
    try:
        atomic_write(out / TABLE, encode_records(records, run.path.name, drawing.draws.seed), sync=False)
    except OSError as error:
        raise UserError(f"Cannot write {out / TABLE}: {error.strerror or error}") from error
    gate = drawing.gate
    if gate is None:
        return GeneratedPairs(out, out / TABLE, None, drawing.count, records=records)
    generation = GeneratedPairs(out, out / TABLE, out / SHEET, drawing.count, gate.judge.title, records)
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
