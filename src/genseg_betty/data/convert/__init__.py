"""Datasets whose raw form is no image and mask files: converted once, into `<root>/converted`.

A dataset YAML asks for it by `convert: NAME`; its `images` and `masks` then name the converted files. They lie below
the dataset's own root and nowhere else: patterns stay relative to one root, the files move and go with the dataset,
and images under a use agreement do not spread into a cache. A root that cannot be written has to be converted once
by somebody who may write there; all others only read it.

Converters:
    echonet: EchoNet-Dynamic's traced videos. See echonet.py.

CAMUS, the other source of ETAB, needs none: both its releases hold one file a frame, `patient0001_2CH_ED.nii.gz` with
the labels `patient0001_2CH_ED_gt.nii.gz`, or the same as `.mhd` beside `.raw`, which data/formats reads as they are;
conf/dataset/etab_lv.yaml takes the frames of end-diastole and leaves the half sequences.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genseg_betty.data.source.files import Finding
from genseg_betty.errors import UserError

MAX_TABLE = 2**27  # bytes of a CSV file; the largest published has about a quarter
Tell = Callable[[int, int], object]  # called with the videos done and their total


@dataclass(frozen=True)
class Converted:
    """What a conversion left.

    Attributes:
        folder: holds images/, masks/ and splits.json.
        findings: the faults, each of one file; all else is converted.
        notes: what was passed over and is no fault, a sentence each.
    """

    folder: Path
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


Converter = Callable[[Path, Tell | None], Converted]


def find_converters() -> dict[str, Converter]:
    """The functions by the name that a dataset YAML gives."""
    from genseg_betty.data.convert import echonet

    return {"echonet": echonet.convert_echonet}


def convert_dataset(name: str, root: Path, progress: Tell | None = None) -> Converted:
    """Convert what is not converted yet; cheap where all is. Several jobs may do so at once.

    Args:
        name: of the converter.
        root: the dataset's folder, as its publisher ships it.
        progress: called now and then; without it, progress is shown on stderr while something is converted.

    Raises UserError for an unknown name, a raw file that is missing or unusable as a whole, a missing library, and
    a root that cannot be written.
    """
    known = find_converters()
    if name not in known:
        raise UserError(f"convert: {name!r} is no converter; expected one of {', '.join(sorted(known))}")
    return known[name](root, progress)


def is_inside(path: Path, root: Path) -> bool:
    """Whether a path stays below the root once links are followed."""
    return path.resolve().is_relative_to(root.resolve())


def read_table(root: Path, name: str, columns: Sequence[str]) -> Iterator[list[str]]:
    """The rows of a CSV file below the root, these columns alone, "" where a row is short. Raises UserError."""
    path = root / name
    try:
        if not is_inside(path, root) or not path.is_file():
            raise UserError("is not there (or a link out of the root); expected the publisher's table")
        if path.stat().st_size > MAX_TABLE:
            raise UserError(f"has more than {MAX_TABLE // 2**20} MiB; expected the publisher's table")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [title.strip() for title in next(reader, [])]
            missing = [title for title in columns if title not in header]
            if missing:
                found = ", ".join(header)[:200] or "none"
                raise UserError(f"lacks the columns {', '.join(missing)} (found: {found}); fetch it again")
            places = [header.index(title) for title in columns]
            for row in reader:
                if row:
                    padded = [*row, *[""] * len(header)]
                    yield [padded[place].strip() for place in places]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot be read ({error}); expected comma-separated UTF-8 text, fetch it again") from error


@contextmanager
def show_progress(progress: Tell | None, phase: str, total: int) -> Iterator[Tell]:
    """The function that tells the progress: the caller's, or one that draws on stderr."""
    if progress is not None:
        yield progress
        return
    from genseg_betty.progress import Progress

    with Progress({phase: total}) as screen:
        yield lambda done, _: screen.step(phase, done, {})
