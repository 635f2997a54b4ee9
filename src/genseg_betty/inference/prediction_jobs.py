"""Which images a prediction reads and which mask files it writes, settled before the first image is read.

A folder is searched with its subfolders, whose structure the masks repeat. All that would go wrong with the
file names (missing inputs, two inputs for one mask, a mask over an input) is found here.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from genseg_betty.data.formats import content_files, holds_series, holds_volumes, is_image_file, split_name
from genseg_betty.errors import UserError
from genseg_betty.faults import list_below, list_examples, merge_alike
from genseg_betty.files import is_hidden


@dataclass(frozen=True)
class Job:
    """One image to read and the files to write for it.

    Attributes:
        image: a file, or a folder of DICOM slices.
        mask: the mask.
        case: the mask's path below the output folder, without its ending.
        extras: the other files, by the name of their folder.
    """

    image: Path
    mask: Path
    case: str = ""
    extras: Mapping[str, Path] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, Path]:
        """All files to write, the mask among them, by the name of their kind."""
        return {"mask": self.mask, **self.extras}


def plan_jobs(
    paths: list[Path], out: Path, volumes: bool = False, extras: Mapping[str, str] | None = None
) -> list[Job]:
    """What to read and what to write, in the order given; UserError with all faults at once.

    Masks are PNG files, of `volumes` NIfTI files; there a folder of DICOM slices is one image. `extras` are folders
    below `out` and the endings of the files there, one for each mask.
    """
    extras = extras or {}
    ending = ".nii.gz" if volumes else ".png"
    jobs: dict[tuple[Path, Path], Job] = {}
    missing: list[tuple[str, str]] = []
    for path in paths:
        images = _find_images(path, out, volumes)
        if not images:
            missing.append((str(path), "no image in this folder" if path.is_dir() else "no such file or folder"))
        for image, relative in images:
            stem, _ = split_name(relative.name)
            case = relative.parent / stem
            mask = out / relative.with_name(stem + ending)
            beside = {}
            for folder, its_ending in extras.items():
                beside[folder] = out / folder / relative.with_name(stem + its_ending)
            jobs.setdefault((image.resolve(), mask), Job(image, mask, case.as_posix(), beside))

    planned = list(jobs.values())
    faults: list[str] = []
    if out.exists() and not out.is_dir():
        faults.append(f"--out {out} is a file; expected a folder")
    faults += merge_alike(missing, "names")
    faults += _find_shared_masks(planned)
    faults += _find_unsafe_masks(planned, out)
    if not paths:
        faults.append("no image or folder was named")
    if faults:
        raise UserError(list_below("Nothing was predicted:", faults))
    return planned


def note_of_files_beside_slices(jobs: list[Job]) -> list[str]:
    """A sentence if files in the folders of DICOM series are images of other formats, which are not predicted."""
    beside: list[str] = []
    for job in jobs:
        if job.image.is_dir():
            beside += _list_other_files(job.image)
    if not beside:
        return []
    found = f"{len(beside)} images that lie among the slices of a DICOM series are not predicted"
    return [f"{found}: {list_examples(beside)}"]


def notes_of_earlier_files(jobs: list[Job], kept: Set[str], out: Path) -> list[str]:
    """How many masks are kept, by their cases, how many are made again, and which other files of their kind `out`
    holds."""
    masks = {job.mask for job in jobs}
    endings = {split_name(mask.name)[1] for mask in masks}
    again = sum(job.mask.exists() for job in jobs if job.case not in kept)
    notes = []
    if kept:
        notes.append(f"{len(kept)} of {len(jobs)} masks are in {out} already, made of the same images, and are kept")
    if again:
        notes.append(f"{again} of {len(jobs)} masks are in {out} already and are made again")

    others: list[str] = []
    folders = {mask.parent for mask in masks}
    for folder in sorted(folders):
        for file in sorted(folder.glob("*")):
            _, ending = split_name(file.name)
            if ending in endings and file not in masks:
                others.append(file.relative_to(out).as_posix())
    if others:
        notes.append(f"{out} keeps files that are no masks of this call: {list_examples(others)}")
    return notes


def _list_other_files(series: Path) -> list[str]:
    """Visible files with an ending that lie in the folder of a DICOM series and are none of its slices."""
    slices = set(content_files(series))
    others = []
    for path in sorted(series.iterdir()):
        _, ending = split_name(path.name)
        if ending and path not in slices and not path.name.startswith("."):
            others.append(str(path))
    return others


def _find_images(path: Path, out: Path, volumes: bool) -> list[tuple[Path, Path]]:
    """Image files at `path`, each with its place below the output folder."""
    if path.is_file():
        return [(path, Path(path.name))]
    entries = [entry for entry in sorted(path.rglob("*")) if not is_hidden(entry.relative_to(path))]

    # A folder of DICOM slices is one image, and its slices are no images of their own.
    series: set[Path] = set()
    if volumes:
        series = {folder for folder in (path, *entries) if folder.is_dir() and _is_one_volume(folder)}
    images = set(series)
    for entry in entries:
        if entry.is_file() and entry.parent not in series and is_image_file(entry):
            images.add(entry)

    # What lies below a series that was named itself goes into a folder of its name, as several such may be named.
    above = Path()
    if path in series:
        above = Path(_last_part(path))

    # What an earlier call wrote into a folder within the one that is searched is no input.
    output = out.resolve()
    is_within = output != path.resolve()
    found = []
    for image in sorted(images):
        is_output = is_within and output in image.resolve().parents
        if image == path or not is_output:
            found.append((image, above / image.relative_to(path)))
    return found


def _last_part(path: Path) -> str:
    """The folder's own name, also of `.` and `..`; links are not followed."""
    _, _, name = os.path.abspath(path).rpartition("/")
    return name


