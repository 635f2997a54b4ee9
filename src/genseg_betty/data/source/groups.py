"""The id and the group of each image: what its name says it is, and of which patient or video."""

import bisect
import posixpath
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from genseg_betty.data.formats import split_name
from genseg_betty.data.source.expressions import capture
from genseg_betty.data.source.files import Finding
from genseg_betty.data.source.pairing_notes import MAX_LISTED
from genseg_betty.faults import list_examples


def stem_of(name: str) -> str:
    """The file name in a path, without its extension."""
    return split_name(posixpath.basename(name))[0]


def case_ids(names: list[str]) -> dict[str, str]:
    """A case id for each image: its stem; where stems repeat the path, with the extension if it must be."""
    by_stem = {name: stem_of(name) for name in names}
    if len(set(by_stem.values())) == len(names):
        return by_stem
    by_path = {name: split_name(name)[0] for name in names}
    if len(set(by_path.values())) == len(names):
        return by_path
    return {name: name for name in names}


def case_groups(config: Mapping[str, Any], names: Sequence[str]) -> tuple[dict[str, str], list[Finding]]:
    """The group (patient, video) of each image, as `group` or `group_starts` says, and a finding for all without.

    `group` is a regular expression on the path. `group_starts` are the numbers at which a sequence begins: an image
    belongs to the last one that the last number in its stem has reached.
    """
    pattern = config.get("group")
    starts = config.get("group_starts") or []
    found: Sequence[str | None]
    if pattern:
        found = capture_texts(config, "group", names)
        key = f"group {pattern!r}"
        expected = "a regular expression whose first parenthesis is the patient or video"
    elif starts:
        found = [_find_start(starts, name) for name in names]
        key = "group_starts"
        expected = f"a number in each file's name, {starts[0]} or higher (the first start)"
    else:
        return {}, []

    groups = {}
    without = []
    for name, group in zip(names, found, strict=True):
        if group is None:
            without.append(name)
        else:
            groups[name] = group
    if not without:
        return groups, []
    listed = list_examples(without, MAX_LISTED)
    message = f"dataset.{key} finds no group for {listed}; expected {expected}"
    return groups, [Finding("too_few", ".", message)]


def capture_texts(config: Mapping[str, Any], key: str, texts: Sequence[str]) -> list[str | None]:
    """What the expression of a key finds in each text; it may spell letters in another Unicode form than the names."""
    pattern = unicodedata.normalize("NFC", config[key])
    return capture(key, pattern, texts)


def _find_start(starts: Sequence[int], name: str) -> str | None:
    """The last start that the last number of a name has reached; None where there is none."""
    numbers = re.findall(r"\d+", stem_of(name))
    if not numbers:
        return None
    reached = bisect.bisect(starts, int(numbers[-1]))
    if reached == 0:
        return None
    return str(starts[reached - 1])
