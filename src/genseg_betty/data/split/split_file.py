"""A split of the user's own, read from a JSON file as a Run's splits.json: case ids of train, validation and test."""

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from genseg_betty.data.source.files import Finding
from genseg_betty.faults import list_examples
from genseg_betty.files import bounded_read

PARTS = ("train", "validation", "test")
MAX_BYTES = 2**26  # of a file that is read into memory; a hundred thousand cases take less than a tenth
MAX_LISTED = 10  # ids named in one message
EXPECTED = f"expected JSON with the keys {', '.join(PARTS)}, each a list of case ids"


def read_split_file(root: Path | None, file: str, ids: Collection[str]) -> tuple[dict[str, list[str]], list[Finding]]:
    """The ids of each part, and everything that is wrong with them; other keys of the file are passed over.

    `file` is looked for below the dataset's root, then as the path that it is. Every id must be one of `ids`,
    which are in Unicode NFC, and stand in one part only; no part may be empty.
    """
    places = [Path(os.path.expanduser(file))]
    if root:
        places.insert(0, root / file)
    path = _find_file(places)
    if path is None:
        absolute = [str(place.absolute()) for place in places]
        looked = " and ".join(dict.fromkeys(absolute))
        return {}, [Finding("unreadable", file, f"is the file of dataset.split and not there; looked at {looked}")]

    # A file that is no split of any kind is one fault; a split with wrong ids may have several.
    try:
        text = bounded_read(path, MAX_BYTES)
        content = json.loads(text, object_pairs_hook=_without_repetition)
        parts = _take_parts(content)
    except (OSError, ValueError, RecursionError) as error:
        return {}, [Finding("unreadable", file, f"cannot be read ({error}); {EXPECTED}")]
    return parts, _find_faults(file, parts, ids)


def _find_file(places: Sequence[Path]) -> Path | None:
    for place in places:
        if os.path.isfile(place):  # False of a name that is too long, too
            return place
    return None


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The keys of an object. Raises ValueError for one that is there twice, of which JSON would keep the last."""
    counts = Counter(key for key, _ in pairs)
    repeated = _list_repeated(counts)
    if repeated:
        listed = list_examples(repeated)
        raise ValueError(f"it holds the key {listed} more than once")
    return dict(pairs)


def _list_repeated(counts: Mapping[str, int]) -> list[str]:
    return [text for text, count in counts.items() if count > 1]


def _take_parts(content: Any) -> dict[str, list[str]]:
    """The ids of each part, in Unicode NFC. Raises ValueError for what is no split."""
    if not isinstance(content, Mapping):
        raise ValueError("it holds no keys")
    wrong = [part for part in PARTS if not _is_list_of_text(content.get(part))]
    if wrong:
        names = ", ".join(wrong)
        raise ValueError(f"{names}: missing, or no list of text")
    parts = {}
    for part in PARTS:
        parts[part] = [unicodedata.normalize("NFC", id) for id in content[part]]
    return parts


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(id, str) for id in value)


def _find_faults(file: str, parts: Mapping[str, Sequence[str]], ids: Collection[str]) -> list[Finding]:
    """What is wrong with the ids of each part: unknown ones, repeated ones, and parts without any."""
    counts: Counter[str] = Counter()
    for part in PARTS:
        counts.update(parts[part])
    unknown = [id for id in counts if id not in ids]
    repeated = _list_repeated(counts)
    empty = [part for part in PARTS if not parts[part]]

    faults = []
    if unknown:
        listed = list_examples(unknown, MAX_LISTED)
        message = f"names cases that are not there: {listed}; expected ids of labelled images"
        if ids:
            message += f", such as {min(ids)}"
        faults.append(Finding("missing_image", file, message))
    if repeated:
        # The places of those that are not shown would take long to find where all are repeated.
        for index, id in enumerate(repeated[:MAX_LISTED]):
            places = _list_places(parts, id)
            repeated[index] = f"{id} ({places})"
        listed = list_examples(repeated, MAX_LISTED)
        message = f"names cases more than once: {listed}; expected each in one part"
        faults.append(Finding("unreadable", file, message))
    if empty:
        names = " and ".join(empty)
        message = f"names no case for {names}; expected one or more in each part"
        faults.append(Finding("too_few", file, message))
    return faults


def _list_places(parts: Mapping[str, Sequence[str]], id: str) -> str:
    """The parts that name a case, each as often as it does."""
    places = []
    for part in PARTS:
        places += [part] * parts[part].count(id)
    return ", ".join(places)
