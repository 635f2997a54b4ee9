"""Where the table and the page of an evaluation are written, and what they are called."""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

from genseg_betty.data.source.dataset import Dataset
from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, file_label, remove_leftovers


def name_evaluation(subject: str, dataset: Dataset) -> str:
    """The files' stem, such as evaluate-nlm_mc; with the `subject` in it where they lie outside of its Run.

    A folder has no name of its own, so a digest of where it lies is added.
    """
    parts = ["evaluate", file_label(subject), file_label(dataset.name)]
    if dataset.name == "folder":
        location = str(dataset.root).encode()
        digest = hashlib.sha256(location).hexdigest()
        parts.append(digest[:8])
    return "-".join(part for part in parts if part)


def write_evaluation(places: Sequence[tuple[Path, str]], table: bytes, page: str) -> tuple[Path, Path]:
    """Write the CSV and the page to the first of these folders and stems that takes them; returns their paths.

    Warns where that is not the first one. Raises UserError where it is none.
    """
    faults: list[str] = []
    for folder, stem in places:
        try:
            place = folder.absolute()  # raises where the current folder is gone
            place.mkdir(parents=True, exist_ok=True)
            remove_leftovers([place])
            files = place / f"{stem}.csv", place / f"{stem}.html"
            for file, content in zip(files, (table, page.encode(errors="backslashreplace")), strict=True):
                atomic_write(file, content)
        except OSError as error:
            shown = folder if folder.is_absolute() else "the current folder"
            faults.append(f"{shown} cannot be written ({error.strerror})")
            continue
        if faults:
            warnings.warn(f"{faults[0]}, so the scores of each case are in {files[0]}", stacklevel=4)
        return files
    raise UserError(f"the scores can be written nowhere: {'; '.join(faults)}; give the command in a folder of yours")
