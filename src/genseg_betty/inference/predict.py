"""Masks for image files: every input gets one PNG mask under the output folder.

A folder is searched with its subfolders, whose structure the masks repeat. All that would go wrong with the
file names (missing inputs, two inputs for one mask, a mask over an input) is found before the first image.
"""

import errno
import os
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from genseg_betty.data.comparable import require_kind
from genseg_betty.data.formats import (
    content_files,
    holds_series,
    holds_volumes,
    is_image_file,
    read_header,
    read_image,
    split_name,
    write_mask,
    write_volume,
)
from genseg_betty.data.formats.place import orientation_of
from genseg_betty.data.places import note_of_turned
from genseg_betty.data.scale import scale_of_files
from genseg_betty.errors import UserError
from genseg_betty.faults import list_examples, merge_alike
from genseg_betty.files import is_full, remove_leftovers, whole_file
from genseg_betty.inference.predictor import Predictor, load
from genseg_betty.terminal import say


@dataclass(frozen=True)
class Job:
    """One image to read and the mask to write for it."""

    image: Path
    mask: Path


def predict_paths(
    run: Path | str, paths: list[Path], out: Path, device: str = "auto", trust: bool = False
) -> list[Path]:
    """Predict image files and folders with the Run at `run`; returns the masks written.

    A mask is a PNG of the same stem and size as its image (turned upright as its EXIF tag says), with the
    label values of the training files, or with class indices and a palette where these hold colours. Volumes become
    NIfTI, on the voxels of the input and in its place; one that is stored in another orientation than the training
    data is turned for the network alone, which is said once. Masks that an earlier call left in `out` are replaced;
    inputs never are, and nothing is written outside `out`. Each mask is there as a whole or not at all.
    `trust` is that of `load`. Raises UserError before any work for inputs that are missing or would share a mask, and
    after all the work with a list of the images that could not be read or written.
    """
    out = Path(out)
    predictor = load(run, device, trust)
    jobs = plan([Path(path) for path in paths], out, predictor.preprocessing.spatial_dims == 3)
    remove_leftovers(job.mask.parent for job in jobs)
    _tell_of_earlier(jobs, out)
    written, failures = [], []
    orientations: list[str | None] = []
    for job in track(jobs, description="predict", console=Console(stderr=True)):
        try:
            orientations.append(_predict_file(predictor, job))
            written.append(job.mask)
        except UserError as error:
            failures.append((str(job.image), str(error)))
        except OSError as error:
            if is_full(error) or error.errno == errno.EROFS:
                raise UserError(
                    f"masks cannot be written to {job.mask.parent} ({error.strerror}): {len(written)} of {len(jobs)} "
                    "are there, each of them whole. Make room or name another --out, and give the same command again: "
                    "it makes all of them"
                ) from error
            failures.append((str(job.image), str(error)))
    notes = note_of_turned("the input", orientations, predictor.preprocessing.orientation)
    notes += note_of_files_beside_slices(jobs)
    say(*(f"note: {note}" for note in notes), file=sys.stderr)
    if failures:
        title = f"{len(failures)} of {len(jobs)} images failed; the other {len(written)} masks are in {out}:"
        raise UserError("\n  - ".join([title, *merge_alike(failures, "images")]))
    return written


def _tell_of_earlier(jobs: list[Job], out: Path) -> None:
    """Say how many masks are made again, and which others lie in `out` and are none of this call's."""
    masks = {job.mask for job in jobs}
    again = sum(mask.exists() for mask in masks)
    endings = {split_name(mask.name)[1] for mask in masks}
    present = [file for folder in sorted({mask.parent for mask in masks}) for file in sorted(folder.glob("*"))]
    others = [file for file in present if file not in masks and split_name(file.name)[1] in endings]
    if again:
        say(f"note: {again} of {len(jobs)} masks are in {out} already and are made again", file=sys.stderr)
    if others:
        names = list_examples([file.relative_to(out).as_posix() for file in others])
        say(f"note: {out} keeps files that are no masks of this call: {names}", file=sys.stderr)


