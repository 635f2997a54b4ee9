"""The test part that a dataset's `split` names: by patterns of image files, or by lists of groups."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding
from genseg_betty.data.source.pairing import Pairing
from genseg_betty.data.source.patterns import below_root
from genseg_betty.data.split.name_list import Names, quoted_examples, read_list

MAX_NAMED = 8  # names of a list in one message


def take_test_part(dataset: Dataset, config: Mapping[str, Any], paired: Pairing, findings: list[Finding]) -> list[str]:
    """Give the dataset the test part that patterns and lists of groups name; returns what is to be noted.

    What they name in vain is a finding, but of an optional part or the publisher's, whose files may be there in part,
    a note.
    """
    if not dataset.cases:  # why there are none is told elsewhere
        return []
    split = config.get("split") or {}
    lists, files = split.get("test_groups") or [], split.get("test") or []
    faults: list[Finding] = []
    tested = {group for pattern in lists for group in _listed_groups(dataset, pattern, faults)}
    places = {case.image: case for case in dataset.cases}
    chosen = {case.id for case in dataset.cases if case.group in tested}
    for pattern in files:
        matched = [places[path] for name in paired.tree.match(pattern) if (path := paired.tree.files[name]) in places]
        chosen |= {case.id for case in matched}
        if not matched:
            message = f"dataset.split: {pattern} finds no labelled image to test on; mend it, upper and lower case too"
            faults.append(Finding("too_few", ".", message))
    dataset.published_test = frozenset(chosen)
    if not (split.get("optional") or dataset.published_split):
        findings += faults
        return []
    notes = [f"{fault.file} {fault.message}" for fault in faults if fault.code != "too_few"]
    return notes + _require_test_part(dataset, config, findings)


def _listed_groups(dataset: Dataset, pattern: str, faults: list[Finding]) -> set[str]:
    """The groups that the text files below the root name; a fault for each file that cannot be read or names others."""
    assert dataset.root is not None
    names = Names({case.id: case.group for case in dataset.cases})
    groups: set[str] = set()
    files = _list_files(dataset, pattern)
    for file, path in files.items():
        if not path.resolve().is_relative_to(dataset.root.resolve()):
            message = "is a link that leads out of the dataset's root and was not followed; copy the list in"
            faults.append(Finding("unsafe", file, message))
            continue
        try:
            found, unknown = names.chosen(read_list(path))
        except (OSError, ValueError) as error:
            faults.append(Finding("unreadable", file, f"is a list of dataset.split.test_groups, not read: {error}"))
            continue
        groups |= found
        if unknown:
            faults.append(Finding("missing_image", file, _unknown_message(dataset, unknown)))
        elif not found:
            faults.append(Finding("too_few", file, "names nobody to test on; expected one group a line, so fill it"))
    if not files:
        faults.append(Finding("too_few", ".", f"dataset.split.test_groups: {pattern} finds no file; mend it"))
    return groups


def _list_files(dataset: Dataset, pattern: str) -> dict[str, Path]:
    """The files that a pattern means, by their path below the root; a name with brackets stands for itself too."""
    root = dataset.root
    assert root is not None
    literal = root / below_root(pattern)
    found = {path for form in ("NFC", "NFD") for path in root.glob(unicodedata.normalize(form, pattern))}
    paths = [literal] if literal.is_file() else sorted(found)
    return {path.relative_to(root).as_posix(): path for path in paths if path.is_file()}


def _unknown_message(dataset: Dataset, unknown: Sequence[str]) -> str:
    return (
        f"names groups that no labelled image has: {quoted_examples(unknown, MAX_NAMED)}; expected names of groups "
        f"(dataset.group), such as '{dataset.cases[0].group}', so mend the list or remove them from it"
    )


def _require_test_part(dataset: Dataset, config: Mapping[str, Any], findings: list[Finding]) -> list[str]:
    """A finding, or where it is `optional` a note, if no labelled image lies where the publisher's test part should."""
    split = config.get("split") or {}
    patterns = [*(split.get("test") or []), *(split.get("test_groups") or [])]
    if not patterns or dataset.published_test:
        return []
    more = f" or {len(patterns) - 1} more" if len(patterns) > 1 else ""
    listed = f"{patterns[0]}{more}"
    if split.get("optional"):
        instead = "" if config.get("n_test") == 0 else ", so 30 % are set aside instead"
        return [f"no labelled image of the published test part is there ({listed}){instead}"]
    message = f"dataset.split: {listed} finds no labelled image to test on; mend it, upper and lower case too"
    findings.append(Finding("too_few", ".", message))
    return []
