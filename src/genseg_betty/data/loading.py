"""A config becomes the data of a run: checked, split, preprocessed and in memory."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.data.batches import LabelledSet
from genseg_betty.data.cache.prepared import CachedReader
from genseg_betty.data.cache.store import Cache
from genseg_betty.data.cases import describe, scan_dataset
from genseg_betty.data.comparable import require_alike
from genseg_betty.data.derived_settings import derive_settings
from genseg_betty.data.inspect.case_facts import CaseFacts
from genseg_betty.data.inspect.check import split_or_note
from genseg_betty.data.inspect.class_counts import require_learnable
from genseg_betty.data.inspect.default_settings import fitting_patch, needs_per_image_normalisation
from genseg_betty.data.inspect.fingerprint import Fingerprint, Settings, take_fingerprint
from genseg_betty.data.network_input import choose_image_size, require_contrast
from genseg_betty.data.places import note_of_turned
from genseg_betty.data.preprocessing import Preprocessing, image_size_of
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding
from genseg_betty.data.splits import Splits, unseen_cases
from genseg_betty.errors import UserError

DatasetConfig = Callable[..., Mapping[str, Any]]  # (name, config_dir=) -> the keys of a dataset YAML


@dataclass
class DataBundle:
    """All that a method needs: labelled sets in memory, test cases by dataset name, and how to read them."""

    preprocessing: Preprocessing
    train: LabelledSet
    validation: LabelledSet
    dataset: Dataset
    splits: Splits
    test: dict[str, tuple[Dataset, list[Case]]]  # the dataset's own test part first, then the OOD datasets
    contents: dict[str, str]  # `fingerprints` of train and validation
    sha256: str  # of the ids and contents of train and validation, masks too
    fingerprint: Fingerprint  # of train and validation
    settings: Settings  # in force: the config's, or the fingerprint's where the config leaves one open
    digests: dict[str, str]  # by id of train and validation: SHA-256 of the contents of image and masks

    @property
    def num_classes(self) -> int:
        """Number of classes, the background among them."""
        return self.preprocessing.num_classes

    @property
    def num_outputs(self) -> int:
        """Logits a pixel: 1 for binary (sigmoid), else one a class (softmax)."""
        return 1 if self.num_classes == 2 else self.num_classes

    @property
    def metric(self) -> str:
        """The dataset's metric, dice or jaccard."""
        return self.dataset.metric


def load_dataset_config(name: str, config_dir: str | None = None) -> Mapping[str, Any]:
    """The dataset YAML of that name, composed; `config_dir` is the user's own folder of configs."""
    from genseg_betty.config import load_dataset_config as load  # only OOD datasets need Hydra

    return load(name, config_dir=config_dir)


def load_data(config: DictConfig, dataset_config: DatasetConfig = load_dataset_config) -> DataBundle:
    """Open, check, split and read the dataset of a config and its OOD datasets, through the cache (see `Cache`).

    Reads config.dataset, .image_size (null: by the fingerprint), .seed, .config_dir and .ood: names, or mappings of
    a name and keys that replace the YAML's. Raises one UserError that tells every fault of every dataset.
    """
    size = None if config.image_size is None else image_size_of(_plain(config.image_size))
    cache = Cache.from_environment()
    faults: list[str] = []
    reader, splits = _open(config, cache, faults)
    dataset = reader.dataset
    contents = {} if faults else reader.contents(_by_id(dataset, [*splits.train, *splits.validation]))
    test = {dataset.name: (dataset, _by_id(dataset, splits.test))} if splits.test else {}
    for entry in _plain(config.get("ood")) or []:
        keys: dict[str, Any] = {"name": entry} if isinstance(entry, str) else entry
        try:
            yaml = _plain(dataset_config(keys["name"], config_dir=config.get("config_dir")))
            if yaml["name"] in (*test, dataset.name):
                raise UserError(f"{yaml['name']} is tested on already; name each dataset once")
            other, findings = scan_dataset({**yaml, **keys, "name": yaml["name"]})
            n_test = {**yaml, **keys}.get("n_test") or config.dataset.get("n_test") or None
            test[other.name] = (other, unseen_cases(other, dataset, splits, n_test, contents.values()))
            _require_usable(*test[other.name], reader, findings, cache)
            in_units = config.dataset.get("intensity") != "each"
            require_alike(*test[other.name], dataset, _by_id(dataset, splits.train), in_units)
        except UserError as error:
            faults.append(f"ood: {error}")
    if faults:
        raise UserError("\n".join(faults))
    bundle = _prepare_bundle(reader, splits, contents, test, size, config)
    reader.save()
    cache.trim()
    return bundle


