"""Folders of images and masks as datasets to score on: where they lie, and what the values of their masks mean."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from genseg_betty.config import load_dataset_config
from genseg_betty.data.formats import ImageError, read_mask
from genseg_betty.data.source.building import build_from_files
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.groups import case_ids
from genseg_betty.data.source.labels import LabelMap, present_values
from genseg_betty.data.source.pairing import Pairing
from genseg_betty.data.source.tree import Tree
from genseg_betty.errors import UserError

LABEL_KEYS = ("labels", "classes", "threshold", "foreground", "range")  # how a dataset's masks are read
MOST_CLASSES = 64
"""Values of undeclared masks that may each be a class; more are no labels."""


def require_folders(folders: Iterable[Path], expected: str) -> None:
    """Raise UserError where a folder is not there."""
    missing = [str(Path(folder).resolve()) for folder in folders if not Path(folder).is_dir()]
    if missing:
        raise UserError(f"No such folder: {' and '.join(missing)}; expected {expected}.")


def compose_folders(
    images: Path, masks: Path, keys: Sequence[str] = (), labelled_as: Mapping[str, Any] | DictConfig | None = None
) -> DictConfig:
    """The config of `dataset=folder` for images in one folder and masks of the same stems in another.

    Args:
        keys: of that dataset, such as "labels={background: 0, ulcer: 1}".
        labelled_as: the config of a dataset whose labels the masks have.

    Raises:
        UserError: a folder is not there, or a key is wrong.
    """
    require_folders([images, masks], "one of images and one of masks")
    folders = [Path(images).resolve(), Path(masks).resolve()]
    root = Path(os.path.commonpath(folders))
    image_folder, mask_folder = (folder.relative_to(root) for folder in folders)
    config = load_dataset_config("folder", root=root, overrides=keys)
    config.images = _move_patterns(config.images, "images/", image_folder)
    config.masks = _move_patterns(config.masks, "masks/", mask_folder)
    if labelled_as is not None:
        for key in LABEL_KEYS:
            config[key] = labelled_as.get(key)
    return config


def open_masks(masks: Path, keys: Sequence[str] = ()) -> Dataset:
    """The dataset of masks whose images are not known: each is its own image. Raises UserError without any mask."""
    root = Path(masks).resolve()
    config = load_dataset_config("folder", root=root, overrides=keys)
    tree = Tree(root, ["*.*"])
    names = tree.match("*.*")
    ids = case_ids(names)
    cases = []
    for name in names:
        file, id = tree.files[name], ids[name]
        cases.append(Case(id, file, (file,), id, config.name))
    if not cases:
        raise UserError(f"{root} holds no mask; expected files of an image format")
    empty = build_from_files(root, config, Pairing(tree))
    return replace(empty, cases=sorted(cases, key=lambda case: case.id))


def name_classes(dataset: Dataset) -> Dataset:
    """The dataset with a class for each value of its masks, where no labels are declared and they are not binary.

    The lowest value is the background, and each other class is named by its value.
    """
    if dataset.labels.lookup is not None or dataset.labels.threshold is not None:
        return dataset
    found: set[int] = set()
    is_binary = True
    for case in dataset.cases:
        for path in case.masks:
            try:
                values = read_mask(path)
                found |= present_values(values)
                dataset.labels.decode(values)
            except ImageError as error:
                is_binary = is_binary and error.code != "unexpected_label"
    if is_binary or len(found) > MOST_CLASSES:
        return dataset
    background, *others = sorted(found)
    labels = {"background": background} | {str(value): value for value in others}
    return replace(dataset, labels=LabelMap.declared(labels, None))


def _move_patterns(patterns: Iterable[str], folder: str, other: Path) -> list[str]:
    """The same file name patterns in another folder."""
    return [pattern.replace(folder, f"{other.as_posix()}/", 1) for pattern in patterns]
