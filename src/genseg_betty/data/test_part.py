"""The test part that a dataset's `split` names: by patterns of image files, or by lists of groups."""

from collections.abc import Mapping
from typing import Any

from genseg_betty.data.dataset import Dataset
from genseg_betty.data.files import Finding, below_root
from genseg_betty.data.name_list import Names, read_list, unmatched
from genseg_betty.data.pairing import Pairing

MAX_NAMED = 8  # names of a list in one message


def take_test_part(
    dataset: Dataset, config: Mapping[str, Any], paired: Pairing, findings: list[Finding]
) -> list[str]:
    """Give the dataset the test part that patterns and lists of groups name; returns what is to be noted.

    What they name in vain is a finding, but of an optional part or the publisher's, whose files may be there in part,
    a note.
    """
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
    if not chosen:  # told as a whole
        faults = [fault for fault in faults if fault.code != "too_few"]
    notes: list[str] = []
    if split.get("optional") or dataset.published_split:
        notes = [f"{fault.file} {fault.message}" for fault in faults if fault.code != "too_few"]
    else:
        findings += faults
    return notes + _require_test_part(dataset, config, findings)


def _listed_groups(dataset: Dataset, pattern: str, faults: list[Finding]) -> set[str]:
    """The groups that the text files below the root name; a fault for each file that cannot be read or names others."""
    assert dataset.root is not None
    root = dataset.root
    names = Names({case.id: case.group for case in dataset.cases})
    groups: set[str] = set()
    paths = [path for path in sorted(root.glob(below_root(pattern))) if path.is_file()]
    for path in (path for path in paths if path.resolve().is_relative_to(root.resolve())):
        file = path.relative_to(root).as_posix()
        try:
            found, unknown = names.chosen(read_list(path))
        except (OSError, ValueError) as error:
            faults.append(Finding("unreadable", file, f"is a list of dataset.split.test_groups, not read: {error}"))
            continue
        groups |= found
        if unknown:
            example = f", such as '{dataset.cases[0].group}'" if dataset.cases else ""
            message = (
                f"names groups that no labelled image has: {unmatched(unknown, MAX_NAMED)}; expected names of groups "
                f"(dataset.group){example}, so mend the list or remove them from it"
            )
            faults.append(Finding("missing_image", file, message))
    if not paths:
        faults.append(Finding("too_few", ".", f"dataset.split.test_groups: {pattern} finds no file; mend it"))
    return groups


def _require_test_part(dataset: Dataset, config: Mapping[str, Any], findings: list[Finding]) -> list[str]:
    """A finding, or where it is `optional` a note, if no labelled image lies where the test part should."""
    split = config.get("split") or {}
    patterns = [*(split.get("test") or []), *(split.get("test_groups") or [])]
    if not patterns or dataset.published_test or not dataset.cases:
        return []
    listed = patterns[0] if len(patterns) == 1 else f"{patterns[0]} or {len(patterns) - 1} more"
    if split.get("optional"):
        instead = "" if config.get("n_test") == 0 else ", so 30 % are set aside instead"
        return [f"no labelled image of the published test part is there ({listed}){instead}"]
    message = f"dataset.split: {listed} finds no labelled image to test on; mend it, upper and lower case too"
    findings.append(Finding("too_few", ".", message))
    return []
