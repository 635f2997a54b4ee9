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
from genseg_betty.data.inspect.check import split_or_note
from genseg_betty.data.inspect.class_counts import require_learnable
from genseg_betty.data.inspect.fingerprint import (
    Fingerprint,
    Settings,
    default_batch_size,
    fingerprint,
    fitting_patch,
    of_no_common_unit,
)
from genseg_betty.data.places import note_of_turned
from genseg_betty.data.preprocessing import Preprocessing, image_size_of
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding
from genseg_betty.data.splits import Splits, unseen_cases
from genseg_betty.errors import UserError

BLANK = 1e-5  # of the network's -1 to 1: the rounding of a resize, far below one of 256 levels

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


def settings(config: DictConfig, data: DataBundle) -> Settings:
    """What a run uses: the config's, and what it leaves open as the fingerprint has it."""
    size, suits = data.preprocessing.image_size, data.fingerprint.defaults
    fitting = suits.normalisation if data.preprocessing.intensity else "each"
    normalisation = config.dataset.get("intensity") or fitting
    return Settings(
        size,
        data.preprocessing.spacing,
        data.preprocessing.channels,
        config.trainer.batch_size or default_batch_size(size),
        suits.loss if config.trainer.loss == "auto" else config.trainer.loss,
        normalisation if isinstance(normalisation, str) else "window {:g} to {:g}".format(*normalisation),
    )


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
    bundle = _bundle(reader, splits, contents, test, size, config.dataset)
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


def _bundle(
    reader: CachedReader,
    splits: Splits,
    contents: dict[str, str],
    test: dict[str, tuple[Dataset, list[Case]]],
    size: tuple[int, ...] | None,
    config: DictConfig,
) -> DataBundle:
    dataset = reader.dataset
    train, validation = _by_id(dataset, splits.train), _by_id(dataset, splits.validation)
    used = train + validation
    facts = reader.facts(used)
    counts = [one.counts for one in facts]
    require_learnable(dataset, counts[: len(train)], counts[len(train) :])
    found = fingerprint(facts, [case.group for case in used], dataset.classes)
    suits = found.defaults
    intensity, spacing = (_as_tuple(_plain(config.get(key))) for key in ("intensity", "spacing"))
    if spacing and len(found.median) == 2:
        raise UserError(f"dataset.spacing is {list(spacing)}, and {dataset.name} holds images; expected null")
    spacing = spacing or suits.spacing
    fits = fitting_patch(facts, spacing) if len(found.median) == 3 else suits.image_size
    size = _fitting(size, fits, dataset, found.median)
    if intensity is None and of_no_common_unit(facts[: len(train)]):
        intensity = "each"
    values = dataset.label_values_of(used)
    preprocessing = reader.fit(train, facts[: len(train)], size, config.get("channels"), intensity, spacing, values)
    sets = []
    for part in (train, validation):
        images, masks = reader.tensors(part, preprocessing)
        patch = None if tuple(masks.shape[1:]) == size else size
        sets.append(LabelledSet([case.id for case in part], images, masks, patch))
    _require_contrast(sets[0], intensity)
    digests = {case.id: reader.digest(case) for case in used}
    whole = hashlib.sha256()
    for id, digest in digests.items():
        whole.update(id.encode() + b"\0" + digest)
    in_hex = {id: digest.hex() for id, digest in digests.items()}
    return DataBundle(
        preprocessing, sets[0], sets[1], dataset, splits, test, contents, whole.hexdigest(), found, in_hex
    )


def _require_contrast(train: LabelledSet, intensity: Any) -> None:
    """Refuse a window of intensities that makes the training images blank."""
    spread = float(train.images.max() - train.images.min())
    if isinstance(intensity, tuple) and spread < BLANK:
        raise UserError(
            f"dataset.intensity={list(intensity)}: all pixels of the training images lie beyond one end of this window "
            "and become the same; expected [low, high] in the units of the files, or null"
        )


def _fitting(
    size: tuple[int, ...] | None, suits: tuple[int, ...], dataset: Dataset, usual: tuple[int, ...]
) -> tuple[int, ...]:
    """The network's input: what suits, or what is asked for; of volumes one number is the most along each axis."""
    if size is None or len(size) == len(suits):
        return size or suits
    if len(suits) == 3 and size[0] == size[1]:
        return tuple(min(size[0], side) for side in suits)
    kind = "volumes" if len(suits) == 3 else "images"
    raise UserError(
        f"{dataset.name} holds {kind} (mostly {' x '.join(map(str, usual))}), and image_size is {list(size)}; expected "
        f"{len(suits)} numbers, as image_size={list(suits)}, or null for that"
    )


def _by_id(dataset: Dataset, ids: list[str]) -> list[Case]:
    chosen = set(ids)
    return [case for case in dataset.cases if case.id in chosen]


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