def plan(paths: list[Path], out: Path, volumes: bool = False) -> list[Job]:
    """What to read and what to write, in the order given; UserError with all faults at once.

    Masks are PNG files, of `volumes` NIfTI files; there a folder of DICOM slices is one image.
    """
    jobs: dict[tuple[Path, Path], Job] = {}
    missing = []
    faults = [] if out.is_dir() or not out.exists() else [f"--out {out} is a file; expected a folder"]
    for path in paths:
        found = _images(path, out, volumes)
        if not found:
            wanted = "no image in this folder" if path.is_dir() else "no such file or folder"
            missing.append((str(path), wanted))
        for image, relative in found:
            mask = out / relative.with_name(split_name(relative.name)[0] + (".nii.gz" if volumes else ".png"))
            jobs.setdefault((image.resolve(), mask), Job(image, mask))
    faults += merge_alike(missing, "names")
    faults += _conflicts(list(jobs.values()), out)
    if not paths:
        faults.append("no image or folder was named")
    if faults:
        raise UserError("\n  - ".join(["Nothing was predicted:", *faults]))
    return list(jobs.values())


def _images(path: Path, out: Path, volumes: bool) -> list[tuple[Path, Path]]:
    """Image files at `path` with their places below the output folder."""
    if path.is_file():
        return [(path, Path(path.name))]
    inside = out.resolve() if out.resolve() != path.resolve() else None
    visible = [file for file in sorted(path.rglob("*")) if not _is_hidden(file.relative_to(path))]
    series = {folder for folder in (path, *visible) if volumes and folder.is_dir() and _is_one_volume(folder)}
    files = [file for file in visible if file.is_file() and file.parent not in series and is_image_file(file)]
    found = [
        file
        for file in sorted({*series, *files})
        if file == path or inside is None or inside not in file.resolve().parents
    ]
    # What lies below a series that was named itself goes into a folder of its name, as several such may be named.
    above = Path(os.path.abspath(path).rpartition("/")[2]) if path in series else Path()
    return [(file, above / file.relative_to(path)) for file in found]


def _is_one_volume(folder: Path) -> bool:
    return holds_series(folder) and not holds_volumes(folder)


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in relative.parts)


def note_of_files_beside_slices(jobs: list[Job]) -> list[str]:
    """A sentence if files in the folders of DICOM series are images of other formats, which are not predicted."""
    beside = []
    for folder in [job.image for job in jobs if job.image.is_dir()]:
        slices = set(content_files(folder))
        visible = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        beside += [str(path) for path in visible if path not in slices and split_name(path.name)[1]]
    if not beside:
        return []
    found = f"{len(beside)} images that lie among the slices of a DICOM series are not predicted"
    return [f"{found}: {list_examples(beside)}"]


def _conflicts(jobs: list[Job], out: Path) -> list[str]:
    sources = defaultdict(list)
    for job in jobs:
        sources[job.mask].append(str(job.image))
    faults = [
        f"{' and '.join(images)} would share the mask {mask}: give each an --out of its own, or name the "
        "folder that holds both"
        for mask, images in sources.items()
        if len(images) > 1
    ]
    inputs = {_identity(job.image) for job in jobs}
    root = out.resolve()
    for mask in sources:
        if mask.exists() and _identity(mask) in inputs:
            faults.append(f"the mask {mask} would overwrite an input: choose another --out")
        elif root not in mask.resolve().parents:
            faults.append(f"the mask {mask} lies behind a link that leads out of {out}: remove the link")
    return faults


def _identity(path: Path) -> tuple[int, int]:
    """What tells one file from another, however many names and links it has."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _predict_file(predictor: Predictor, job: Job) -> str | None:
    """Write the mask of one image; returns the orientation in which the image is stored."""
    preprocessing = predictor.preprocessing
    header = read_header(job.image)
    require_kind(header.shape, preprocessing.spatial_dims)
    scale = scale_of_files([job.image], preprocessing.scale)
    image = preprocessing.in_units_of_training(read_image(job.image), scale)
    values = preprocessing.to_file_values(predictor(image, header.spacing, header.affine))
    job.mask.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(job.mask, sync=False) as temporary:
        if preprocessing.spatial_dims == 3:
            write_volume(temporary, values, job.image)
        else:
            write_mask(temporary, values, preprocessing.colours)
    return orientation_of(header)
