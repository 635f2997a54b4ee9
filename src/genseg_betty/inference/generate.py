"""Synthetic image-mask pairs from a trained Run: masks of its training set, augmented and rendered.

GenSeg, Eq. 2: M̂ = augmented M, Î = G(M̂, A); what the segmenter saw beside the real pairs, as files.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from genseg_betty.build import build_augmentation
from genseg_betty.data.batches import StepSampler, foreground_of, patch_at
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.formats import nifti, write_mask
from genseg_betty.data.formats.place import affine_from_orientation
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.data.source.case import Sample
from genseg_betty.device import resolve_device
from genseg_betty.errors import UserError
from genseg_betty.faults import list_below
from genseg_betty.files import TEMPORARY, remove_leftovers, whole_file
from genseg_betty.inference.recorded import passive_dataset, read_splits
from genseg_betty.inference.renderer import Renderer
from genseg_betty.inference.saved_networks import saved_preprocessing, trained_segmenter
from genseg_betty.randomness import derived_seed, seeded
from genseg_betty.run import Run
from genseg_betty.terminal import say
from genseg_betty.trust import building_from

FOLDERS = ("images", "masks")
BUILT = ("generator", "generator.objective", "augment")  # sections of the config from which objects are built here
FEWEST_DIGITS = 4  # of the number in a file's name


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

    `dataset=folder dataset.root=OUT` reads them. The masks take turns in a seeded order, each augmented anew;
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
    masks = _read_training_masks(opened, preprocessing)
    order = StepSampler(len(masks), 1, seed)
    name_file = _choose_names(count, preprocessing.spatial_dims)

    # Each pair draws from a seed of its own, so that a larger count begins with the same pairs.
    for index in track(range(count), description="generate", console=Console(stderr=True)):
        chosen = int(order.indices(index))
        with seeded(derived_seed(seed, "generate", index)):
            mask = _fit_mask(masks[chosen], preprocessing.image_size, seed, index)
            image, mask = renderer(augment.mask(mask[None]))
            image = augment.image(image[None])[0]
        _write_pair(out, name_file(index), image, mask.numpy(), preprocessing)
    return out


def _choose_names(count: int, spatial_dims: int) -> Callable[[int], str]:
    """A function from a pair's number to its file name, such as 0012.png: as many digits as the highest one needs."""
    highest = str(count - 1)
    digits = max(FEWEST_DIGITS, len(highest))
    ending = "png" if spatial_dims == 2 else "nii.gz"
    return lambda index: f"{index:0{digits}d}.{ending}"


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


def to_intensities(image: Tensor, preprocessing: Preprocessing) -> np.ndarray:
    """Image [C, *] in [-1, 1] -> [*] or [*, 3] as a file holds it.

    Pictures: uint8, or, for gray training images of more than 8 bits, uint16 in their intensities. Volumes: float32 in
    the intensities of the training volumes, or 0 to 255 where these have no common ones.
    """
    unit_tensor = (image.clamp(-1, 1) + 1) / 2
    channels_last = unit_tensor.movedim(0, -1)
    unit = channels_last.squeeze(-1).numpy()
    low, high = preprocessing.intensity or (0.0, 255.0)
    if preprocessing.spatial_dims == 3:
        intensities = low + unit * (high - low)
        return intensities.astype(np.float32)
    if unit.ndim == 2 and high > 255:
        levels = np.round(low + unit * (high - low))
        return np.clip(levels, 0, 65535).astype(np.uint16)
    levels = np.round(unit * 255)
    return levels.astype(np.uint8)


def _check_arguments(count: int, out: Path, format: str) -> None:
    """Raise UserError with all that is wrong with the arguments of `generate`."""
    faults = []
    if format != "folder":
        faults.append(f"format is {format!r}; expected folder")
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


def _write_pair(out: Path, name: str, image: Tensor, mask: np.ndarray, preprocessing: Preprocessing) -> None:
    """Write both files of a pair; raises UserError where they cannot be written."""
    pixels = to_intensities(image, preprocessing)
    values = preprocessing.to_file_values(mask)
    image_path, mask_path = (out / folder / name for folder in FOLDERS)
    try:
        for path in (image_path, mask_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        # The outer file is renamed last: a mask never lies there without its image.
        with whole_file(mask_path, sync=False) as mask_file, whole_file(image_path, sync=False) as image_file:
            if preprocessing.spatial_dims == 3:
                spacing = preprocessing.spacing or (1.0, 1.0, 1.0)
                affine = affine_from_orientation(preprocessing.orientation or "RAS", spacing)
                nifti.write_image(image_file, pixels, affine)
                nifti.write_mask(mask_file, values, affine)
            else:
                Image.fromarray(pixels).save(image_file)
                write_mask(mask_file, values, preprocessing.colours)
    except OSError as error:
        raise UserError(f"Cannot write the pair {name} to {out}: {error.strerror or error}") from error


def _read_training_masks(run: Run, preprocessing: Preprocessing) -> list[Tensor]:
    """Masks int64 [*] of the training cases, read again from the data the Run was trained on.

    Where they lie is for the Run to say, so the screen tells it; nothing is read outside of that folder.
    """
    splits = read_splits(run)
    root = splits.root if splits.root and splits.root.is_dir() else None
    config = passive_dataset(run, root)
    if config.root:
        say(f"masks: those that the Run was trained on, from {config.root} as it says", file=sys.stderr)
    try:
        samples = _read_cases(config, splits.train)
    except UserError as error:
        raise UserError(
            f"Generating needs the masks that the Run at {run.path} was trained on, and they are gone from "
            f"{splits.root or 'their folder'}: put them back there, or point $GENSEG_DATA at them.\n"
            f"{error}"
        ) from error
    masks = []
    for sample in samples:
        turned = sample.in_orientation(preprocessing.orientation)
        if turned.mask is not None:
            masks.append(preprocessing.mask(turned.mask, turned.spacing))
    return masks


def _read_cases(config: DictConfig, ids: list[str]) -> list[Sample]:
    """Read the cases of these ids; raises UserError where a case is missing or cannot be read."""
    dataset = open_dataset(config)
    cases = {case.id: case for case in dataset.cases}
    missing = [name for name in ids if name not in cases]
    if missing or not ids:
        raise UserError(f"missing cases: {', '.join(missing) or 'splits.json names none'}")
    return [dataset.load(cases[name]) for name in ids]
