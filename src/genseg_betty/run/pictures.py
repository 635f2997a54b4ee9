"""The pictures of test cases that a Run keeps: which cases, and what the files are called.

The best, the median and the worst case of each test set are a Run's own. Beside them each Run keeps cases that are
chosen by their ids alone, so that Runs that know nothing of each other keep the same ones, and a comparison can show
them side by side.

`pictures.json` lists them by test set; the files of a case are samples/test-<test set>-<name>-<panel>.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

PICTURES = "pictures.json"
BEST, MEDIAN, WORST = "best", "median", "worst"
COMMON = "common"
"""What the names of the cases chosen by their ids begin with: common-1, common-2, …."""
MOST_COMMON = 3
"""So many are chosen by their ids."""
IMAGE, TRUTH, PREDICTION = "image.jpg", "truth.png", "prediction.png"
ROLES = (BEST, MEDIAN, WORST, *(f"{COMMON}-{number}" for number in range(1, MOST_COMMON + 1)))
PANELS = (IMAGE, TRUTH, PREDICTION)


class PicturedCase(NamedTuple):
    """A case with pictures.

    Args:
        name: the first of its roles, which its files are called by.
        id: the case.
        roles: best, median, worst, common-1, …: all that it was chosen for.
        slice: which one of a volume is shown, from 0; None of an image.
    """

    name: str
    id: str
    roles: tuple[str, ...]
    slice: int | None = None


def choose_cases(scores: Mapping[str, float]) -> list[PicturedCase]:
    """The cases to keep pictures of, each once. `scores`: id -> a score of which more is better.

    The median is the lower one of two. Equal scores are told apart by the ids, so the choice is always the same.
    """
    ranked = sorted(scores, key=lambda id: (scores[id], id))
    if not ranked:
        return []
    middle = (len(ranked) - 1) // 2
    chosen = {BEST: ranked[-1], MEDIAN: ranked[middle], WORST: ranked[0]}
    drawn = sorted(scores, key=_hash_id)[:MOST_COMMON]
    for number, id in enumerate(drawn, start=1):
        chosen[f"{COMMON}-{number}"] = id

    # A case of several roles has one set of files.
    roles: dict[str, list[str]] = {}
    for role, id in chosen.items():
        roles.setdefault(id, []).append(role)
    return [PicturedCase(of_case[0], id, tuple(of_case)) for id, of_case in roles.items()]


def name_panel(test_set: str, name: str, panel: str) -> str:
    """The file of a panel, in samples/."""
    return f"test-{test_set}-{name}-{panel}"


def _hash_id(id: str) -> str:
    """As good as a draw of chance, and the same in every Run."""
    return hashlib.sha256(id.encode(errors="backslashreplace")).hexdigest()
