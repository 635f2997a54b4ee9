"""Datasets with a folder for each patient or each part: which keys read them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from genseg_betty.data.formats import EXTENSIONS, split_name
from genseg_betty.errors import UserError
from genseg_betty.faults import list_examples

MAX_ENTRIES = 1000  # of a folder that are looked at
OF_FOLDER = "dataset.group=\"'^([^/]+)/'\" beside it, if each folder is a patient"


def repeat_layout(fitting: Sequence[Path], config: Mapping[str, Any]) -> str:
    """The keys that read several folders, each of which holds what the patterns expect below the root."""
    images = []
    for pattern in config["images"]:
        if not pattern.endswith("/"):
            images.append(f"*/{pattern}")
    masks = [f"{{dir}}/../{pattern}" for pattern in config["masks"]]
    keys = _write_keys(images, masks)
    return (
        f"{_list_names(fitting)} in it each hold such folders: take all of them with {keys} ({OF_FOLDER}), "
        f"or one with dataset.root={fitting[0]}"
    )


def find_folders_of_images(root: Path, images: str, masks: str) -> str:
    """The keys for images/P1/a.png with masks/P1/a.png or masks/a.png; "" where the images lie otherwise."""
    folders = []
    for path in list_entries(root / images):
        if path.is_dir() and list_pictures(path):
            folders.append(path)
    if not folders or list_pictures(root / images):
        return ""
    nested = all((root / masks / folder.name).is_dir() for folder in folders)
    mask = "{group}/{stem}.*" if nested else "{stem}.*"
    keys = _write_keys(
        [f"{images}/*/*.*"],
        [f"{masks}/{mask}"],
    )
    group = f"dataset.group=\"'{images}/([^/]+)/'\""
    found = _list_names(folders, f"{images}/")
    return f"images lie one folder deeper ({found}): {keys} {group}"


def find_folder_of_each_case(root: Path, is_mask_name: Callable[[str], bool]) -> str:
    """The keys for P1/image.png with P1/mask.png, P2/image.png with P2/mask.png; "" where names differ."""
    folders = [path for path in list_entries(root) if path.is_dir()]
    contents = {_list_stems(folder) for folder in folders}
    if len(contents) != 1 or len(folders) < 2:
        return ""
    images: list[str] = []
    masks: list[str] = []
    for stem in contents.pop():
        stems = masks if is_mask_name(stem) else images
        stems.append(stem)
    if len(masks) != 1 or len(images) != 1:
        return ""
    image, mask = images[0], masks[0]
    keys = _write_keys(
        [f"*/{image}.*"],
        [f"{{dir}}/{mask}.*"],
    )
    return f"{_list_names(folders)} each hold {image} and {mask}: {keys}"


def list_pictures(folder: Path) -> list[str]:
    """The names of the files that some reader reads."""
    names = [path.name for path in list_entries(folder)]
    return [name for name in names if name.lower().endswith(EXTENSIONS)]


def list_entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, hidden files left out; of very many the first. Raises UserError."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from error
    shown = [path for path in entries if not path.name.startswith(".")]
    return shown[:MAX_ENTRIES]


def _list_stems(folder: Path) -> frozenset[str]:
    """The names of the pictures in a folder, without their endings."""
    stems = set()
    for name in list_pictures(folder):
        stem, _ = split_name(name)
        stems.add(stem)
    return frozenset(stems)


def _list_names(folders: Sequence[Path], before: str = "") -> str:
    """The first few folders by name, each with `before` in front and a slash behind."""
    return list_examples([f"{before}{folder.name}/" for folder in folders])


def _write_keys(images: Sequence[str], masks: Sequence[str]) -> str:
    return f'dataset.images="{list(images)}" dataset.masks="{list(masks)}"'
