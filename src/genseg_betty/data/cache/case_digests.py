"""What the files of each case hold, as hashes: of files that did not change they are known without reading."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from genseg_betty.data.cache.ledger import Ledger
from genseg_betty.data.cache.threads import map_ahead
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.splits import fingerprints
from genseg_betty.errors import UserError


class CaseDigests:
    """Digests of the images and masks of a dataset's cases."""

    def __init__(self, dataset: Dataset, ledger: Ledger) -> None:
        self._dataset = dataset
        self._is_drawn = dataset.root is None
        self._ledger = ledger
        self._digests: dict[str, list[bytes]] = {}  # by case id: of its image and masks

    def hash_images(self, cases: Iterable[Case]) -> dict[str, str]:
        """`splits.fingerprints` of cases, which reads only files that it has not seen as they are now."""
        cases = list(cases)
        if self._is_drawn:
            return fingerprints(self._dataset, cases)
        of_images = {}
        for case, digests in zip(cases, map_ahead(self._read_digests, cases), strict=True):
            self._digests[case.id] = digests
            of_images[case.id] = digests[0].hex()
        return of_images

    def hash_case(self, case: Case) -> bytes:
        """`Dataset.digest`, which reads as `hash_images` does."""
        if self._is_drawn:
            return self._dataset.digest(case)
        if case.id not in self._digests:
            self._digests[case.id] = self._read_digests(case)
        whole = b"".join(self._digests[case.id])
        return hashlib.sha256(whole).digest()

    def are_unchanged(self, cases: Iterable[Case]) -> bool:
        """Whether the files of these cases still hold what they did when they were hashed.

        Nothing is to be kept under the hash of a file that was replaced meanwhile.
        """
        if self._is_drawn:
            return True
        return all(self._read_digests(case) == self._digests[case.id] for case in cases)

    def _read_digests(self, case: Case) -> list[bytes]:
        return [self._digest_file(path) for path in files_of(case)]

    def _digest_file(self, path: Path) -> bytes:
        try:
            return self._ledger.digest(path)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error


def files_of(case: Case) -> tuple[Path, ...]:
    """The image of a case, then its masks."""
    return (case.image, *case.masks)
