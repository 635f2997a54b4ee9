"""A config becomes the data of a run: checked, split, preprocessed and in memory."""

from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig

from genseg_betty.data.bundle import DataBundle, TestSets, prepare_bundle, to_plain
from genseg_betty.data.cache.prepared import CachedReader
from genseg_betty.data.cache.store import Cache
from genseg_betty.data.cases import describe_findings, scan_dataset
from genseg_betty.data.inspect.check import split_or_note
from genseg_betty.data.ood import Training, add_ood_dataset, note_turned_cases
from genseg_betty.data.preprocessing import image_size_of
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding
from genseg_betty.data.splits import Splits
from genseg_betty.data.unlabelled_images import add_unlabelled
from genseg_betty.errors import UserError

__all__ = ["DataBundle", "load_data", "load_dataset_config"]

DatasetConfig = Callable[..., Mapping[str, Any]]  # (name, config_dir=) -> the keys of a dataset YAML


def load_dataset_config(name: str, config_dir: str | None = None) -> Mapping[str, Any]:
    """The dataset YAML of that name, composed; `config_dir` is the user's own folder of configs."""
    from genseg_betty.config import load_dataset_config as load  # only OOD datasets need Hydra

    return load(name, config_dir=config_dir)


def load_data(
    config: DictConfig, dataset_config: DatasetConfig = load_dataset_config, reads_unlabelled: bool = False
) -> DataBundle:
    """Open, check, split and read the dataset of a config and its OOD datasets, through the cache (see `Cache`).

    Reads config.dataset, .image_size (null: by the fingerprint), .seed, .config_dir and .ood: names, or mappings of
    a name and keys that replace the YAML's; with `reads_unlabelled` .unlabelled too, the images without masks of a
    semi-supervised method. Raises one UserError that tells every fault of every dataset.
    """
    size = None
    if config.image_size is not None:
        size = image_size_of(to_plain(config.image_size))
    cache = Cache.from_environment()
    faults: list[str] = []
    reader, splits = _open_dataset(config, cache, faults)
    dataset = reader.dataset
    contents = {}
    if not faults:
        learned = dataset.select_cases([*splits.train, *splits.validation])
        contents = reader.digests.hash_images(learned)

    # The dataset's own test part comes first, then the OOD datasets.
    test: TestSets = {}
    if splits.test:
        test[dataset.name] = (dataset, dataset.select_cases(splits.test))
    trained = Training(reader, splits, contents, config.dataset)
    faults += _add_ood_datasets(config, dataset_config, trained, cache, test)
    if faults:
        raise UserError("\n".join(faults))

    bundle = prepare_bundle(reader, splits, contents, test, size=size, config=config)
    if reads_unlabelled:
        add_unlabelled(bundle, reader, cache, config)
    reader.save()
    cache.trim()
    return bundle


def _open_dataset(config: DictConfig, cache: Cache, faults: list[str]) -> tuple[CachedReader, Splits]:
    """The dataset to train on; where it has faults they are noted, and it and its splits may be empty."""
    dataset = Dataset.empty(config.dataset.name)
    splits = Splits([], [], [])
    findings: list[Finding] = []
    try:
        dataset, findings = scan_dataset(config.dataset)
        splits = split_or_note(dataset, config.dataset, config.seed, findings)
    except UserError as error:
        faults.append(str(error))

    # The pairs may fit together and their files be damaged: those that are used are looked into.
    reader = CachedReader(dataset, cache)
    used = [*splits.train, *splits.validation, *splits.test]
    findings += reader.find_faults(used)
    if findings:
        faults.append(describe_findings(dataset, findings))

    # All cases are turned to the orientation that most of the training cases have.
    reader.orientation = reader.places.usual(splits.train)
    dataset.notes += reader.places.notes()
    dataset.notes += note_turned_cases(reader, used, reader.orientation)
    return reader, splits


def _add_ood_datasets(
    config: DictConfig, dataset_config: DatasetConfig, trained: Training, cache: Cache, test: TestSets
) -> list[str]:
    """Add the datasets of config.ood to what is tested on. Returns what is wrong with them."""
    faults = []
    for entry in to_plain(config.get("ood")) or []:
        try:
            ood_config = _compose_ood(entry, dataset_config, config.get("config_dir"))
            add_ood_dataset(ood_config, trained, cache, test)
        except UserError as error:
            faults.append(f"ood: {error}")
    return faults


def _compose_ood(
    entry: str | Mapping[str, Any], dataset_config: DatasetConfig, config_dir: str | None
) -> dict[str, Any]:
    """The keys of an OOD dataset: those of its YAML, with what the entry puts in their place."""
    keys: Mapping[str, Any] = {"name": entry} if isinstance(entry, str) else entry
    yaml = to_plain(dataset_config(keys["name"], config_dir=config_dir))
    return {**yaml, **keys, "name": yaml["name"]}