def _is_one_volume(folder: Path) -> bool:
    return holds_series(folder) and not holds_volumes(folder)


def _find_shared_masks(jobs: list[Job]) -> list[str]:
    """A sentence for each mask that two or more images would be written to, or that is a file of another kind too."""
    sources: dict[Path, list[str]] = defaultdict(list)
    for job in jobs:
        sources[job.mask].append(str(job.image))
    faults = []
    for mask, images in sources.items():
        if len(images) > 1:
            faults.append(
                f"{' and '.join(images)} would share the mask {mask}: give each an --out of its own, or name the "
                "folder that holds both"
            )
    for job in jobs:
        for folder, file in job.extras.items():
            if file in sources:
                faults.append(
                    f"{file} would be a mask and one of the {folder} at once: rename the folder {folder} of the input"
                )
    return faults


def _find_unsafe_masks(jobs: list[Job], out: Path) -> list[str]:
    """A sentence for each file that would replace an input, or be written outside of the output folder."""
    inputs = {_identify_file(job.image) for job in jobs}
    root = out.resolve()
    faults = []
    for kind, file in _list_files(jobs):
        if file.exists() and _identify_file(file) in inputs:
            faults.append(f"{kind} {file} would overwrite an input: choose another --out")
        elif root not in file.resolve().parents:
            faults.append(f"{kind} {file} lies behind a link that leads out of {out}: remove the link")
    return faults


def _list_files(jobs: list[Job]) -> Iterator[tuple[str, Path]]:
    """What each file to write is called in a message, and its path, each once."""
    kinds: dict[Path, str] = {}
    for job in jobs:
        for kind, file in job.files.items():
            kinds.setdefault(file, "the mask" if kind == "mask" else "the file")
    for file, kind in kinds.items():
        yield kind, file


def _identify_file(path: Path) -> tuple[int, int]:
    """Device and inode: what tells one file from another, however many names and links it has."""
    status = path.stat()
    return status.st_dev, status.st_ino