def _open(config: DictConfig, cache: Cache, faults: list[str]) -> tuple[CachedReader, Splits]:
    """The dataset to train on; where it has faults they are noted, and it and its splits may be empty."""
    dataset, splits = Dataset.empty(config.dataset.name), Splits([], [], [])
    findings: list[Finding] = []
    try:
        dataset, findings = scan_dataset(config.dataset)
        splits = split_or_note(dataset, config.dataset, config.seed, findings)
    except UserError as error:
        faults.append(str(error))
    reader = CachedReader(dataset, cache)
    used = [*splits.train, *splits.validation, *splits.test]
    findings += reader.faults(used)
    if findings:
        faults.append(describe(dataset, findings))
    reader.orientation = reader.places.usual(splits.train)
    dataset.notes += [*reader.places.notes(), *_note_of_turned(reader, used, reader.orientation)]
    return reader, splits


def _note_of_turned(reader: CachedReader, ids: Sequence[str], wanted: str | None) -> list[str]:
    return note_of_turned(reader.dataset.name, [reader.places.orientations.get(id) for id in ids], wanted)


def _require_usable(
    dataset: Dataset, cases: list[Case], trained_on: CachedReader, findings: list[Finding], cache: Cache
) -> None:
    """Refuse an OOD dataset that cannot be scored; `findings` are the faults of its pairing."""
    trained = trained_on.dataset
    same = len(dataset.classes) == len(trained.classes) == 2 or dataset.classes == trained.classes
    if trained.cases and not same:
        raise UserError(
            f"{dataset.name} has the classes {', '.join(dataset.classes)}, {trained.name} has "
            f"{', '.join(trained.classes)}; expected the same in their order (of two, any), declare or merge them with "
            "the dataset's `labels` and `foreground`"
        )
    reader = CachedReader(dataset, cache)
    findings += reader.faults([case.id for case in cases])
    if findings:
        raise UserError(describe(dataset, findings))
    reader.save()
    trained.notes += [f"{dataset.name}: {note}" for note in reader.places.notes()]
    trained.notes += _note_of_turned(reader, [case.id for case in cases], trained_on.orientation)
    if not cases:
        raise UserError(f"{dataset.name}: every labelled case is trained or validated on; none is left to test on")


def _prepare_bundle(
    reader: CachedReader,
    splits: Splits,
    contents: dict[str, str],
    test: dict[str, tuple[Dataset, list[Case]]],
    size: tuple[int, ...] | None,
    config: DictConfig,
) -> DataBundle:
    """Measure the training and validation cases, decide how they are read, and read them."""
    dataset = reader.dataset
    train, validation = _by_id(dataset, splits.train), _by_id(dataset, splits.validation)
    used = train + validation
    facts = reader.facts(used)
    counts = [one.counts for one in facts]
    require_learnable(dataset, counts[: len(train)], counts[len(train) :])
    groups = [case.group for case in used]
    measured = take_fingerprint(facts, groups, dataset.classes)

    preprocessing, intensity = _fit_preprocessing(reader, train, used, facts, measured, size, config.dataset)
    train_set = _read_set(reader, train, preprocessing)
    validation_set = _read_set(reader, validation, preprocessing)
    require_contrast(train_set, intensity)

    digests = {case.id: reader.digest(case) for case in used}
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


def _fit_preprocessing(
    reader: CachedReader,
    train: list[Case],
    used: list[Case],
    facts: list[CaseFacts],
    measured: Fingerprint,
    size: tuple[int, ...] | None,
    config: DictConfig,
) -> tuple[Preprocessing, Any]:
    """Return the preprocessing, and the intensity that it was asked for; `facts` are of the cases `used`."""
    dataset = reader.dataset
    of_train = facts[: len(train)]
    intensity = _as_tuple(_plain(config.get("intensity")))
    spacing = _as_tuple(_plain(config.get("spacing")))
    holds_volumes = len(measured.median) == 3
    if spacing and not holds_volumes:
        raise UserError(f"dataset.spacing is {list(spacing)}, and {dataset.name} holds images; expected null")
    spacing = spacing or measured.defaults.spacing
    fitting = fitting_patch(facts, spacing) if holds_volumes else measured.defaults.image_size
    size = choose_image_size(size, fitting, dataset, measured.median)
    if intensity is None and needs_per_image_normalisation(of_train):
        intensity = "each"
    label_values = dataset.label_values_of(used)
    fitted = reader.fit(train, of_train, size, config.get("channels"), intensity, spacing, label_values)
    return fitted, intensity


def _read_set(reader: CachedReader, cases: list[Case], preprocessing: Preprocessing) -> LabelledSet:
    """Read cases into memory; volumes larger than the network's input are seen in patches of its size."""
    images, masks = reader.tensors(cases, preprocessing)
    size = preprocessing.image_size
    patch = None if tuple(masks.shape[1:]) == size else size
    return LabelledSet([case.id for case in cases], images, masks, patch)


def _hash_digests(digests: Mapping[str, bytes]) -> str:
    """SHA-256 of the case ids and the digests of their contents, in this order."""
    whole = hashlib.sha256()
    for id, digest in digests.items():
        whole.update(id.encode() + b"\0" + digest)
    return whole.hexdigest()


def _by_id(dataset: Dataset, ids: list[str]) -> list[Case]:
    chosen = set(ids)
    return [case for case in dataset.cases if case.id in chosen]


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
