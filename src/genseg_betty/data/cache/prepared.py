"""The cases of a dataset as the network sees them: read from their files, or from the cache what was read before."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields, replace

import numpy as np
import torch
from torch import Tensor

from genseg_betty.data.cache.case_digests import CaseDigests, files_of
from genseg_betty.data.cache.checked import check_once
from genseg_betty.data.cache.held_samples import HeldSamples
from genseg_betty.data.cache.ledger import Ledger, code_version
from genseg_betty.data.cache.store import Cache, key_of
from genseg_betty.data.cache.threads import map_ahead, one_thread_each
from genseg_betty.data.formats import split_name
from genseg_betty.data.inspect.case_facts import CaseFacts
from genseg_betty.data.places import Places
from genseg_betty.data.preprocessing import Intensity, Preprocessing
from genseg_betty.data.source.case import Case, Sample
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding
from genseg_betty.data.source.label_values import LabelValue

NOT_IN_CACHE_KEY = {
    *("name", "root", "cases", "unlabelled", "metric", "published_test", "folds", "own_split", "recipe"),
    *("published_split", "copies", "near_copies"),
}

Arrays = dict[str, np.ndarray]  # the preprocessed "image" and "mask" of a case


class CachedReader:
    """Reads the cases of one dataset. What it returns is the same to the bit with a cold, a warm or no cache.

    All cases are brought to `orientation`, which is to be set before the first of them is read.
    """

    def __init__(self, dataset: Dataset, cache: Cache) -> None:
        self.dataset = dataset
        self.orientation: str | None = None  # None: as they are stored
        self.places = Places()  # what `find_faults` found
        self._cache = cache if dataset.root else Cache(None)  # what is drawn is drawn anew
        self._reading = _describe_reading(dataset)
        self._code = code_version()
        self._ledger = Ledger(self._cache, self._code, str(dataset.root))
        self.digests = CaseDigests(dataset, self._ledger)
        self._keys: dict[str, str] = {}  # by case id
        self._held = HeldSamples(len(dataset.classes))

    def save(self) -> None:
        """Keep what was found out for the next run."""
        self._ledger.save()

    def find_faults(self, used: Iterable[str]) -> list[Finding]:
        """The faults of the dataset, by `check_once`; what is found of places is in `places` afterwards."""
        found, self.places = check_once(self.dataset, used, self._ledger, self._reading)
        return found

    def read_facts(self, cases: Sequence[Case]) -> list[CaseFacts]:
        """What each case holds. Raises UserError for one that cannot be read."""
        keys = [self._key_of(case) for case in cases]
        known = {}
        missing = []
        for key, case in zip(keys, cases, strict=True):
            facts = self._ledger.recall(key)
            if facts:
                known[key] = facts
            else:
                missing.append((key, case))

        read = map_ahead(self._load_with_facts, [case for _, case in missing])
        for (key, case), (sample, found) in zip(missing, read, strict=True):
            self._held.add(case, sample, found.eight_bit)
            known[key] = asdict(found)
            if self.digests.are_unchanged([case]):
                self._ledger.note(key, known[key])
        return [CaseFacts.from_dict(known[key]) for key in keys]

    def fit_preprocessing(
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
        case_keys = [self._key_of(case) for case in cases]
        key = key_of("fit", case_keys, image_size, channels, intensity, spacing)
        known = self._ledger.recall(key)
        if known:
            noted = Preprocessing.from_dict(known)
            return replace(noted, classes=classes, label_values=label_values)
        images = self._images_for_fit(cases, facts, intensity)
        fitted = Preprocessing.fit(images, image_size, channels, classes, label_values, intensity, spacing)
        scale = self.dataset.scale(cases) if fitted.intensity else None
        fitted = replace(fitted, scale=scale, orientation=self.orientation)
        if self.digests.are_unchanged(cases):
            self._ledger.note(key, fitted.to_dict())
        return fitted

    def read_tensors(self, cases: Sequence[Case], preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
        """Images [N, C, h, w] float32 and masks [N, h, w] int64 of cases, at least one; volumes have a D before h.

        Files are decoded and resized by several threads, each case by one.
        """
        decided = preprocessing.to_dict()
        keys = {}
        for case in cases:
            keys[case.id] = key_of("tensors", self._key_of(case), decided)

        def prepare(case: Case) -> Arrays:
            return self._prepare_case(keys[case.id], case, preprocessing)

        # The first case says how large the tensors are; from then on each is written to its place as it comes.
        images = torch.empty(0)
        masks = torch.empty(0, dtype=torch.int64)
        with one_thread_each():
            prepared = map_ahead(prepare, cases)
            if preprocessing.spatial_dims == 3:
                prepared = _pad_to_one_size(list(prepared), preprocessing.image_size)
            for index, arrays in enumerate(prepared):
                image, mask = arrays["image"], arrays["mask"]
                if index == 0:
                    images = torch.empty((len(cases), *image.shape))
                    masks = torch.empty((len(cases), *mask.shape), dtype=torch.int64)
                images.numpy()[index] = image
                masks.numpy()[index] = mask
                self._held.release(cases[index])
        return images, masks

    def _prepare_case(self, key: str, case: Case, preprocessing: Preprocessing) -> Arrays:
        """Preprocess a case, or take it from the cache."""
        entry = self._cache.get(key)
        if entry:
            return entry.arrays
        sample = self._take_sample(case)
        assert sample.mask is not None
        image = preprocessing.image(sample.image, sample.spacing).numpy()
        mask = preprocessing.mask(sample.mask, sample.spacing).numpy()
        if preprocessing.num_classes <= 256:
            mask = mask.astype(np.uint8)
        if self.digests.are_unchanged([case]):
            self._cache.put(key, image=image, mask=mask)
        return {"image": image, "mask": mask}

    def _images_for_fit(
        self, cases: Sequence[Case], facts: Sequence[CaseFacts], intensity: Intensity | None
    ) -> Iterator[np.ndarray]:
        """The images to fit on; where no percentiles are asked for, one pixel stands in for an 8-bit image."""
        needs_pixels = _asks_for_percentiles(facts, intensity)
        for case, one in zip(cases, facts, strict=True):
            if one.eight_bit and not needs_pixels:
                yield one.stand_in()
            else:
                yield self._take_sample(case).image

    def _key_of(self, case: Case) -> str:
        """The key of what a case holds: of its files' contents and all that decides how they are read."""
        if case.id not in self._keys:
            endings = []
            for path in files_of(case):
                extension = split_name(path.name)[1]
                endings.append("/" if path.is_dir() else extension.lower())
            contents = self.digests.hash_case(case).hex()
            self._keys[case.id] = key_of("case", self._code, self._reading, endings, self.orientation, contents)
        return self._keys[case.id]

    def _load_with_facts(self, case: Case) -> tuple[Sample, CaseFacts]:
        sample = self._load_sample(case)
        return sample, CaseFacts.of_sample(sample, len(self.dataset.classes))

    def _take_sample(self, case: Case) -> Sample:
        return self._held.get(case) or self._load_sample(case)

    def _load_sample(self, case: Case) -> Sample:
        stored = self.dataset.load(case)
        return stored.in_orientation(self.orientation)


