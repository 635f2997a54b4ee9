"""The data of a run: its labelled cases measured, preprocessed and in memory."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.data.batches import LabelledSet
from genseg_betty.data.cache.prepared import CachedReader
from genseg_betty.data.derived_settings import derive_settings
from genseg_betty.data.inspect.case_facts import CaseFacts
from genseg_betty.data.inspect.class_counts import require_learnable
from genseg_betty.data.inspect.default_settings import fitting_patch, needs_per_image_normalisation
from genseg_betty.data.inspect.fingerprint import Fingerprint, Settings, take_fingerprint
from genseg_betty.data.network_input import choose_image_size, require_contrast
from genseg_betty.data.preprocessing import Preprocessing, count_outputs
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.splits import Splits
from genseg_betty.data.unlabelled import UnlabelledSet
from genseg_betty.errors import UserError

TestSets = dict[str, tuple[Dataset, list[Case]]]  # by dataset name: what is tested on


@dataclass
class DataBundle:
    """All that a method needs: labelled sets in memory, test cases by dataset name, and how to read them."""

    preprocessing: Preprocessing
    train: LabelledSet
    validation: LabelledSet
    dataset: Dataset
    splits: Splits
    test: TestSets  # the dataset's own test part first, then the OOD datasets
    contents: dict[str, str]  # `fingerprints` of train, validation and unlabelled images
    sha256: str  # of the ids and contents of train and validation, masks too
    fingerprint: Fingerprint  # of train and validation
    settings: Settings  # in force: the config's, or the fingerprint's where the config leaves one open
    digests: dict[str, str]  # by id of train and validation: SHA-256 of the contents of image and masks
    unlabelled: UnlabelledSet | None = None  # None for methods that see no image without its mask

    @property
    def num_classes(self) -> int:
        """Number of classes, the background among them."""
        return self.preprocessing.num_classes

    @property
    def num_outputs(self) -> int:
        """Logits a pixel: 1 for binary (sigmoid), else one a class (softmax)."""
        return count_outputs(self.num_classes)

    @property
    def metric(self) -> str:
        """The dataset's metric, dice or jaccard."""
        return self.dataset.metric


def prepare_bundle(
    reader: CachedReader,
    splits: Splits,
    contents: dict[str, str],
    test: TestSets,
    size: tuple[int, ...] | None,
    config: DictConfig,
) -> DataBundle:
    """Measure the training and validation cases, decide how they are read, and read them; `size` may be asked for."""
    dataset = reader.dataset
    train = dataset.select_cases(splits.train)
    validation = dataset.select_cases(splits.validation)
    used = train + validation
    facts, measured = _measure_cases(reader, used, len(train))

    # Preprocessing is fitted on the training cases alone; the validation cases are read as they are.
    intensity = _choose_intensity(config.dataset, facts[: len(train)])
    preprocessing = _fit_preprocessing(
        reader, len(train), used, facts, measured, size=size, intensity=intensity, config=config.dataset
    )
    train_set = _read_set(reader, train, preprocessing)
    validation_set = _read_set(reader, validation, preprocessing)
    require_contrast(train_set, intensity)

    digests = {case.id: reader.digests.hash_case(case) for case in used}
    return DataBundle(
        preprocessing=preprocessing,
        train=train_set,
        validation=validation_set,
        dataset=dataset,
        splits=splits,
        test=test,
        contents=contents,
        sha256=_hash_digests(digests),
        fingerprint=measured,
        settings=derive_settings(config, preprocessing, measured),
        digests={id: digest.hex() for id, digest in digests.items()},
    )


def to_plain(value: Any) -> Any:
    """A value of a config as plain lists and dicts, interpolations resolved."""
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True)
    return value


def _measure_cases(reader: CachedReader, used: list[Case], n_train: int) -> tuple[list[CaseFacts], Fingerprint]:
    """What the cases hold, each by itself and together; the first `n_train` are trained on."""
    dataset = reader.dataset
    facts = reader.read_facts(used)
    counts = [one.counts for one in facts]
    require_learnable(dataset, counts[:n_train], counts[n_train:])
    groups = [case.group for case in used]
    return facts, take_fingerprint(facts, groups, dataset.classes)


def _fit_preprocessing(
    reader: CachedReader,
    n_train: int,
    used: list[Case],
    facts: list[CaseFacts],
    measured: Fingerprint,
    size: tuple[int, ...] | None,
    intensity: Any,
    config: DictConfig,
) -> Preprocessing:
    """Fit on the training cases, the first `n_train` of those that are used."""
    dataset = reader.dataset
    spacing = _choose_spacing(config, dataset, measured)
    return reader.fit_preprocessing(
        cases=used[:n_train],
        facts=facts[:n_train],
        image_size=_choose_size(size, spacing, dataset, facts, measured),
        channels=config.get("channels"),
        intensity=intensity,
        spacing=spacing,
        label_values=dataset.label_values_of(used),
    )


def _choose_spacing(config: DictConfig, dataset: Dataset, measured: Fingerprint) -> tuple[float, ...] | None:
    """The spacing that volumes are brought to: the config's, else the fingerprint's."""
    asked = _to_tuple(config.get("spacing"))
    holds_volumes = len(measured.median) == 3
    if asked and not holds_volumes:
        raise UserError(f"dataset.spacing is {list(asked)}, and {dataset.name} holds images; expected null")
    return asked or measured.defaults.spacing


def _choose_size(
    size: tuple[int, ...] | None,
    spacing: tuple[float, ...] | None,
    dataset: Dataset,
    facts: Sequence[CaseFacts],
    measured: Fingerprint,
) -> tuple[int, ...]:
    """The size of the network's input: `size`, or what suits the dataset."""
    fitting = measured.defaults.image_size
    if len(measured.median) == 3:
        fitting = fitting_patch(facts, spacing)
    return choose_image_size(size, fitting, dataset, measured.median)


def _choose_intensity(config: DictConfig, facts: Sequence[CaseFacts]) -> Any:
    """The intensity that the config asks for, or "each" where the training cases need it; None: as the files are."""
    asked = _to_tuple(config.get("intensity"))
    if asked is None and needs_per_image_normalisation(facts):
        return "each"
    return asked


def _read_set(reader: CachedReader, cases: list[Case], preprocessing: Preprocessing) -> LabelledSet:
    """Read cases into memory; volumes larger than the network's input are seen in patches of its size."""
    images, masks = reader.read_tensors(cases, preprocessing)
    ids = [case.id for case in cases]
    size = preprocessing.image_size
    is_whole = tuple(masks.shape[1:]) == size
    return LabelledSet(ids, images, masks, patch=None if is_whole else size)


def _hash_digests(digests: Mapping[str, bytes]) -> str:
    """SHA-256 of the case ids and the digests of their contents, in this order."""
    whole = hashlib.sha256()
    for id, digest in digests.items():
        whole.update(id.encode() + b"\0" + digest)
    return whole.hexdigest()


def _to_tuple(value: Any) -> Any:
    """A list of a config as a tuple; other values as they are."""
    plain = to_plain(value)
    return tuple(plain) if isinstance(plain, list) else plain
