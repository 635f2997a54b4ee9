"""A split of the user's own, read from a JSON file as a Run's splits.json: case ids of train, validation and test."""

import json
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from genseg_betty.data.files import Finding
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
    places = [*([root / file] if root else []), Path(file).expanduser()]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        looked = " and ".join(dict.fromkeys(str(place.absolute()) for place in places))
        return {}, [Finding("unreadable", file, f"is the file of dataset.split and not there; looked at {looked}")]
    try:
        parts = _parts(json.loads(bounded_read(path, MAX_BYTES)))
    except (OSError, ValueError, RecursionError) as error:
        return {}, [Finding("unreadable", file, f"cannot be read ({error}); {EXPECTED}")]
    return parts, [Finding(code, file, message) for code, message in _faults(parts, ids)]


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
    repeated[:MAX_LISTED] = [f"{id} ({_places(parts, id)})" for id in repeated[:MAX_LISTED]]
    faults = []
    if unknown:
        example = f", such as {min(ids)}" if ids else ""
        message = f"names cases that are not there: {_listed(unknown)}; expected ids of labelled images{example}"
        faults.append(("missing_image", message))
    if repeated:
        faults.append(("unreadable", f"names cases more than once: {_listed(repeated)}; expected each in one part"))
    if empty := [part for part in PARTS if not parts[part]]:
        faults.append(("too_few", f"names no case for {' and '.join(empty)}; expected one or more in each part"))
    return faults


def _places(parts: Mapping[str, Sequence[str]], id: str) -> str:
    return ", ".join(part for part in PARTS for found in parts[part] if found == id)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more