def _describe_reading(dataset: Dataset) -> dict[str, str]:
    """All of a dataset that decides what is read of a file."""
    reading = {}
    for one in fields(dataset):
        if one.name not in NOT_IN_CACHE_KEY:
            reading[one.name] = repr(getattr(dataset, one.name))
    return reading


def _asks_for_percentiles(facts: Sequence[CaseFacts], intensity: Intensity | None) -> bool:
    """Whether `Preprocessing.fit` looks at the values of all images; where one of them is not 8-bit, it may."""
    if isinstance(intensity, tuple):
        return False
    if intensity in ("8-bit", None):
        return not all(one.eight_bit for one in facts)
    return True


def _pad_to_one_size(volumes: Sequence[Arrays], least: Sequence[int]) -> Iterator[Arrays]:
    """Bring volumes to one size, that of the largest along each axis and at least `least`.

    The darkest intensity is put around the images, and background around the masks.
    """
    size = np.array(least)
    for one in volumes:
        size = np.maximum(size, one["mask"].shape)
    for one in volumes:
        around = []
        for missing in size - one["mask"].shape:
            before = int(missing) // 2
            around.append((before, int(missing) - before))
        yield {
            "image": np.pad(one["image"], [(0, 0), *around], constant_values=-1),
            "mask": np.pad(one["mask"], around),
        }
