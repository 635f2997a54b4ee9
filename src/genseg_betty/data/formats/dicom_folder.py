"""Which files of a folder are the slices of a DICOM series.

Each slice is found, or an error names it; none is left out in silence. Files are known by their content, whatever their
names. Other files, hidden ones, and the index of a medium are passed over. A link is followed within the folder alone.
"""

from collections import Counter
from collections.abc import Collection
from enum import Enum
from pathlib import Path

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.dicom_start import begins_as_dicom
from genseg_betty.faults import list_first

EXTENSIONS = (".dcm", ".dicom", ".ima")
PACKERS = (".gz", ".bz2", ".xz")  # each packs one file
ARCHIVE = ".zip"
INDEX = "DICOMDIR"  # lists the files of a medium, and begins as they do
LOOKED_AT = 3  # files of each other suffix that are opened to learn whether a folder holds a series
TEXT = 512  # bytes of a file that tell text from data


class Kind(Enum):
    """What a file of a folder is to the series in it."""

    SLICE = "slice"
    OUTSIDE = "a link that leads out of the folder"
    BROKEN = "named as a slice, and no DICOM"
    OTHER = "no part of the series"


def holds_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files itself, not only further folders."""
    looked_at: Counter[str] = Counter()
    try:
        paths = sorted(folder.iterdir())
        home = folder.resolve()
    except (OSError, RuntimeError):
        return False
    for path in paths:
        suffix = path.suffix.lower()
        looked_at[suffix] += 1
        if looked_at[suffix] > LOOKED_AT and not _is_named_as_slice(path):
            continue
        kind = _find_kind(path, home)
        if kind is Kind.SLICE:
            return True
        if kind is Kind.OUTSIDE and suffix in EXTENSIONS:
            return True
    return False


def find_slices(folder: Path) -> list[Path]:
    """The DICOM files of a folder, by name."""
    return _sort_files(folder)[Kind.SLICE]


def require_slices(folder: Path) -> list[Path]:
    """The DICOM files of a folder. Raises ImageError for none, and for files that may be slices and cannot be read."""
    found = _sort_files(folder)
    outside = [path.name for path in found[Kind.OUTSIDE]]
    if outside:
        raise ImageError(
            "unsafe",
            f"holds {len(outside)} links that lead out of it or nowhere ({list_first(outside)}); "
            "expected the slices themselves, copy them in (cp -L)",
        )
    broken = [path.name for path in found[Kind.BROKEN]]
    if broken:
        raise ImageError(
            "unreadable",
            f"holds {len(broken)} files that are named as DICOM and do not begin as DICOM does "
            f"({list_first(broken)}); expected slices alone: copy them anew, unpack or remove them",
        )
    slices = found[Kind.SLICE]
    if not slices:
        raise ImageError("unreadable", "is a folder without DICOM files; expected the slices of one series")
    return slices


def _sort_files(folder: Path) -> dict[Kind, list[Path]]:
    """The files of a folder by what they are, each in the order of names. Raises OSError."""
    home = folder.resolve()
    paths = sorted(folder.iterdir())
    kinds = {path: _find_kind(path, home) for path in paths}

    # Where slices are named *.mr, what else is named so was a slice before it was emptied, packed or moved.
    suffixes = set()
    for path, kind in kinds.items():
        if kind is Kind.SLICE and _has_suffix(path):
            suffixes.add(path.suffix.lower())
    suffixes_of_slices = suffixes.union(EXTENSIONS)

    # A slice that is there twice, as a file and as a link to it, counts once.
    files = {home / path.name for path in paths if not path.is_symlink()}
    found: dict[Kind, list[Path]] = {kind: [] for kind in Kind}
    for path, kind in kinds.items():
        if kind is Kind.OTHER and suffixes:
            kind = _find_kind(path, home, suffixes_of_slices)
        elif kind is Kind.SLICE and path.is_symlink() and path.resolve() in files:
            kind = Kind.OTHER
        found[kind].append(path)
    return found


def _find_kind(path: Path, home: Path, suffixes: Collection[str] = EXTENSIONS) -> Kind:
    """What a file of the folder `home` is, where slices have one of these suffixes or none."""
    if path.name.startswith(".") or path.name.upper() == INDEX:
        return Kind.OTHER
    named_as_slice = _is_named_as_slice(path, suffixes)
    if path.is_symlink() and not _leads_into(path, home):
        return Kind.OUTSIDE if named_as_slice else Kind.OTHER
    if not path.is_file():
        return Kind.OTHER
    try:
        if begins_as_dicom(path):
            return Kind.SLICE
        is_broken = named_as_slice and not _is_text_without_suffix(path)
    except OSError:
        is_broken = named_as_slice
    return Kind.BROKEN if is_broken else Kind.OTHER


def _leads_into(link: Path, home: Path) -> bool:
    """Whether a link leads to something that is there and lies in the folder `home`."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    return target.is_relative_to(home)


def _is_named_as_slice(path: Path, suffixes: Collection[str] = EXTENSIONS) -> bool:
    """Whether a name is one that slices have, packed ones too: it has one of these suffixes or none."""
    suffix = path.suffix.lower()
    name = Path(path.stem) if suffix in (ARCHIVE, *PACKERS) else path
    if name.suffix.lower() in suffixes:
        return True
    return suffix != ARCHIVE and not _has_suffix(name)


def _has_suffix(path: Path) -> bool:
    """Whether a name has a suffix; the number behind the last dot of a UID is none."""
    suffix = path.suffix
    return bool(suffix) and not suffix[1:].isdigit()


def _is_text_without_suffix(path: Path) -> bool:
    """Whether a file is text and has no suffix, as README and LICENSE; such litter is no slice."""
    if _has_suffix(path):
        return False
    with path.open("rb") as file:
        start = file.read(TEXT)
    return bool(start) and 0 not in start
