"""A config becomes the data of a run: checked, split, preprocessed and in memory."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from genseg_betty.data.cases import Case, Dataset, Sample, describe, scan_dataset
from genseg_betty.data.check import faults_before_training, split_or_note
from genseg_betty.data.files import Finding
from genseg_betty.data.preprocessing import Preprocessing, image_size_of
from genseg_betty.data.splits import Splits, fingerprints, unseen_cases
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


def load_dataset_config(name: str, config_dir: str | None = None) -> Mapping[str, Any]:
    """The dataset YAML of that name, composed; `config_dir` is the user's own folder of configs."""
    from genseg_betty.config import load_dataset_config as load  # only OOD datasets need Hydra

    return load(name, config_dir=config_dir)


def load_data(config: DictConfig, dataset_config: DatasetConfig = load_dataset_config) -> DataBundle:
    """Open, check, split and read the dataset of a config and its OOD datasets.

    Reads config.dataset, .image_size, .seed, .config_dir and .ood: names, or mappings of a name and keys that
    replace the YAML's. Raises one UserError that tells every fault of every dataset.
    """
    size = image_size_of(_plain(config.image_size))
    faults: list[str] = []
    dataset, splits = _open(config, faults)
    used = _by_id(dataset, [*splits.train, *splits.validation])
    contents = {} if faults else fingerprints(dataset, used)
    test = {dataset.name: (dataset, _by_id(dataset, splits.test))}
    for entry in _plain(config.get("ood")) or []:
        keys: dict[str, Any] = {"name": entry} if isinstance(entry, str) else entry
        try:
            yaml = _plain(dataset_config(keys["name"], config_dir=config.get("config_dir")))
            if yaml["name"] in test:
                raise UserError(f"{yaml['name']} is tested on already; name each dataset once")
            other, findings = scan_dataset({**yaml, **keys, "name": yaml["name"]})
            n_test = keys.get("n_test") or config.dataset.get("n_test")
            test[other.name] = (other, unseen_cases(other, dataset, splits, n_test, contents.values()))
            _require_usable(*test[other.name], dataset, findings)
        except UserError as error:
            faults.append(f"ood: {error}")
    if faults:
        raise UserError("\n".join(faults))
    return _bundle(dataset, splits, contents, test, size, config.dataset.get("channels"))


def _open(config: DictConfig, faults: list[str]) -> tuple[Dataset, Splits]:
    """The dataset to train on; where it has faults they are noted, and it and its splits may be empty."""
    dataset, splits = Dataset.empty(config.dataset.name), Splits([], [], [])
    findings: list[Finding] = []
    try:
        dataset, findings = scan_dataset(config.dataset)
        splits = split_or_note(dataset, config.dataset, config.seed, findings)
    except UserError as error:
        faults.append(str(error))
    findings += faults_before_training(dataset, [*splits.train, *splits.validation, *splits.test])
    if findings:
        faults.append(describe(dataset, findings))
    return dataset, splits


def _require_usable(dataset: Dataset, cases: list[Case], trained: Dataset, findings: list[Finding]) -> None:
    """Refuse an OOD dataset that cannot be scored; `findings` are the faults of its pairing."""
    if trained.cases and len(dataset.classes) != len(trained.classes):
        raise UserError(
            f"{dataset.name} has the classes {', '.join(dataset.classes)}, {trained.name} has "
            f"{', '.join(trained.classes)}; expected as many, merge some with the dataset's `foreground`"
        )
    findings += faults_before_training(dataset, [case.id for case in cases])
    if findings:
        raise UserError(describe(dataset, findings))
    if not cases:
        raise UserError(f"{dataset.name}: every labelled case is trained or validated on; none is left to test on")


def _bundle(
    dataset: Dataset,
    splits: Splits,
    contents: dict[str, str],
    test: dict[str, tuple[Dataset, list[Case]]],
    size: tuple[int, int],
    channels: int | None,
) -> DataBundle:
    cases = {"train": _by_id(dataset, splits.train), "validation": _by_id(dataset, splits.validation)}
    samples = {part: [dataset.load(case) for case in chosen] for part, chosen in cases.items()}
    used = cases["train"] + cases["validation"]
    preprocessing = Preprocessing.fit(
        [sample.image for sample in samples["train"]],
        size,
        channels,
        dataset.classes,
        dataset.label_values_of(used),
    )
    sets = {part: _labelled_set(cases[part], samples[part], preprocessing) for part in cases}
    digest = hashlib.sha256()
    for case in used:
        digest.update(case.id.encode() + b"\0" + dataset.digest(case))
    labelled = sets["train"], sets["validation"]
    return DataBundle(preprocessing, *labelled, dataset, splits, test, contents, digest.hexdigest())


def _labelled_set(cases: list[Case], samples: list[Sample], preprocessing: Preprocessing) -> LabelledSet:
    masks = [sample.mask for sample in samples if sample.mask is not None]
    return LabelledSet(
        [case.id for case in cases],
        torch.stack([preprocessing.image(sample.image) for sample in samples]),
        torch.stack([preprocessing.mask(mask) for mask in masks]),
    )


def _by_id(dataset: Dataset, ids: list[str]) -> list[Case]:
    chosen = set(ids)
    return [case for case in dataset.cases if case.id in chosen]


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
