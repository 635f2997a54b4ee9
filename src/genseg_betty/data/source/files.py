"""Which files of a dataset folder are images, and which masks belong to them."""

import bisect
import itertools
import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from genseg_betty.data.formats import EXTENSIONS, holds_series, split_name
from genseg_betty.errors import UserError
from genseg_betty.faults import merge_alike

_ANY_FORMAT = "|".join(re.escape(extension[1:]) for extension in EXTENSIONS)
# A * or ? stands for any text in a pattern but for itself in a file name:
# there it travels as a control character.
_HIDE = str.maketrans("*?", "\0\1")
_SHOW = str.maketrans("\0\1", "*?")
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
    return [f"{code}: {line}" for code, faults in by_code.items() for line in merge_alike(faults)]


class Tree:
    """The files of a dataset by relative POSIX path (Unicode NFC, so that both spellings of é are one name).

    Lists the folders that `patterns` (relative to the root) may reach. Symbolic links that leave the root are
    told in `findings` and never followed; hidden files, what Macs leave (__MACOSX) and what the patterns of
    `ignore` match are passed over. A folder of DICOM slices is one entry, if a pattern that ends in "/" asks for such.
    Raises UserError for a pattern that leads out of the root.
    """

    def __init__(self, root: Path, patterns: Iterable[str], ignore: Iterable[str] = ()) -> None:
        self.root = root
        self._ignored = [_expression(_normal(pattern)) for pattern in ignore]
        self.files: dict[str, Path] = {}
        self._folders: set[str] = set()
        self._found: dict[Finding, None] = {}
        self._real_root = root.resolve()
        patterns = list(patterns)
        self._series = any(pattern.endswith("/") for pattern in patterns)
        for folder in sorted({fixed_folder(pattern) for pattern in patterns}):
            for path in _spelled_on_disk(root, folder):
                self._walk(path, frozenset())
        self._names = sorted(self.files)
        self._by_loose_stem: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in self._names:
            stem = split_name(posixpath.basename(name))[0]
            self._by_stem[stem].append(name)
            self._by_loose_stem[stem.casefold()].append(name)

    @property
    def findings(self) -> list[Finding]:
        return list(self._found)

    def match(self, pattern: str) -> list[str]:
        """Relative paths of the files that match: `*` within a name, `**/` any folders, `.*` any format.

        A pattern that ends in "/" matches folders of DICOM slices. The extension is compared without regard to
        case. Raises UserError for a pattern out of the root.
        """
        folders = pattern.endswith("/")
        pattern = _normal(pattern)
        body, extension = _parted(pattern)
        wild = re.search(r"[*?]", body)
        stem = posixpath.basename(body)
        if wild and not re.search(r"[*?]", stem):  # each image asks for its mask so, in any folder
            fits = _expression(pattern).fullmatch
            names = self._by_stem.get(stem.translate(_SHOW), ())
            return [name for name in names if fits(name) and self._is(name, folders)]
        if wild:
            prefix = body[: wild.start()]
            fits = _expression(pattern).fullmatch
        else:  # each image asks for its mask so: compiling an expression for it would take longer than all else
            prefix = body + extension[:1]
            fits = partial(re.compile(_ending(extension)).fullmatch, pos=len(body))
        return [name for name in self._beginning(prefix.translate(_SHOW)) if fits(name) and self._is(name, folders)]

    def match_any_case(self, pattern: str) -> list[str]:
        """As `match` of a pattern whose last part holds no wildcard, upper and lower case taken as one."""
        normal = _normal(pattern)
        stem = posixpath.basename(_parted(normal)[0])
        if re.search(r"[*?]", stem):
            return []
        fits = re.compile(_expression(normal).pattern, re.DOTALL | re.IGNORECASE).fullmatch
        names = self._by_loose_stem.get(stem.translate(_SHOW).casefold(), ())
        return [name for name in names if fits(name) and self._is(name, pattern.endswith("/"))]

    def _beginning(self, prefix: str) -> Iterator[str]:
        start = bisect.bisect_left(self._names, prefix)
        names = map(self._names.__getitem__, range(start, len(self._names)))
        return itertools.takewhile(lambda name: name.startswith(prefix), names)

    def _is(self, name: str, folder: bool) -> bool:
        return name in self._folders if folder else name.lower().endswith(EXTENSIONS)

    def _walk(self, path: Path, above: frozenset[Path], folder: Path | None = None) -> None:
        """Enter a file, or all of a folder; `folder` is where it lies, links resolved."""
        relative = unicodedata.normalize("NFC", path.relative_to(self.root).as_posix())
        if any(expression.fullmatch(relative) for expression in self._ignored):
            return
        try:
            real = path.resolve() if path.is_symlink() or folder is None else folder / path.name
        except (OSError, RuntimeError):  # Python 3.13 raises neither and takes such a link for one that dangles
            message = "is a link that leads back to itself; remove it, or copy the file in"
            self._found[Finding("unsafe", relative, message)] = None
            return
        if not real.is_relative_to(self._real_root):
            message = "is a link that leads out of the dataset's root and was not followed; copy the files in"
            self._found[Finding("unsafe", relative, message)] = None
        elif path.is_dir():
            if real not in above:  # links inside the root may form a loop
                if self._series and holds_series(path):
                    self._take(relative, path)
                    self._folders.add(relative)
                self._list(path, relative, above | {real}, real)
        elif path.is_file() or not path.exists():  # a dangling link is kept, to be reported as unreadable
            self._take(relative, path)

    def _take(self, relative: str, path: Path) -> None:
        """Note an entry; a second one of that name in another Unicode form is a fault, not the end of the first."""
        first = self.files.setdefault(relative, path)
        if first != path and (path.is_dir() or relative.lower().endswith(EXTENSIONS)):
            places = (file.relative_to(self.root).as_posix() for file in (first, path))
            spelled = [place.encode("unicode_escape").decode() for place in places]
            message = (
                f"lies there twice, its name spelled in two Unicode forms ({spelled[0]} and {spelled[1]}); which mask "
                "belongs to which image cannot be told, so rename or remove one"
            )
            self._found[Finding("unsafe", relative, message)] = None

    def _list(self, path: Path, relative: str, above: frozenset[Path], real: Path) -> None:
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            message = f"cannot be listed ({error.strerror}); mend its permissions"
            self._found[Finding("unreadable", relative, message)] = None
            return
        for name in names:
            if _is_litter(name):
                continue
            if any(unicodedata.category(letter) in UNPRINTABLE for letter in name):
                message = "has a name with control characters, or one that is no UTF-8 text; rename it"
                self._found[Finding("unsafe", posixpath.join(relative, _printable(name)), message)] = None
            else:
                self._walk(path / name, above, real)


