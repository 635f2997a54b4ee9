"""The cases of a training as nnU-Net's data set: the same images to learn from, to validate on and to test on.

Images keep the size of their files, for nnU-Net preprocesses them by a plan of its own; with `resize` they get the size
that the other methods see. Channels and orientation are those that the other methods see, alpha is dropped.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genseg_betty.data.intensities import match_channels
from genseg_betty.data.loading import DataBundle
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.data.resampling import resize as resample
from genseg_betty.data.source.case import Case, Sample
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.nnunet.raw_dataset import RawDataset, choose_form, find_kind, name_cases, name_dataset


@dataclass(frozen=True)
class ExportedCases:
    """What was written: the data set, and the names of its cases in it.

    `keys` has, for each image to validate and to test on, the name by `identify_image`.
    """

    dataset: RawDataset
    train: list[str]
    validation: list[str]
    test: list[str]
    keys: dict[str, str]


@dataclass(frozen=True)
class PreparedCase:
    """Pixels [*, C] as nnU-Net gets them, class indices [*], and the key of the image as predictors get it.

    `kind` is that of the image as stored: pixels that were resized, or are luma, are rounded to it.
    """

    key: str
    kind: np.dtype[Any]
    pixels: np.ndarray
    labels: np.ndarray
    spacing: tuple[float, ...] | None


def export_cases(data: DataBundle, root: Path, modality: str, resize: bool) -> ExportedCases:
    """Write all cases of a training below `root`, labels of those to learn from alone.

    Args:
        modality: of the images; with ct nnU-Net takes intensities for Hounsfield units.
        resize: bring images to the size of the other methods.
    """
    preprocessing = data.preprocessing
    learned = data.dataset.select_cases([*data.splits.train, *data.splits.validation])
    tested = [(dataset, case) for dataset, cases in data.test.values() for case in cases]
    ids = [(data.dataset.name, case.id) for case in learned]
    names = name_cases([*ids, *((dataset.name, case.id) for dataset, case in tested)])
    reader = CaseReader(preprocessing, resize)

    # One form for all files: that of the images to learn from. Test images are fitted to it.
    kinds = [reader.prepare_case(data.dataset, case).kind for case in learned]
    form = choose_form(kinds, preprocessing.channels, preprocessing.spatial_dims, modality)
    dataset = RawDataset(root, name_dataset(data.dataset.name), form, preprocessing.classes)

    keys: dict[str, str] = {}
    for case in learned:
        prepared = reader.prepare_case(data.dataset, case)
        name = names[data.dataset.name, case.id]
        dataset.write_pair(name, prepared.pixels, prepared.labels, prepared.spacing)
        keys[prepared.key] = name
    test = []
    for source, case in tested:
        prepared = reader.prepare_case(source, case)
        name = names[source.name, case.id]
        dataset.write_image(name, prepared.pixels, prepared.spacing)
        keys[prepared.key] = name
        test.append(name)

    train = [names[data.dataset.name, id] for id in data.splits.train]
    validation = [names[data.dataset.name, id] for id in data.splits.validation]
    dataset.describe_cases([*train, *validation])
    dataset.write_split(train, validation)
    return ExportedCases(dataset, train, validation, test, keys)


@dataclass(frozen=True)
class CaseReader:
    """Reads cases as nnU-Net gets them."""

    preprocessing: Preprocessing
    resize: bool

    def prepare_case(self, dataset: Dataset, case: Case) -> PreparedCase:
        """Read a case: in the units, the orientation and the channels of the training images."""
        preprocessing = self.preprocessing
        sample = dataset.load(case)
        image = preprocessing.in_units_of_training(sample.image, dataset.scale([case]))
        key = identify_image(image, sample.spacing, sample.affine)
        turned = Sample(image, sample.mask, sample.spacing, sample.affine).in_orientation(preprocessing.orientation)
        assert turned.mask is not None  # a Case is a labelled image
        planes = match_channels(torch.from_numpy(turned.image.astype(np.float32)), preprocessing.channels)
        labels = turned.mask
        if self.resize:
            planes = resample(planes, preprocessing.image_size)
            labels = preprocessing.mask(labels).numpy()
        pixels = planes.movedim(0, -1).numpy()
        return PreparedCase(key, find_kind(turned.image), pixels, labels, turned.spacing)


def identify_image(image: np.ndarray, spacing: Sequence[float] | None, affine: np.ndarray | None) -> str:
    """A digest of what a predictor is called with: the same arguments give the same mask."""
    parts: list[Any] = [np.ascontiguousarray(image, dtype=np.float32), np.array(image.shape)]
    parts += [np.array(spacing or ()), np.array(() if affine is None else affine)]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.tobytes())
    return digest.hexdigest()
