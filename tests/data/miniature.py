"""What a miniature of a published dataset is made of: tiny files, and what they are to be read as."""

import functools
import unicodedata
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from genseg_betty.config import load_dataset_config
from genseg_betty.data.cases import open_dataset

SIDE = 2048  # pixels of a raw JSRT image


@dataclass
class Miniature:
    """A published layout written below `root`, and what a reader should make of it."""

    root: Path
    truth: dict[str, np.ndarray] = field(default_factory=dict)  # foreground by case id, bool
    groups: dict[str, str] = field(default_factory=dict)  # by case id
    test: set[str] = field(default_factory=set)  # case ids of the published test part
    unlabelled: int = 0
    lossy: set[str] = field(default_factory=set)  # mask files of which the check should warn

    def image(self, path: str, id: str = "", group: str = "", test: bool = False, mode: str = "RGB") -> None:
        """Write noise; without an `id` the file is one that should not become a case."""
        shape = shape_of(id or path)
        noise = np.random.default_rng(zlib.crc32(path.encode())).integers(0, 256, (*shape, 3), np.uint8)
        if path.endswith(".nii.gz"):
            write_nifti(self._place(path), noise[:, :, 0])
        else:
            gray = "RGB" if mode == "RGB" else "L"
            Image.fromarray(noise).convert(gray).convert(mode).save(self._place(path), quality=90)
        if id:
            self.case(id, group, test)

    def case(self, id: str, group: str = "", test: bool = False) -> None:
        """Expect a case of that id, which is NFC whatever form its file's name has."""
        self.groups[unicodedata.normalize("NFC", id)] = group or unicodedata.normalize("NFC", id)
        if test:
            self.test.add(id)

    def mask(
        self,
        path: str,
        id: str,
        truth: np.ndarray,
        mode: str = "L",
        values: np.ndarray | None = None,
        quality: int = 95,
    ) -> None:
        """Write `values` (255 where the truth is, unless given); the truths of a case are united."""
        pixels = np.asarray(255 * truth if values is None else values, np.uint8)
        if path.endswith(".nii.gz"):
            write_nifti(self._place(path), pixels)
        else:
            Image.fromarray(pixels).convert(mode).save(self._place(path), quality=95)
        known = unicodedata.normalize("NFC", id)
        self.truth[known] = truth | self.truth.get(known, False)

    def volume(self, path: str, array: np.ndarray) -> None:
        """Write [D, H, W] with its own dtype."""
        write_nifti(self._place(path), array)

    def raw(self, path: str, id: str) -> None:
        """Write a JSRT radiograph; all but its first rows are a hole in the file."""
        rows = np.random.default_rng(zlib.crc32(id.encode())).integers(0, 4096, (4, SIDE)).astype(">u2")
        with self._place(path).open("wb") as file:
            file.write(rows.tobytes())
            file.truncate(2 * SIDE * SIDE)
        self.case(id)

    def text(self, *paths: str, content: str = "x") -> None:
        """Write files that are neither images nor masks."""
        for path in paths:
            self._place(path).write_text(content)

    def _place(self, path: str) -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


def shape_of(name: str) -> tuple[int, int]:
    """(H, W) that a name always has: never square, and not the same for all."""
    number = zlib.crc32(unicodedata.normalize("NFC", name).encode())
    return 26 + number % 5, 34 + number % 7


def blob(name: str, shape: tuple[int, ...] | None = None, salt: str = "") -> np.ndarray:
    """A filled ellipse, or ellipsoid, that a name always has; bool."""
    shape = shape or shape_of(name)
    random = np.random.default_rng(zlib.crc32(f"{unicodedata.normalize('NFC', name)}{salt}".encode()))
    inside = np.zeros(shape)
    for axis, (grid, side) in enumerate(zip(np.indices(shape), shape, strict=True)):
        centre, radius = side * random.uniform(0.35, 0.65), side * (0.2 + 0.05 * axis)
        inside += ((grid - centre) / radius) ** 2
    return inside < 1


def labels(name: str, classes: int, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """A blob cut across its last axis into the values 1 to `classes`, uint8."""
    drawn = blob(name, shape)
    bands = 1 + np.arange(drawn.shape[-1]) % classes
    return np.where(drawn, bands, 0).astype(np.uint8)


def write_nifti(path: Path, array: np.ndarray) -> None:
    """[H, W] or [D, H, W] as a tool that keeps x fastest writes it; an image has one slice."""
    stored = np.ascontiguousarray(array.T)
    nibabel.save(nibabel.Nifti1Image(stored.reshape((*stored.shape, 1)[:3]), np.eye(4)), path)


def config_of(name: str, root: Path, *keys: str) -> DictConfig:
    """As `genseg data` composes it; three labelled images, for miniatures hold few."""
    config = OmegaConf.merge(_composed(name, *keys), {"root": str(root)})
    assert isinstance(config, DictConfig)
    return config


@functools.cache
def _composed(name: str, *keys: str) -> DictConfig:
    return load_dataset_config(name, overrides=["n_labelled=3", *keys])


def assert_read_as_drawn(config: DictConfig, mini: Miniature) -> None:
    """Ids, groups, classes, test part, unlabelled images and every mask are those of the miniature."""
    dataset = open_dataset(config)
    assert {case.id: case.group for case in dataset.cases} == mini.groups
    assert dataset.classes == ("background", "foreground")
    assert set(dataset.own_split.get("test", dataset.published_test)) == mini.test
    assert len(dataset.unlabelled) == mini.unlabelled
    for case in dataset.cases:
        mask = dataset.load(case).mask
        assert mask is not None
        assert np.array_equal(mask, mini.truth[case.id]), case.id
