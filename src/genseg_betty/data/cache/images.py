"""Images without masks as the network sees them: read from their files, or from the cache what was read before."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genseg_betty.data.cache.case_digests import CaseDigests
from genseg_betty.data.cache.ledger import code_version
from genseg_betty.data.cache.store import Cache, key_of
from genseg_betty.data.cache.threads import map_ahead, one_thread_each
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.errors import UserError

BLACK = -1.0  # of a preprocessed image


@dataclass
class ImageReader:
    """Reads the images of cases without masks. What it returns is the same to the bit with any cache or none.

    Args:
        dataset: how they are read.
        cache: what was read before.
        digests: of the images, which were hashed before.
        contents: these hashes by id.
        orientation: what images are brought to; None: as they are stored.
        rescales: whether they may have another black and white than the images trained on.
    """

    dataset: Dataset
    cache: Cache
    digests: CaseDigests
    contents: Mapping[str, str]
    orientation: str | None = None
    rescales: bool = False

    def read_tensors(self, cases: Sequence[Case], preprocessing: Preprocessing) -> Tensor:
        """Images [N, C, h, w] float32 of cases, at least one; volumes, all of the largest one's size, have a D."""

        def prepare(case: Case) -> np.ndarray:
            return self._prepare_image(case, preprocessing)

        size = np.array(preprocessing.image_size)
        with one_thread_each():
            images: Iterable[np.ndarray] = map_ahead(prepare, cases)
            if preprocessing.spatial_dims == 3:
                images = list(images)
                for image in images:
                    size = np.maximum(size, image.shape[1:])
            whole = torch.full((len(cases), preprocessing.channels, *size.tolist()), BLACK)
            for index, image in enumerate(images):
                place = _place_within(size, image.shape[1:])
                whole.numpy()[index][tuple(place)] = image
        return whole

    def _prepare_image(self, case: Case, preprocessing: Preprocessing) -> np.ndarray:
        """Preprocess an image, or take it from the cache."""
        content = self.contents[case.id]
        reading = (code_version(), self.dataset.range, self.orientation, self.rescales, case.image.suffix.lower())
        key = key_of("image", content, *reading, preprocessing.to_dict())
        entry = self.cache.get(key)
        if entry:
            return entry.arrays["image"]
        sample = self.dataset.load_image(case).in_orientation(self.orientation)
        try:
            values = sample.image
            if self.rescales:
                values = preprocessing.in_units_of_training(values, self.dataset.scale([case]))
            image = preprocessing.image(values, sample.spacing).numpy()
        except UserError as error:
            raise UserError(f"{case.image}: {error}") from error
        if self.digests.are_unchanged([case]):
            self.cache.put(key, image=image)
        return image


def _place_within(size: np.ndarray, shape: Sequence[int]) -> list[slice]:
    """Where an image of this shape lies in the middle of `size`, its channels first."""
    place = [slice(None)]
    for side, own in zip(size.tolist(), shape, strict=True):
        before = (side - own) // 2
        place.append(slice(before, before + own))
    return place