def _spelled_on_disk(root: Path, folder: str) -> list[Path]:
    """A folder below the root, in each Unicode form in which it lies there."""
    places = [root]
    for part in folder.split("/"):
        if part.isascii():
            places = [place / part for place in places]
        else:
            inside = [path for place in places if place.is_dir() for path in sorted(place.iterdir())]
            wanted = unicodedata.normalize("NFC", part)
            places = [path for path in inside if unicodedata.normalize("NFC", path.name) == wanted]
    return places


def _is_litter(name: str) -> bool:
    """Hidden files, and what Macs leave: folders __MACOSX in archives, and Icon with a line's end behind it."""
    return name.startswith(".") or name.upper() == "__MACOSX" or name == "Icon\r"


def _printable(name: str) -> str:
    """A file's name with control characters, and bytes that are no UTF-8, as their codes."""
    letters = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) == "Cc" else letter
        for letter in letters
    )


def expand(pattern: str, folder: str, stem: str | None = None, group: str | None = None) -> str:
    """Fill {dir}, {stem} and {group} of a mask pattern; without a stem it matches the masks of every image."""
    texts = {"dir": folder, "stem": stem, "group": group}
    hidden = {name: "*" if text is None else text.translate(_HIDE) for name, text in texts.items()}
    return re.sub(r"\{(dir|stem|group)\}", lambda found: hidden[found[1]], pattern)


def fixed_folder(pattern: str) -> str:
    """The leading folders of a pattern that hold no wildcard: the part of the root worth listing.

    Raises UserError for a pattern that leads out of the root.
    """
    parts = pattern.split("/")[:-1]
    fixed = "/".join(itertools.takewhile(lambda part: not re.search(r"[*?{]", part), parts))
    return posixpath.normpath(below_root(fixed) or ".")


def _normal(pattern: str) -> str:
    return posixpath.normpath(unicodedata.normalize("NFC", below_root(pattern)))


def below_root(pattern: str) -> str:
    """A pattern as it is. Raises UserError where it leads out of the root."""
    if posixpath.normpath(pattern).startswith(("/", "..")):
        raise UserError(f"pattern {pattern} leads out of the dataset's root; write it relative to the root")
    return pattern


def _parted(pattern: str) -> tuple[str, str]:
    return (pattern[:-2], ".*") if pattern.endswith(".*") else split_name(pattern)


def _expression(pattern: str) -> re.Pattern[str]:
    body, extension = _parted(pattern)
    wild = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*|\?)", body)
    text = "".join(wild.get(piece) or re.escape(piece.translate(_SHOW)) for piece in pieces)
    return re.compile(text + _ending(extension), re.DOTALL)


def _ending(extension: str) -> str:
    return rf"\.(?i:{_ANY_FORMAT})" if extension == ".*" else f"(?i:{re.escape(extension)})"
