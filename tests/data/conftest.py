"""Small datasets written to disk, and the dataset YAMLs as they are composed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf
from PIL import Image

CONF = Path(__file__).resolve().parents[2] / "conf" / "dataset"


@pytest.fixture
def dataset_yaml() -> Callable[..., DictConfig]:
    """The keys of conf/dataset/<name>.yaml with some of them replaced."""

    def load(name: str, /, **keys: Any) -> DictConfig:
        config = OmegaConf.merge(OmegaConf.load(CONF / f"{name}.yaml"), keys)
        assert isinstance(config, DictConfig)
        return config

    return load


@pytest.fixture
def write_pair() -> Callable[..., None]:
    """Write root/images/<name>.png, a gray blob on noise, and its mask root/masks/<name>.png in 0 and 255."""

    def write(root: Path, name: str, size: int = 40, seed: int | None = None) -> None:
        random = np.random.default_rng(sum(name.encode()) if seed is None else seed)
        rows, columns = np.indices((size, size))
        row, column = random.integers(size // 3, 2 * size // 3, 2)
        blob = (rows - row) ** 2 + (columns - column) ** 2 < (size / 5) ** 2
        image = random.integers(0, 100, (size, size)) + 150 * blob
        for folder, array in (("images", image), ("masks", 255 * blob)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(root / folder / f"{name}.png")

    return write


@pytest.fixture
def folder(tmp_path: Path, write_pair: Callable[..., None]) -> Path:
    """A sound dataset of twenty pairs, case00 to case19."""
    for index in range(20):
        write_pair(tmp_path / "data", f"case{index:02d}", seed=index)
    return tmp_path / "data"
