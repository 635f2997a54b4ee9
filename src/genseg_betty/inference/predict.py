"""Masks for image files: every input gets one mask file under the output folder."""

import errno
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track

from genseg_betty.data.comparable import require_kind
from genseg_betty.data.formats import read_header, read_image, split_name, write_mask, write_volume
from genseg_betty.data.formats.place import orientation_of
from genseg_betty.data.places import note_of_turned
from genseg_betty.data.scale import scale_of_files
from genseg_betty.errors import UserError
from genseg_betty.faults import list_below, list_examples, merge_alike
from genseg_betty.files import is_full, remove_leftovers, whole_file
from genseg_betty.inference.prediction_jobs import Job, note_of_files_beside_slices, plan_jobs
from genseg_betty.inference.predictor import Predictor
from genseg_betty.inference.saved_networks import load
from genseg_betty.terminal import print_notes


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
    volumes = predictor.preprocessing.spatial_dims == 3
    jobs = plan_jobs([Path(path) for path in paths], out, volumes)
    remove_leftovers(job.mask.parent for job in jobs)
    _tell_of_earlier_files(jobs, out)

    predicted = _predict_jobs(predictor, jobs)
    notes = note_of_turned("the input", predicted.orientations, predictor.preprocessing.orientation)
    notes += note_of_files_beside_slices(jobs)
    print_notes(notes)
    written = predicted.written
    failures = predicted.failures
    if failures:
        failed = f"{len(failures)} of {len(jobs)} images failed"
        title = f"{failed}; the other {len(written)} masks are in {out}:"
        raise UserError(list_below(title, merge_alike(failures, "images")))
    return written


@dataclass
class _Predicted:
    """What became of the jobs: masks written, images that failed and why, and how each image is stored."""

    written: list[Path] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    orientations: list[str | None] = field(default_factory=list)


def _predict_jobs(predictor: Predictor, jobs: list[Job]) -> _Predicted:
    """Write all masks; an image that cannot be read does not keep the others from being predicted.

    Raises UserError for a disk that takes no more files.
    """
    predicted = _Predicted()
    for job in track(jobs, description="predict", console=Console(stderr=True)):
        try:
            orientation = _predict_file(predictor, job)
            predicted.orientations.append(orientation)
            predicted.written.append(job.mask)
        except UserError as error:
            predicted.failures.append((str(job.image), str(error)))
        except OSError as error:
            if is_full(error) or error.errno == errno.EROFS:
                raise _explain_unwritable(job, error, len(predicted.written), len(jobs)) from error
            predicted.failures.append((str(job.image), str(error)))
    return predicted


def _explain_unwritable(job: Job, error: OSError, written: int, total: int) -> UserError:
    """The UserError for a disk that takes no more files: the masks after this one would fail as well."""
    return UserError(
        f"masks cannot be written to {job.mask.parent} ({error.strerror}): {written} of {total} "
        "are there, each of them whole. Make room or name another --out, and give the same command again: "
        "it makes all of them"
    )


def _tell_of_earlier_files(jobs: list[Job], out: Path) -> None:
    """Say how many masks are made again, and which other files of their kind `out` holds."""
    masks = {job.mask for job in jobs}
    endings = {split_name(mask.name)[1] for mask in masks}
    again = sum(mask.exists() for mask in masks)
    if again:
        print_notes([f"{again} of {len(jobs)} masks are in {out} already and are made again"])

    others: list[str] = []
    folders = {mask.parent for mask in masks}
    for folder in sorted(folders):
        for file in sorted(folder.glob("*")):
            _, ending = split_name(file.name)
            if ending in endings and file not in masks:
                others.append(file.relative_to(out).as_posix())
    if others:
        print_notes([f"{out} keeps files that are no masks of this call: {list_examples(others)}"])


def _predict_file(predictor: Predictor, job: Job) -> str | None:
    """Write the mask of one image; returns the orientation in which the image is stored."""
    preprocessing = predictor.preprocessing
    header = read_header(job.image)
    require_kind(header.shape, preprocessing.spatial_dims)
    scale = scale_of_files([job.image], preprocessing.scale)
    image = preprocessing.in_units_of_training(read_image(job.image), scale)
    indices = predictor(image, header.spacing, header.affine)
    values = preprocessing.to_file_values(indices)
    job.mask.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(job.mask, sync=False) as temporary:
        if preprocessing.spatial_dims == 3:
            write_volume(temporary, values, job.image)
        else:
            write_mask(temporary, values, preprocessing.colours)
    return orientation_of(header)
