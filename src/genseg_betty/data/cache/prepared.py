"""The cases of a dataset as the network sees them: read from their files, or from the cache what was read before."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genseg_betty.data.cache.ledger import Ledger, code_version, settled, size_of, state_of
from genseg_betty.data.cache.store import Cache, key_of
from genseg_betty.data.cache.threads import map_ahead, one_thread_each
from genseg_betty.data.formats import ImageError, split_name
from genseg_betty.data.inspect.case_facts import CaseFacts
from genseg_betty.data.inspect.check import faults_before_training
from genseg_betty.data.places import Places
from genseg_betty.data.preprocessing import Intensity, Preprocessing
from genseg_betty.data.source.case import Case, Sample
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding
from genseg_betty.data.source.labels import LabelValue
from genseg_betty.data.splits import fingerprints
from genseg_betty.errors import UserError

NOT_IN_CACHE_KEY = {
    *("name", "root", "cases", "unlabelled", "metric", "published_test", "folds", "own_split", "recipe"),
    *("published_split", "copies", "near_copies"),
}
SMALL = 150_000_000  # bytes up to which a dataset is checked as a whole, so that another draw of cases finds it checked
HELD = 2**30  # bytes of decoded cases that wait in memory for their preprocessing; the others are decoded twice


class CachedReader:
    """Reads the cases of one dataset. What it returns is the same to the bit with a cold, a warm or no cache.

    All cases are brought to `orientation`, which is to be set before the first of them is read.
    """

    def __init__(self, dataset: Dataset, cache: Cache) -> None:
        self.dataset = dataset
        self.orientation: str | None = None  # None: as they are stored
        self.places = Places()  # what `faults` found
        self._cache = cache if dataset.root else Cache(None)  # what is drawn is drawn anew
        reading = {one.name: repr(getattr(dataset, one.name)) for one in fields(dataset)}
        self._reading = {name: text for name, text in reading.items() if name not in NOT_IN_CACHE_KEY}
        self._code = code_version()
        self._ledger = Ledger(self._cache, self._code, str(dataset.root))
        self._digests: dict[str, list[bytes]] = {}  # by case id: of its image and masks
        self._keys: dict[str, str] = {}  # by case id
        self._held: dict[str, Sample] = {}  # by case id, in the smallest integers that hold them
        self._held_bytes = 0

    def save(self) -> None:
        """Keep what was found out for the next run."""
        self._ledger.save()

    def faults(self, used: Iterable[str]) -> list[Finding]:
        """`faults_before_training`, which is asked again only if a file changed or something was wrong before.

        What it finds of places is in `places` afterwards.
        """
        self.places = Places()
        if self.dataset.root is None:
            return faults_before_training(self.dataset, used)
        files = [path for case in self.dataset.cases for path in _files(case)]
        now = time.time()
        try:
            states = [state_of(path) for path in files]
        except (OSError, ImageError):  # told by the check
            return faults_before_training(self.dataset, used, self.places)
        if sum(map(size_of, states)) <= SMALL:
            used = [case.id for case in self.dataset.cases]
        key = key_of("sound", self._reading, [str(path) for path in files], states, sorted(used))
        if known := self._ledger.recall(key):
            self.places = Places(**known)
            return []
        found = faults_before_training(self.dataset, used, self.places)
        if not found and all(settled(state, now) for state in states):
            self._ledger.note(key, self.places.to_dict())
        return found

    def contents(self, cases: Iterable[Case]) -> dict[str, str]:
        """`splits.fingerprints` of cases, which reads only files that it has not seen as they are now."""
        cases = list(cases)
        if self.dataset.root is None:
            return fingerprints(self.dataset, cases)
        for case, digests in zip(cases, map_ahead(self._read_digests, cases), strict=True):
            self._digests[case.id] = digests
        return {case.id: self._digests[case.id][0].hex() for case in cases}

    def digest(self, case: Case) -> bytes:
        """`Dataset.digest`, as `contents` reads."""
        if self.dataset.root is None:
            return self.dataset.digest(case)
        if case.id not in self._digests:
            self._digests[case.id] = self._read_digests(case)
        return hashlib.sha256(b"".join(self._digests[case.id])).digest()

    def facts(self, cases: Sequence[Case]) -> list[CaseFacts]:
        """What each case holds. Raises UserError for one that cannot be read."""
        keys = [self._key(case) for case in cases]
        known = {key: facts for key in keys if (facts := self._ledger.recall(key))}
        missing = [(key, case) for key, case in zip(keys, cases, strict=True) if key not in known]
        read = map_ahead(self._read_facts, [case for _, case in missing])
        for (key, case), (sample, facts) in zip(missing, read, strict=True):
            self._hold(case, sample, facts.eight_bit)
            known[key] = asdict(facts)
            if self._unchanged(case):
                self._ledger.note(key, known[key])
        return [CaseFacts.from_dict(known[key]) for key in keys]

    def fit(
        self,
        cases: Sequence[Case],
        facts: Sequence[CaseFacts],
        image_size: tuple[int, ...],
        channels: int | None,
        intensity: Intensity | None,
        spacing: tuple[float, ...] | None,
        label_values: tuple[LabelValue, ...],
    ) -> Preprocessing:
        """`Preprocessing.fit` on these cases, whose facts are known: only what is not 8-bit is read for it."""
        classes = self.dataset.classes
        key = key_of("fit", [self._key(case) for case in cases], image_size, channels, intensity, spacing)
        if known := self._ledger.recall(key):
            return replace(Preprocessing.from_dict(known), classes=classes, label_values=label_values)
        # Where a single image is not 8-bit the percentiles of all are asked for.
        stood_in = intensity in ("8-bit", None) and all(one.eight_bit for one in facts)
        stood_in = stood_in or isinstance(intensity, tuple)
        pairs = zip(cases, facts, strict=True)
        images = (one.stand_in() if one.eight_bit and stood_in else self._sample(case).image for case, one in pairs)
        fitted = Preprocessing.fit(images, image_size, channels, classes, label_values, intensity, spacing)
        scale = self.dataset.scale(cases) if fitted.intensity else None
        fitted = replace(fitted, scale=scale, orientation=self.orientation)
        if all(map(self._unchanged, cases)):
            self._ledger.note(key, fitted.to_dict())
        return fitted

    def tensors(self, cases: Sequence[Case], preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
        """Images [N, C, h, w] float32 and masks [N, h, w] int64 of cases, at least one; volumes have a D before h.

        Files are decoded and resized by several threads, each case by one.
        """
        images, masks = torch.empty(0), torch.empty(0, dtype=torch.int64)
        decided = preprocessing.to_dict()
        keys = [key_of("tensors", self._key(case), decided) for case in cases]
        with one_thread_each():
            found = map_ahead(lambda pair: self._prepared(*pair, preprocessing), zip(keys, cases, strict=True))
            if preprocessing.spatial_dims == 3:
                found = _padded(list(found), preprocessing.image_size)
            for index, (case, arrays) in enumerate(zip(cases, found, strict=True)):
                if index == 0:
                    images = torch.empty((len(cases), *arrays["image"].shape))
                    masks = torch.empty((len(cases), *arrays["mask"].shape), dtype=torch.int64)
                images.numpy()[index] = arrays["image"]
                masks.numpy()[index] = arrays["mask"]
                self._release(case)
        return images, masks

    def _prepared(self, key: str, case: Case, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
        if entry := self._cache.get(key):
            return entry.arrays
        sample = self._sample(case)
        assert sample.mask is not None
        kind = np.uint8 if preprocessing.num_classes <= 256 else np.int64
        image = preprocessing.image(sample.image, sample.spacing).numpy()
        mask = preprocessing.mask(sample.mask, sample.spacing).numpy().astype(kind)
        if self._unchanged(case):
            self._cache.put(key, image=image, mask=mask)
        return {"image": image, "mask": mask}

    def _key(self, case: Case) -> str:
        """The key of what a case holds: of its files' contents and all that decides how they are read."""
        if case.id not in self._keys:
            endings = ["/" if path.is_dir() else split_name(path.name)[1].lower() for path in _files(case)]
            self._keys[case.id] = key_of(
                "case", self._code, self._reading, endings, self.orientation, self.digest(case).hex()
            )
        return self._keys[case.id]

    def _unchanged(self, case: Case) -> bool:
        """Whether the files still hold what `_key` says: of others nothing is kept under it."""
        return self.dataset.root is None or self._read_digests(case) == self._digests[case.id]

    def _read_digests(self, case: Case) -> list[bytes]:
        digests = []
        for path in _files(case):
            try:
                digests.append(self._ledger.digest(path))
            except OSError as error:
                raise UserError(f"{path} cannot be read: {error.strerror}") from error
        return digests

    def _read_facts(self, case: Case) -> tuple[Sample, CaseFacts]:
        sample = self._load(case)
        return sample, CaseFacts.of_sample(sample, len(self.dataset.classes))

    def _hold(self, case: Case, sample: Sample, eight_bit: bool) -> None:
        assert sample.mask is not None
        image = sample.image.astype(np.uint8) if eight_bit else sample.image
        packed = Sample(image, sample.mask.astype(np.min_scalar_type(len(self.dataset.classes))), sample.spacing)
        if self._held_bytes + _bytes(packed) <= HELD:
            self._held[case.id] = packed
            self._held_bytes += _bytes(packed)

    def _release(self, case: Case) -> None:
        if sample := self._held.pop(case.id, None):
            self._held_bytes -= _bytes(sample)

    def _sample(self, case: Case) -> Sample:
        return self._held.get(case.id) or self._load(case)

    def _load(self, case: Case) -> Sample:
        return self.dataset.load(case).in_orientation(self.orientation)


def _padded(volumes: list[dict[str, np.ndarray]], least: Sequence[int]) -> Iterator[dict[str, np.ndarray]]:
    """Volumes brought to one size, that of the largest along each axis and at least `least`, by the darkest intensity
    and background around them."""
    sizes = [np.array(one["mask"].shape) for one in volumes]
    size = np.maximum.reduce([np.array(least), *sizes])
    for one in volumes:
        missing = size - one["mask"].shape
        around = [(int(total) // 2, int(total) - int(total) // 2) for total in missing]
        yield {
            "image": np.pad(one["image"], [(0, 0), *around], constant_values=-1),
            "mask": np.pad(one["mask"], around),
        }


def _files(case: Case) -> tuple[Path, ...]:
    return (case.image, *case.masks)


def _bytes(sample: Sample) -> int:
    return sample.image.nbytes + (0 if sample.mask is None else sample.mask.nbytes)
