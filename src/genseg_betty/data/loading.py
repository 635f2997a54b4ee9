"""A config becomes the data of a run: checked, split, preprocessed and in memory."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from genseg_betty.data.cache import Cache
from genseg_betty.data.case import Case
from genseg_betty.data.cases import Dataset, describe, scan_dataset
from genseg_betty.data.check import split_or_note
from genseg_betty.data.files import Finding
from genseg_betty.data.fingerprint import Fingerprint, Settings, default_batch_size, fingerprint
from genseg_betty.data.formats import ImageError
from genseg_betty.data.prepared import CachedReader
from genseg_betty.data.preprocessing import Preprocessing, image_size_of
from genseg_betty.data.scale import require_comparable
from genseg_betty.data.splits import Splits, unseen_cases
from genseg_betty.errors import UserError

DatasetConfig = Callable[..., Mapping[str, Any]]  # (name, config_dir=) -> the keys of a dataset YAML


@dataclass
class Batch:
    """image [B, C, h, w] float32 in [-1, 1]; mask [B, h, w] int64 class indices; the case ids."""

    image: Tensor
    mask: Tensor
    ids: list[str]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return Batch(self.image.to(device), self.mask.to(device), self.ids)


@dataclass
class LabelledSet:
    """Preprocessed cases in memory: images [N, C, h, w] float32, masks [N, h, w] int64."""

    ids: list[str]
    images: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> "LabelledSet":
        """The same cases on another device."""
        return LabelledSet(self.ids, self.images.to(device), self.masks.to(device))

    def batch(self, indices: Tensor | list[int]) -> Batch:
        """The cases at these positions, in this order."""
        chosen = torch.as_tensor(indices, dtype=torch.long)
        return Batch(self.images[chosen], self.masks[chosen], [self.ids[index] for index in chosen.tolist()])


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


@dataclass(frozen=True)
class StepSampler:
    """Positions of the batch of any step: seeded permutations of 0..n-1 laid end to end, a pure function."""

    n: int
    batch_size: int
    seed: int

    def indices(self, step: int) -> Tensor:
        """[batch_size] int64 positions of step 0, 1, 2, ..."""
        first = step * self.batch_size
        epochs = range(first // self.n, (first + self.batch_size - 1) // self.n + 1)
        order = torch.cat([self._permutation(epoch) for epoch in epochs])
        start = first - epochs[0] * self.n
        return order[start : start + self.batch_size]

    def _permutation(self, epoch: int) -> Tensor:
        digest = hashlib.sha256(f"{self.seed}/{epoch}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        return torch.randperm(self.n, generator=generator)


def settings(config: DictConfig, data: DataBundle) -> Settings:
    """What a run uses: the config's, and what it leaves open as the fingerprint has it."""
    size, suits = data.preprocessing.image_size, data.fingerprint.defaults
    normalisation = config.dataset.get("intensity") or suits.normalisation
    return Settings(
        size,
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
    test = {dataset.name: (dataset, _by_id(dataset, splits.test))}
    for entry in _plain(config.get("ood")) or []:
        keys: dict[str, Any] = {"name": entry} if isinstance(entry, str) else entry
        try:
            yaml = _plain(dataset_config(keys["name"], config_dir=config.get("config_dir")))
            if yaml["name"] in test:
                raise UserError(f"{yaml['name']} is tested on already; name each dataset once")
            other, findings = scan_dataset({**yaml, **keys, "name": yaml["name"]})
            n_test = {**yaml, **keys}.get("n_test") or config.dataset.get("n_test")
            test[other.name] = (other, unseen_cases(other, dataset, splits, n_test, contents.values()))
            _require_usable(*test[other.name], dataset, findings, cache)
            _require_same_scale(*test[other.name], reader, splits)
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
    findings += reader.faults([*splits.train, *splits.validation, *splits.test])
    if findings:
        faults.append(describe(dataset, findings))
    return reader, splits


def _require_usable(
    dataset: Dataset, cases: list[Case], trained: Dataset, findings: list[Finding], cache: Cache
) -> None:
    """Refuse an OOD dataset that cannot be scored; `findings` are the faults of its pairing."""
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
    if not cases:
        raise UserError(f"{dataset.name}: every labelled case is trained or validated on; none is left to test on")


def _require_same_scale(dataset: Dataset, cases: list[Case], reader: CachedReader, splits: Splits) -> None:
    """Refuse an OOD dataset whose intensities do not compare with those trained on."""
    trained = _by_id(reader.dataset, splits.train)
    if not trained:  # its own faults are told
        return
    with suppress(ImageError):
        own, other = dataset.scale(cases), reader.dataset.scale(trained)
        try:
            require_comparable(own, other)
        except UserError as error:
            raise UserError(f"{dataset.name}: {error}") from error


def _bundle(
    reader: CachedReader,
    splits: Splits,
    contents: dict[str, str],
    test: dict[str, tuple[Dataset, list[Case]]],
    size: tuple[int, int] | None,
    config: DictConfig,
) -> DataBundle:
    dataset = reader.dataset
    train, validation = _by_id(dataset, splits.train), _by_id(dataset, splits.validation)
    used = train + validation
    facts = reader.facts(used)
    found = fingerprint(facts, [case.group for case in used], dataset.classes)
    if len(found.median) == 3:
        sides = " x ".join(map(str, found.median))
        raise UserError(
            f"{dataset.name} holds volumes (mostly {sides} voxels), and the networks of this version take images; "
            "export slices as pictures and train on them with dataset=folder dataset.group=… (a patient's slices "
            "belong together)"
        )
    size = size or image_size_of(found.defaults.image_size)
    intensity = _plain(config.get("intensity"))
    intensity = tuple(intensity) if isinstance(intensity, list) else intensity
    values = dataset.label_values_of(used)
    preprocessing = reader.fit(train, facts[: len(train)], size, config.get("channels"), intensity, values)
    sets = [
        LabelledSet([case.id for case in part], *reader.tensors(part, preprocessing)) for part in (train, validation)
    ]
    digest = hashlib.sha256()
    for case in used:
        digest.update(case.id.encode() + b"\0" + reader.digest(case))
    return DataBundle(preprocessing, sets[0], sets[1], dataset, splits, test, contents, digest.hexdigest(), found)


def _by_id(dataset: Dataset, ids: list[str]) -> list[Case]:
    chosen = set(ids)
    return [case for case in dataset.cases if case.id in chosen]


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
