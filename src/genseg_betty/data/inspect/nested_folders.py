"""Datasets with a folder for each patient or each part: which keys read them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from genseg_betty.data.formats import EXTENSIONS, split_name
from genseg_betty.errors import UserError
from genseg_betty.faults import list_examples

MAX_ENTRIES = 1000  # of a folder that are looked at
OF_FOLDER = "dataset.group=\"'^([^/]+)/'\" beside it, if each folder is a patient"


def repeated_layout(fitting: Sequence[Path], config: Mapping[str, Any]) -> str:
    """The keys that read several folders, each of which holds what the patterns expect below the root."""
    images = [f"*/{pattern}" for pattern in config["images"] if not pattern.endswith("/")]
    masks = [f"{{dir}}/../{pattern}" for pattern in config["masks"]]
    return (
        f"{list_examples([f'{path.name}/' for path in fitting])} in it each hold such folders: take all of them with "
        f"{_keys(images, masks)} ({OF_FOLDER}), or one with dataset.root={fitting[0]}"
    )


def folders_of_images(root: Path, images: str, masks: str) -> str:
    """The keys for images/P1/a.png with masks/P1/a.png or masks/a.png; "" where the images lie otherwise."""
    inside = [path.name for path in list_entries(root / images) if path.is_dir() and list_pictures(path)]
    if not inside or list_pictures(root / images):
        return ""
    nested = all((root / masks / name).is_dir() for name in inside)
    group = f"dataset.group=\"'{images}/([^/]+)/'\""
    keys = _keys([f"{images}/*/*.*"], [f"{masks}/{{group}}/{{stem}}.*" if nested else f"{masks}/{{stem}}.*"])
    found = list_examples([f"{images}/{name}/" for name in inside])
    return f"images lie one folder deeper ({found}): {keys} {group}"


def folder_of_each_case(root: Path, is_mask_name: Callable[[str], object]) -> str:
    """The keys for P1/image.png with P1/mask.png, P2/image.png with P2/mask.png; "" where names differ."""
    folders = [path for path in list_entries(root) if path.is_dir()]
    names = {frozenset(split_name(name)[0] for name in list_pictures(folder)) for folder in folders}
    if len(names) != 1 or len(folders) < 2:
        return ""
    stems = sorted(next(iter(names)))
    masks = [stem for stem in stems if is_mask_name(stem)]
    images = [stem for stem in stems if not is_mask_name(stem)]
    if len(masks) != 1 or len(images) != 1:
        return ""
    found = list_examples([f"{path.name}/" for path in folders])
    keys = _keys([f"*/{images[0]}.*"], [f"{{dir}}/{masks[0]}.*"])
    return f"{found} each hold {images[0]} and {masks[0]}: {keys}"


def list_pictures(folder: Path) -> list[str]:
    """The names of the files that some reader reads."""
    return [path.name for path in list_entries(folder) if path.name.lower().endswith(EXTENSIONS)]


def list_entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, hidden files left out; of very many the first. Raises UserError."""
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from error
    return found[:MAX_ENTRIES]


def _keys(images: Sequence[str], masks: Sequence[str]) -> str:
    return f'dataset.images="{list(images)}" dataset.masks="{list(masks)}"'
