"""Whether the files of a folder are the slices of one DICOM series, and all of them."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
from contextlib import suppress
from pathlib import Path

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.dicom_file import open_dicom
from genseg_betty.data.formats.dicom_folder import find_slices
from genseg_betty.data.formats.dicom_pixels import any_has_effect
from genseg_betty.faults import list_first

LOOKED_AT = 3  # slices of a subfolder that are opened to learn whether they belong to the series


def require_single_frames(names: Sequence[str], frames: Sequence[int]) -> None:
    """Raise ImageError for files of several frames."""
    several = []
    for name, count in zip(names, frames, strict=True):
        if count > 1:
            several.append(name)
    if several:
        raise ImageError(
            "unreadable",
            f"holds {len(several)} files of several frames ({list_first(several)}) among {len(names)}; "
            "expected single slices: such a file is a volume by itself, give it a folder of its own or name it",
        )


def require_one(what: str, values: Sequence[Hashable], names: Sequence[str]) -> None:
    """Raise ImageError for files that differ in what one series has in common; each kind is told by its first file."""
    alike: dict[Hashable, list[str]] = defaultdict(list)
    for value, name in zip(values, names, strict=True):
        alike[value].append(name)
    if len(alike) == 1:
        return
    kinds = []
    for own in alike.values():
        kinds.append(f"{len(own)} as {own[0]}")
    raise ImageError(
        "unreadable",
        f"holds {len(alike)} {what} in {len(names)} files ({list_first(kinds)}); "
        "expected one, give each series a folder of its own",
    )


def require_nothing_below(paths: Sequence[Path], identifier: str) -> None:
    """Raise ImageError where subfolders hold further slices of the series."""
    known = {path.resolve() for path in paths}  # a slice may be a link to a file in a subfolder
    found = []
    for folder in _list_subfolders(paths[0].parent):
        if _holds_more(folder, identifier, known):
            found.append(folder.name)
    if found:
        raise ImageError(
            "unreadable",
            f"holds {len(paths)} slices, and more of the same series in folders below it ({list_first(found)}); "
            "expected the whole series in one folder, move them together",
        )


def _list_subfolders(folder: Path) -> list[Path]:
    """All folders below one, at any depth, but hidden ones."""
    below = sorted(folder.rglob("*"))
    folders = [path for path in below if path.is_dir()]
    return [path for path in folders if not path.name.startswith(".")]


def _holds_more(folder: Path, identifier: str, known: Collection[Path]) -> bool:
    """Whether one of the first few slices of a folder, beyond those that are known, belongs to the series."""
    more = [path for path in find_slices(folder) if path.resolve() not in known]
    for path in more[:LOOKED_AT]:
        with suppress(ImageError):
            if identifier and open_dicom(path, pixels=False).get("SeriesInstanceUID") == identifier:
                return True
    return False


def require_rescale_of_all_or_none(stated: Sequence[tuple[float, float] | None], names: Sequence[str]) -> None:
    """Raise ImageError where some slices state no rescale and others do: their intensities have two meanings."""
    without = []
    for name, rescale in zip(names, stated, strict=True):
        if rescale is None:
            without.append(name)
    if without and any_has_effect(stated):
        raise ImageError(
            "unreadable",
            f"holds {len(without)} of {len(stated)} slices that state no rescale, as the others do "
            f"({list_first(without)}); expected it in each, mend their headers",
        )
