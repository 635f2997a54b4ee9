"""The files below a dataset's root, and what is wrong with them."""

import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from genseg_betty.data.formats import EXTENSIONS, holds_series
from genseg_betty.data.source.patterns import compile_pattern, normalise_pattern
from genseg_betty.faults import merge_alike

UNPRINTABLE = ("Cc", "Cs")  # control characters, and the surrogates that stand for bytes which are no UTF-8


@dataclass(frozen=True)
class Finding:
    """One fault of a dataset: its code (INTERFACE), the file below the root, and what to do about it."""

    code: str
    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.file}: {self.message}"


def merge_findings(findings: Iterable[Finding]) -> list[str]:
    """One line for each kind of fault: its code, the number of files with the first few, and what to do."""
    by_code: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for finding in findings:
        by_code[finding.code].append((finding.file, finding.message))
    lines = []
    for code, faults in by_code.items():
        for line in merge_alike(faults):
            lines.append(f"{code}: {line}")
    return lines


class FolderWalk:
    """Gathers the files below a root by relative POSIX path, in Unicode NFC so that both spellings of é are one name.

    Symbolic links that leave the root are faults and are never followed. Hidden files, what Macs leave (__MACOSX) and
    what the patterns of `ignore` match are passed over.

    Args:
        root: the dataset's folder.
        ignore: patterns relative to the root.
        takes_series: whether a folder of DICOM slices is an entry of its own.
    """

    def __init__(self, root: Path, ignore: Iterable[str], takes_series: bool) -> None:
        self.files: dict[str, Path] = {}
        self.series: set[str] = set()  # those of the files that are folders of DICOM slices
        self.findings: dict[Finding, None] = {}  # an ordered set: two patterns may lead to one fault
        self._root = root
        self._ignored = [compile_pattern(normalise_pattern(pattern)) for pattern in ignore]
        self._real_root = root.resolve()
        self._takes_series = takes_series

    def enter_folder(self, folder: str) -> None:
        """Gather all below a folder of the root, given by its relative path in any Unicode form."""
        for path in _spell_on_disk(self._root, folder):
            self._enter(path, frozenset(), None)

    def _enter(self, path: Path, above: frozenset[Path], folder: Path | None) -> None:
        """Take a file, or all of a folder.

        Args:
            path: the file or folder.
            above: the folders on the way to it, links resolved.
            folder: the folder that it lies in, links resolved; None where that is not known.
        """
        relative = unicodedata.normalize("NFC", self._below_root(path))
        if any(expression.fullmatch(relative) for expression in self._ignored):
            return
        try:
            real = _resolve_link(path, folder)
        except (OSError, RuntimeError):  # Python 3.13 raises neither and takes such a link for one that dangles
            self._add_finding("unsafe", relative, "is a link that leads back to itself; remove it, or copy the file in")
            return

        # What lies inside the root is taken, links too.
        if not real.is_relative_to(self._real_root):
            message = "is a link that leads out of the dataset's root and was not followed; copy the files in"
            self._add_finding("unsafe", relative, message)
        elif path.is_dir():
            if real not in above:  # links inside the root may form a loop
                self._enter_all(path, relative, above | {real}, real)
        elif path.is_file() or not path.exists():  # a dangling link is kept, to be reported as unreadable
            self._take_file(relative, path)

    def _enter_all(self, path: Path, relative: str, above: frozenset[Path], real: Path) -> None:
        """Enter everything in a folder; `real` is the folder, links resolved."""
        if self._takes_series and holds_series(path):
            self._take_file(relative, path)
            self.series.add(relative)
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            self._add_finding("unreadable", relative, f"cannot be listed ({error.strerror}); mend its permissions")
            return

        # A name that cannot be printed is told in place of what it holds.
        for name in names:
            if _is_litter(name):
                continue
            if _is_printable(name):
                self._enter(path / name, above, real)
            else:
                shown = posixpath.join(relative, _escape_unprintable(name))
                message = "has a name with control characters, or one that is no UTF-8 text; rename it"
                self._add_finding("unsafe", shown, message)

    def _take_file(self, relative: str, path: Path) -> None:
        """Note a file. A second one of its name in another Unicode form is a fault; the first one stays."""
        first = self.files.setdefault(relative, path)
        if first == path:
            return
        if path.is_dir() or relative.lower().endswith(EXTENSIONS):
            own = _escape_letters(self._below_root(path))
            other = _escape_letters(self._below_root(first))
            message = (
                f"lies there twice, its name spelled in two Unicode forms ({other} and {own}); which mask "
                "belongs to which image cannot be told, so rename or remove one"
            )
            self._add_finding("unsafe", relative, message)

    def _add_finding(self, code: str, relative: str, message: str) -> None:
        finding = Finding(code, relative, message)
        self.findings[finding] = None

    def _below_root(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def _resolve_link(path: Path, folder: Path | None) -> Path:
    """The path with links resolved. Only a link is looked up where its folder is known: that is slow."""
    if folder is None or path.is_symlink():
        return path.resolve()
    return folder / path.name


def _spell_on_disk(root: Path, folder: str) -> list[Path]:
    """A folder below the root, in each Unicode form in which it lies there."""
    places = [root]
    for part in folder.split("/"):
        found = []
        for place in places:
            found += _find_spellings(place, part)
        places = found
    return places


def _find_spellings(place: Path, name: str) -> list[Path]:
    """What lies in a folder under a name, in whatever Unicode form; plain letters have one form."""
    if name.isascii():
        return [place / name]
    wanted = unicodedata.normalize("NFC", name)
    inside = sorted(place.iterdir()) if place.is_dir() else []
    return [path for path in inside if unicodedata.normalize("NFC", path.name) == wanted]


def _is_litter(name: str) -> bool:
    """Hidden files, and what Macs leave: folders __MACOSX in archives, and Icon with a line's end behind it."""
    return name.startswith(".") or name.upper() == "__MACOSX" or name == "Icon\r"


def _is_printable(name: str) -> bool:
    return not any(unicodedata.category(letter) in UNPRINTABLE for letter in name)


def _escape_unprintable(name: str) -> str:
    """A file's name with control characters, and bytes that are no UTF-8, as their codes."""
    shown = ""
    for letter in os.fsencode(name).decode("utf-8", "backslashreplace"):
        is_control = unicodedata.category(letter) == "Cc"
        shown += _escape_letters(letter) if is_control else letter
    return shown


def _escape_letters(text: str) -> str:
    return text.encode("unicode_escape").decode()
