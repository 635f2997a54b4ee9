"""The files of a Run: each is written whole, with a checksum, and looked at when it is read.

PyTorch is imported where checkpoints are: to say that there is no Run in a directory takes none.
"""

import re
from pathlib import Path
from typing import Any

from genseg_betty.errors import UserError
from genseg_betty.files import to_json
from genseg_betty.run.checksums import UNLIKE, Checksums, explain_damage
from genseg_betty.run.json_file import read_json_file
from genseg_betty.run.tables import encode_table

PARTS = ("train", "validation", "test")
"""The lists of cases in splits.json."""


class RunFiles:
    """All files in the directory `path` but those that change all the time, status.json and metrics.csv."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sums = Checksums(path)

    @property
    def samples_dir(self) -> Path:
        """The folder of the sample pictures, made on first use."""
        folder = self.path / "samples"
        folder.mkdir(exist_ok=True)
        return folder

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file of the Run. Numbers that JSON cannot hold (nan, inf) become null."""
        path = self._find_file(name)
        self._sums.write(path, to_json(value).encode())
        return path

    def read_json(self, name: str, checked: bool = True) -> Any:
        """The content of a JSON file of the Run; None where there is none. Raises UserError where it is damaged.

        Without `checked` a file is taken as it is, so long as it is JSON.
        """
        path = self._find_file(name)
        if not path.exists():
            return None
        content = read_json_file(path)
        if checked and not self._sums.matches(path):
            raise explain_damage(path, UNLIKE)
        return content

    def read_splits(self) -> dict[str, Any]:
        """What splits.json says. Raises UserError where it is damaged, or gone: what was trained on is unknown then."""
        splits = self.read_json("splits.json")
        file = self.path / "splits.json"
        if splits is None:
            raise UserError(
                f"{file} is gone, which alone says which cases were trained on. Put back a copy of it, or train again "
                "with resume=restart (deletes the Run)."
            )
        if not _holds_parts(splits):
            raise explain_damage(file, f"it holds no lists of the cases of {', '.join(PARTS)}")
        found: dict[str, Any] = splits
        return found

    def read_results(self, checked: bool = True) -> dict[str, Any]:
        """What results.json says; {} where there is none. Raises UserError for a damaged one."""
        results = self.read_json("results.json", checked)
        if results is None:
            return {}
        if not isinstance(results, dict):
            kind = type(results).__name__
            raise explain_damage(self.path / "results.json", f"it holds a {kind}, expected a mapping")
        return results

    def write_test(self, dataset: str, rows: list[dict[str, Any]]) -> Path:
        """Write test-<dataset>.csv, one row a case."""
        path = self._find_file(f"test-{dataset}.csv")
        self._sums.write(path, encode_table(rows))
        return path

    def save_checkpoint(self, name: str, state: dict[str, Any]) -> Path:
        """Write checkpoints/<name>.pt. `state`: tensors, numbers, strings and containers of them.

        Raises UserError where the disk is full; the file of before stays as it was.
        """
        from genseg_betty.run.checkpoints import write_checkpoint

        path = self._find_file("checkpoints", f"{name}.pt")
        write_checkpoint(path, state, self._sums)
        return path

    def load_checkpoint(self, name: str, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any] | None:
        """The state of checkpoints/<name>.pt, or None if there is none. UserError if the file is damaged or not ours.

        With `mmap` tensors are read when they are looked at: for what else the file says, however large it is. One
        flipped bit is not found then.
        """
        from genseg_betty.run.checkpoints import read_checkpoint

        path = self._find_file("checkpoints", f"{name}.pt")
        return read_checkpoint(path, self._sums, map_location, mmap)

    def find_changed_files(self) -> list[str]:
        """Names of the Run's texts that are gone or hold something else than was written."""
        return self._sums.find_changed_texts()

    def _find_file(self, *parts: str) -> Path:
        """A path in this directory; names that could lead out of it raise UserError."""
        for part in parts:
            if not re.fullmatch(r"\w[\w.+-]*", part):
                raise UserError(f"{part!r} cannot name a file of a Run: expected letters, digits and . _ + -")
        return self.path.joinpath(*parts)


def _holds_parts(splits: Any) -> bool:
    """Whether a splits.json has a list of ids for each part."""
    if not isinstance(splits, dict):
        return False
    for part in PARTS:
        ids = splits.get(part)
        if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
            return False
    return True
