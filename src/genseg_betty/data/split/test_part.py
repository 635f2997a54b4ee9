"""The test part that a dataset's `split` names: by patterns of image files, or by lists of groups."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding
from genseg_betty.data.source.pairing import Pairing
from genseg_betty.data.source.patterns import below_root
from genseg_betty.data.split.name_list import Names, quoted_examples, read_list

MAX_NAMED = 8  # names of a list in one message
UNICODE_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")  # in which a name may lie on the disk


def take_test_part(dataset: Dataset, config: Mapping[str, Any], paired: Pairing, findings: list[Finding]) -> list[str]:
    """Give the dataset the test part that patterns and lists of groups name; returns what is to be noted.

    What they name in vain is a finding, but of an optional part or the publisher's, whose files may be there in part,
    a note.
    """
    if not dataset.cases:  # why there are none is told elsewhere
        return []
    split = config.get("split") or {}
    faults: list[Finding] = []
    listed = _find_in_lists(dataset, split.get("test_groups") or [], faults)
    matched = _find_by_pattern(dataset, split.get("test") or [], paired, faults)
    dataset.published_test = frozenset(listed | matched)
    if not (split.get("optional") or dataset.published_split):
        findings += faults
        return []
    notes = [f"{fault.file} {fault.message}" for fault in faults if fault.code != "too_few"]
    return notes + _require_test_part(dataset, config, findings)


def _find_in_lists(dataset: Dataset, patterns: Sequence[str], faults: list[Finding]) -> set[str]:
    """The ids of the cases whose groups stand in lists; adds a fault for each list that cannot be taken."""
    tested: set[str] = set()
    for pattern in patterns:
        tested |= _read_groups(dataset, pattern, faults)
    return {case.id for case in dataset.cases if case.group in tested}


def _find_by_pattern(dataset: Dataset, patterns: Sequence[str], paired: Pairing, faults: list[Finding]) -> set[str]:
    """The ids of the cases whose images match; adds a fault for each pattern that matches none."""
    ids = {case.image: case.id for case in dataset.cases}
    chosen: set[str] = set()
    for pattern in patterns:
        paths = [paired.tree.files[name] for name in paired.tree.match(pattern)]
        matched = {ids[path] for path in paths if path in ids}
        chosen |= matched
        if not matched:
            faults.append(Finding("too_few", ".", _describe_no_match(pattern)))
    return chosen


def _describe_no_match(patterns: str) -> str:
    return f"dataset.split: {patterns} finds no labelled image to test on; mend it, upper and lower case too"


def _read_groups(dataset: Dataset, pattern: str, faults: list[Finding]) -> set[str]:
    """The groups that the text files below the root name; a fault for each file that cannot be read or names others."""
    names = Names({case.id: case.group for case in dataset.cases})
    groups: set[str] = set()
    files = _list_files(dataset, pattern)
    for file, path in files.items():
        if _leaves_root(dataset, path):
            message = "is a link that leads out of the dataset's root and was not followed; copy the list in"
            faults.append(Finding("unsafe", file, message))
            continue

        # Names that mean nothing are told, never passed over.
        try:
            found, unknown = names.chosen(read_list(path))
        except (OSError, ValueError) as error:
            faults.append(Finding("unreadable", file, f"is a list of dataset.split.test_groups, not read: {error}"))
            continue
        groups |= found
        if unknown:
            faults.append(Finding("missing_image", file, _describe_unknown(dataset, unknown)))
        elif not found:
            faults.append(Finding("too_few", file, "names nobody to test on; expected one group a line, so fill it"))
    if not files:
        faults.append(Finding("too_few", ".", f"dataset.split.test_groups: {pattern} finds no file; mend it"))
    return groups


def _leaves_root(dataset: Dataset, path: Path) -> bool:
    assert dataset.root is not None
    return not path.resolve().is_relative_to(dataset.root.resolve())


def _list_files(dataset: Dataset, pattern: str) -> dict[str, Path]:
    """The files that a pattern means, by their path below the root; a name with brackets stands for itself too."""
    root = dataset.root
    assert root is not None
    literal = root / below_root(pattern)
    paths = [literal]
    if not literal.is_file():
        found: set[Path] = set()
        for form in UNICODE_FORMS:
            found.update(root.glob(unicodedata.normalize(form, pattern)))
        paths = [path for path in sorted(found) if path.is_file()]
    return {path.relative_to(root).as_posix(): path for path in paths}


def _describe_unknown(dataset: Dataset, unknown: Sequence[str]) -> str:
    names = quoted_examples(unknown, MAX_NAMED)
    example = dataset.cases[0].group
    return (
        f"names groups that no labelled image has: {names}; expected names of groups "
        f"(dataset.group), such as '{example}', so mend the list or remove them from it"
    )


def _require_test_part(dataset: Dataset, config: Mapping[str, Any], findings: list[Finding]) -> list[str]:
    """A finding, or where it is `optional` a note, if no labelled image lies where the publisher's test part should."""
    split = config.get("split") or {}
    patterns = [*(split.get("test") or []), *(split.get("test_groups") or [])]
    if not patterns or dataset.published_test:
        return []
    listed = patterns[0]
    if len(patterns) > 1:
        listed += f" or {len(patterns) - 1} more"
    if not split.get("optional"):
        findings.append(Finding("too_few", ".", _describe_no_match(listed)))
        return []
    note = f"no labelled image of the published test part is there ({listed})"
    if config.get("n_test") != 0:
        note += ", so 30 % are set aside instead"
    return [note]
