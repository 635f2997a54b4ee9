"""The files of a dataset, and which of them a pattern matches."""

import bisect
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from genseg_betty.data.formats import EXTENSIONS, split_name
from genseg_betty.data.source.files import Finding, FolderWalk
from genseg_betty.data.source.patterns import (
    compile_pattern,
    extension_expression,
    fixed_folder,
    is_wild,
    normalise_pattern,
    show_wildcards,
    split_pattern,
)


class Tree:
    """The files of a dataset by relative POSIX path, as `FolderWalk` gathers them.

    Lists the folders that `patterns` (relative to the root) may reach. A folder of DICOM slices is one entry, if a
    pattern that ends in "/" asks for such. `findings` are the faults that came to light on the way.
    Raises UserError for a pattern that leads out of the root.
    """

    def __init__(self, root: Path, patterns: Iterable[str], ignore: Iterable[str] = ()) -> None:
        self.root = root
        patterns = list(patterns)
        asks_for_series = any(pattern.endswith("/") for pattern in patterns)
        walk = FolderWalk(root, ignore, asks_for_series)
        folders = {fixed_folder(pattern) for pattern in patterns}
        for folder in sorted(folders):
            walk.enter_folder(folder)
        self.files = walk.files
        self.findings: list[Finding] = list(walk.findings)
        self._series = walk.series

        # Each image asks for its mask by a stem: an index finds it without looking at all names.
        self._names = sorted(self.files)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_loose_stem: dict[str, list[str]] = defaultdict(list)
        for name in self._names:
            stem = split_name(posixpath.basename(name))[0]
            self._by_stem[stem].append(name)
            self._by_loose_stem[stem.casefold()].append(name)

    def match(self, pattern: str) -> list[str]:
        """Relative paths of the files that match: `*` within a name, `**/` any folders, `.*` any format.

        A pattern that ends in "/" matches folders of DICOM slices. The extension is compared without regard to
        case. Raises UserError for a pattern out of the root.
        """
        asks_for_series = pattern.endswith("/")
        pattern = normalise_pattern(pattern)
        body, extension = split_pattern(pattern)
        stem = posixpath.basename(body)
        if not is_wild(body):
            names = self._match_fixed(body, extension)
        elif is_wild(stem):
            names = self._match_wild(pattern, body)
        else:
            names = self._match_stem(pattern, stem)
        return [name for name in names if self._is_kind(name, asks_for_series)]

    def match_any_case(self, pattern: str) -> list[str]:
        """`match` without regard to case, for patterns without a wildcard in the stem; others match nothing."""
        asks_for_series = pattern.endswith("/")
        pattern = normalise_pattern(pattern)
        body, _ = split_pattern(pattern)
        stem = posixpath.basename(body)
        if is_wild(stem):
            return []
        expression = compile_pattern(pattern, re.IGNORECASE)
        names = self._by_loose_stem.get(show_wildcards(stem).casefold(), ())
        fitting = [name for name in names if expression.fullmatch(name)]
        return [name for name in fitting if self._is_kind(name, asks_for_series)]

    def _match_fixed(self, body: str, extension: str) -> list[str]:
        """Match a pattern without a wildcard.

        Each image asks so for its mask, and to compile the whole pattern would take longer than all else.
        """
        expression = re.compile(extension_expression(extension))
        prefix = show_wildcards(body + extension[:1])
        names = self._list_beginning(prefix)
        return [name for name in names if expression.fullmatch(name, pos=len(body))]

    def _match_wild(self, pattern: str, body: str) -> list[str]:
        """Match a pattern with a wildcard in the stem."""
        fixed = re.split(r"[*?]", body)[0]
        expression = compile_pattern(pattern)
        names = self._list_beginning(show_wildcards(fixed))
        return [name for name in names if expression.fullmatch(name)]

    def _match_stem(self, pattern: str, stem: str) -> list[str]:
        """Match a pattern with wildcards in its folders alone: each image may ask so for its mask."""
        expression = compile_pattern(pattern)
        names = self._by_stem.get(show_wildcards(stem), ())
        return [name for name in names if expression.fullmatch(name)]

    def _list_beginning(self, prefix: str) -> Iterator[str]:
        """The names that begin with a prefix, in order."""
        start = bisect.bisect_left(self._names, prefix)
        for index in range(start, len(self._names)):
            name = self._names[index]
            if not name.startswith(prefix):
                return
            yield name

    def _is_kind(self, name: str, asks_for_series: bool) -> bool:
        """Whether a file is of the kind that a pattern asks for: a folder of DICOM slices, or a file of a format."""
        if asks_for_series:
            return name in self._series
        return name.lower().endswith(EXTENSIONS)
