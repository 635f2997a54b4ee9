"""Synthetic image-mask pairs from a trained Run: masks of its training set, augmented and rendered.

GenSeg, Eq. 2: M̂ = augmented M, Î = G(M̂, A); what the segmenter saw beside the real pairs, as files.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track
from torch import Tensor

from genseg_betty.augment import Augmentation
from genseg_betty.build import build_augmentation
from genseg_betty.data.batches import StepSampler, foreground_of, patch_at
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.data.source.case import Sample
from genseg_betty.device import resolve_device
from genseg_betty.errors import UserError
from genseg_betty.faults import list_below
from genseg_betty.files import TEMPORARY, remove_leftovers
from genseg_betty.inference.nnunet_pairs import write_nnunet_pairs
from genseg_betty.inference.pair_files import FOLDERS, Pairs, write_folder_pairs
from genseg_betty.inference.recorded import passive_dataset, read_splits
from genseg_betty.inference.renderer import Renderer
from genseg_betty.inference.saved_networks import saved_preprocessing, trained_segmenter
from genseg_betty.randomness import derived_seed, seeded
from genseg_betty.run import Run
from genseg_betty.terminal import say
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
) -> Path:
    """Write `count` pairs out/images/NNNN.png and out/masks/NNNN.png, of volumes NNNN.nii.gz; returns `out`.

    `dataset=folder dataset.root=OUT` reads them. With `format` nnunet they become a data set of nnU-Net beside the real
    pairs, see `nnunet_pairs`. The masks take turns in a seeded order, each augmented anew;
    a larger count with the same seed begins with the same pairs. Sizes are those the Run trained at; masks
    hold the label values or colours of the training files; volumes have the training data's orientation. The
    generator is in eval mode: no dropout. `strongest` renders with the strongest operation of every searched cell
    alone. Image and mask of a pair appear together, the mask last. `trust` is that of `load`. Raises UserError for a
    Run without a generator, for training data that are gone, and for an `out` that is not empty or cannot be written.
    """
    out = Path(out)
    _check_arguments(count, out, format)
    opened = Run.open(run)
    checkpoint = trained_segmenter(opened)
    preprocessing = saved_preprocessing(opened, checkpoint)
    with building_from(opened, opened.config, BUILT, trust):
        renderer = Renderer(opened, preprocessing, strongest, resolve_device(device))
        augment = build_augmentation(opened.config, preprocessing.spacing)
    parts = ("train", "validation") if format == "nnunet" else ("train",)
    real = _read_training_samples(opened, preprocessing, parts)
    masks = [_prepare_mask(sample, preprocessing) for sample in real["train"]]
    pairs = _draw_pairs(masks, preprocessing.image_size, count, seed, renderer, augment)
    if format == "nnunet":
        write_nnunet_pairs(out, pairs, real, preprocessing, str(opened.config.dataset.get("modality")))
    else:
        write_folder_pairs(out, pairs, count, preprocessing)
    return out


def _draw_pairs(
    masks: list[Tensor], size: tuple[int, ...], count: int, seed: int, renderer: Renderer, augment: Augmentation
) -> Pairs:
    """Image and mask of each pair. Each draws from a seed of its own, so that a larger count begins alike."""
    order = StepSampler(len(masks), 1, seed)
    for index in track(range(count), description="generate", console=Console(stderr=True)):
        chosen = int(order.indices(index))
        with seeded(derived_seed(seed, "generate", index)):
            mask = _fit_mask(masks[chosen], size, seed, index)
            image, mask = renderer(augment.mask(mask[None]))
            image = augment.image(image[None])[0]
        yield image, mask.numpy()


def _fit_mask(mask: Tensor, size: tuple[int, ...], seed: int, index: int) -> Tensor:
    """A mask of the generator's size; of a volume a patch, with background around it where it is smaller."""
    if tuple(mask.shape) == size:
        return mask

    # `pad` takes a width before and a width behind for each axis, the last axis first.
    around: list[int] = []
    for side, wanted in zip(reversed(mask.shape), reversed(size), strict=True):
        missing = max(wanted - side, 0)
        before = missing // 2
        around += [before, missing - before]
    padded = torch.nn.functional.pad(mask, around)

    source = torch.Generator()
    source.manual_seed(derived_seed(seed, "patch", index))
    patch = patch_at(padded.shape, foreground_of(padded), size, source)
    return padded[patch]


def _check_arguments(count: int, out: Path, format: str) -> None:
    """Raise UserError with all that is wrong with the arguments of `generate`."""
    faults = []
    if format not in FORMATS:
        faults.append(f"format is {format!r}; expected {' or '.join(FORMATS)}")
    if count < 1:
        faults.append(f"count is {count}; expected 1 or more")
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


def _read_training_samples(run: Run, preprocessing: Preprocessing, parts: Sequence[str]) -> dict[str, list[Sample]]:
    """The cases of these parts in the training data's orientation, read again from what the Run was trained on.

    Where they lie is for the Run to say, so the screen tells it; nothing is read outside of that folder.
    """
    splits = read_splits(run)
    root = splits.root if splits.root and splits.root.is_dir() else None
    config = passive_dataset(run, root)
    if config.root:
        say(f"masks: those that the Run was trained on, from {config.root} as it says", file=sys.stderr)
    found = {}
    try:
        for part in parts:
            samples = _read_cases(config, getattr(splits, part))
            found[part] = [sample.in_orientation(preprocessing.orientation) for sample in samples]
    except UserError as error:
        raise UserError(
            f"Generating needs the masks that the Run at {run.path} was trained on, and they are gone from "
            f"{splits.root or 'their folder'}: put them back there, or point $GENSEG_DATA at them.\n"
            f"{error}"
        ) from error
    return found


def _prepare_mask(sample: Sample, preprocessing: Preprocessing) -> Tensor:
    """The mask int64 [*] of a training case as the generator takes it."""
    assert sample.mask is not None  # the sample of a labelled case
    return preprocessing.mask(sample.mask, sample.spacing)


def _read_cases(config: DictConfig, ids: list[str]) -> list[Sample]:
    """Read the cases of these ids; raises UserError where a case is missing or cannot be read."""
    dataset = open_dataset(config)
    cases = {case.id: case for case in dataset.cases}
    missing = [name for name in ids if name not in cases]
    if missing or not ids:
        raise UserError(f"missing cases: {', '.join(missing) or 'splits.json names none'}")
    return [dataset.load(cases[name]) for name in ids]
