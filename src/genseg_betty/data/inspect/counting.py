"""What a training asks of its data before anything large is imported: are they there, and how many are labelled."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.config import load_dataset_config
from genseg_betty.data.cases import require_root, scan_dataset
from genseg_betty.data.splits import make_splits
from genseg_betty.errors import UserError


def require_dataset_folders(config: DictConfig) -> None:
    """Raise one UserError that names every dataset of a training's config whose folder is not there."""
    faults = [fault for _, fault in find_missing_datasets(config)]
    if faults:
        raise UserError("\n".join(faults))


def find_missing_datasets(config: DictConfig) -> list[tuple[str | None, str]]:
    """What is wrong with each dataset of a training's config whose folder is not there.

    Its name comes before, None of the one that is trained on.
    """
    missing: list[tuple[str | None, str]] = []
    for name, dataset in _list_datasets(config):
        try:
            require_root(dataset)
        except UserError as error:
            title = "ood: " if name else ""
            missing.append((name, f"{title}{error}"))
    return missing


def count_labelled(dataset: DictConfig) -> int:
    """The labelled images, training and validation, that a dataset's keys stand for. Raises UserError as reading does.

    No pixel is decoded. The number depends on no seed.
    """
    opened, _ = scan_dataset(dataset)
    splits = make_splits(opened, dataset.get("n_labelled"), dataset.get("n_test"), seed=0)
    return len(splits.train) + len(splits.validation)


def _list_datasets(config: DictConfig) -> Iterator[tuple[str | None, Any]]:
    """The dataset that is trained on, and those that are tested on as well with their names."""
    yield None, config.dataset
    entries: Any = OmegaConf.to_container(config.ood, resolve=True)
    for entry in entries or ():
        keys = {"name": entry} if isinstance(entry, str) else entry
        yaml = load_dataset_config(keys["name"], config_dir=config.get("config_dir"))
        defaults: Any = OmegaConf.to_container(yaml, resolve=True)
        yield str(keys["name"]), {**defaults, **keys}
