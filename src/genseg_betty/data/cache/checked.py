"""The check before training, which is made again only if a file changed or something was wrong before."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from genseg_betty.data.cache.case_digests import files_of
from genseg_betty.data.cache.ledger import Ledger, has_settled, size_of, stat_files
from genseg_betty.data.cache.store import key_of
from genseg_betty.data.formats import ImageError
from genseg_betty.data.inspect.check import faults_before_training
from genseg_betty.data.places import Places
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding

SMALL = 150_000_000  # bytes up to which a dataset is checked as a whole, so that another draw of cases finds it checked


def check_once(
    dataset: Dataset, used: Iterable[str], ledger: Ledger, reading: Mapping[str, str]
) -> tuple[list[Finding], Places]:
    """`faults_before_training`, unless the ledger says that these files were found sound; and the places in space.

    Args:
        dataset: what is checked; a drawn one is never noted.
        used: ids of the cases that are to be sound.
        ledger: knows what was checked before.
        reading: all of the dataset that decides how its files are read.
    """
    places = Places()
    if dataset.root is None:
        return faults_before_training(dataset, used), places
    files: list[Path] = []
    for case in dataset.cases:
        files += files_of(case)
    now = time.time()
    try:
        states = [stat_files(path) for path in files]
    except (OSError, ImageError):  # told by the check
        return faults_before_training(dataset, used, places), places

    if sum(map(size_of, states)) <= SMALL:
        used = [case.id for case in dataset.cases]
    names = [str(path) for path in files]
    key = key_of("sound", reading, names, states, sorted(used))
    known = ledger.recall(key)
    if known:
        return [], Places(**known)
    found = faults_before_training(dataset, used, places)
    if not found and all(has_settled(state, now) for state in states):
        ledger.note(key, places.to_dict())
    return found, places
