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
    places = [*([root / file] if root else []), Path(os.path.expanduser(file))]
    path = next((place for place in places if os.path.isfile(place)), None)  # False of a name that is too long, too
    if path is None:
        looked = " and ".join(dict.fromkeys(str(place.absolute()) for place in places))
        return {}, [Finding("unreadable", file, f"is the file of dataset.split and not there; looked at {looked}")]
    try:
        parts = _parts(json.loads(bounded_read(path, MAX_BYTES), object_pairs_hook=_without_repetition))
    except (OSError, ValueError, RecursionError) as error:
        return {}, [Finding("unreadable", file, f"cannot be read ({error}); {EXPECTED}")]
    return parts, [Finding(code, file, message) for code, message in _faults(parts, ids)]


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The keys of an object. Raises ValueError for one that is there twice, of which JSON would keep the last."""
    keys = [key for key, _ in pairs]
    repeated = [key for key, count in Counter(keys).items() if count > 1]
    if repeated:
        raise ValueError(f"it holds the key {list_examples(repeated)} more than once")
    return dict(pairs)


def _parts(content: Any) -> dict[str, list[str]]:
    if not isinstance(content, Mapping):
        raise ValueError("it holds no keys")
    wrong = [part for part in PARTS if not _is_list_of_text(content.get(part))]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: missing, or no list of text")
    return {part: [unicodedata.normalize("NFC", id) for id in content[part]] for part in PARTS}


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(id, str) for id in value)


def _faults(parts: Mapping[str, Sequence[str]], ids: Collection[str]) -> list[tuple[str, str]]:
    counts = Counter(id for part in PARTS for id in parts[part])
    unknown = [id for id in counts if id not in ids]
    repeated = [id for id, count in counts.items() if count > 1]
    faults = []
    if unknown:
        example = f", such as {min(ids)}" if ids else ""
        listed = list_examples(unknown, MAX_LISTED)
        message = f"names cases that are not there: {listed}; expected ids of labelled images{example}"
        faults.append(("missing_image", message))
    if repeated:
        # The places of those that are not shown would take long to find where all are repeated.
        repeated[:MAX_LISTED] = [f"{id} ({_parts_of_case(parts, id)})" for id in repeated[:MAX_LISTED]]
        listed = list_examples(repeated, MAX_LISTED)
        faults.append(("unreadable", f"names cases more than once: {listed}; expected each in one part"))
    if empty := [part for part in PARTS if not parts[part]]:
        faults.append(("too_few", f"names no case for {' and '.join(empty)}; expected one or more in each part"))
    return faults


def _parts_of_case(parts: Mapping[str, Sequence[str]], id: str) -> str:
    return ", ".join(part for part in PARTS for found in parts[part] if found == id)
