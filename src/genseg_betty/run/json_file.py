"""A JSON file of a Run, as it is read: of bounded size, and with a sentence where it is damaged."""

from pathlib import Path
from typing import Any

from genseg_betty.files import bounded_json
from genseg_betty.run.checksums import explain_damage

MAX_JSON = 2**26
"""Bytes of one file; a split of a hundred thousand cases takes a quarter."""


def read_json_file(path: Path) -> Any:
    """What a JSON file says. Raises UserError where it is damaged."""
    try:
        return bounded_json(path, MAX_JSON)
    except (OSError, ValueError) as error:
        raise explain_damage(path, f"it cannot be read ({error})") from error
