"""The user's regular expressions on file names; one that would try endless ways is stopped, and the user is told."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence

from genseg_betty.errors import UserError

SECONDS = 10.0  # for all names of a dataset; a sound expression takes milliseconds
# A group that is repeated, or many repetitions: only such can try a name in a number of ways that grows without bound.
ENDLESS = re.compile(r"\)[*+{]|(?:[*+}].*){4}", re.DOTALL)
CHILD = """
import json, re, sys
pattern, texts = json.load(sys.stdin)
found = [re.search(pattern, text) for text in texts]
json.dump([one[1] if one and one.re.groups else None for one in found], sys.stdout)
"""


def capture(key: str, pattern: str, texts: Sequence[str], seconds: float = SECONDS) -> list[str | None]:
    """What the first parenthesis of `pattern`, the value of dataset.<key>, finds in each text; None: nothing.

    Python cannot stop an expression while it matches, so those that may not end are matched in a process of their own.
    Raises UserError where they take longer than `seconds`.
    """
    may_be_endless = ENDLESS.search(pattern) is not None
    if not (may_be_endless and sys.executable and texts):
        return [_find_group(pattern, text) for text in texts]

    # The other process is stopped when its time is over.
    command = [sys.executable, "-I", "-S", "-c", CHILD]
    question = json.dumps([pattern, list(texts)]).encode()
    try:
        answer = subprocess.run(command, input=question, capture_output=True, timeout=seconds, check=True)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"dataset.{key}={pattern}: the expression is still at work on {len(texts)} file names after {seconds:g} s; "
            "a repetition within a repetition, as in (a+)+, tries endless ways, so write it with one"
        ) from None
    captured: list[str | None] = json.loads(answer.stdout)
    return captured


def _find_group(pattern: str, text: str) -> str | None:
    """What the first parenthesis finds; None where there is no parenthesis, or nothing is found."""
    found = re.search(pattern, text)
    if found is None or found.re.groups == 0:
        return None
    return found[1]
