"""Why hardly an image of a folder has a mask: the folder lies elsewhere, or its names follow another rule.

What is said stands in the place of advice for each single file, which is wrong where all files have one cause.
"""

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from genseg_betty.data.inspect.naming_rules import MOST, file_stem, find_rule, find_two_rules
from genseg_betty.data.inspect.nested_folders import (
    find_folder_of_each_case,
    find_folders_of_images,
    list_entries,
    list_pictures,
    repeat_layout,
)
from genseg_betty.data.source.files import Finding
from genseg_betty.data.source.patterns import fixed_folder
from genseg_betty.faults import list_examples

ADVICE = {
    "missing_mask": re.compile(r" Add it or remove the image$"),
    "missing_image": re.compile(r"; add its image, remove the mask, or name it in dataset\.ignore$"),
}
TRUTH = re.compile(r"mask|label|seg|annot|truth|(^|[_-])gt($|[_-])", re.IGNORECASE)


def diagnose_pairing(config: Mapping[str, Any], findings: Sequence[Finding], paired: int, root: Path) -> list[Finding]:
    """The findings of a pairing; those with one cause have its cure in the place of their own advice.

    Args:
        config: the keys of the dataset.
        paired: the number of images that have their masks.
        root: the dataset's folder.
    """
    lacking = [finding.file for finding in findings if finding.code == "missing_mask"]
    orphans = [finding.file for finding in findings if finding.code == "missing_image"]
    unpaired = max(len(lacking), len(orphans))
    if unpaired <= MOST * (paired + unpaired):
        return list(findings)
    cure = find_rule(lacking, orphans) or find_two_rules(lacking, orphans)
    if not cure and not paired:
        cure = _find_missing_half(config, root, lacking, orphans)
    if not cure:
        return list(findings)

    # The images tell the cure, and the masks refer to them.
    cures = {"missing_mask": cure, "missing_image": cure}
    if lacking:
        cures["missing_image"] = "its image is among those without a mask"
    return [_replace_advice(finding, cures) for finding in findings]


def _find_missing_half(config: Mapping[str, Any], root: Path, lacking: Sequence[str], orphans: Sequence[str]) -> str:
    """The cure of a folder with masks alone, or with images alone; "" where both are there."""
    if orphans and not lacking:
        deeper = _find_deeper_images(root, config)
        folders = _list_folders(config["images"])
        return deeper or f"there are masks and no image: put the images into {folders}"
    if lacking and not orphans:
        folders = _list_folders(config["masks"])
        return f"there are images and no mask: put the masks into {folders}"
    return ""


def _replace_advice(finding: Finding, cures: Mapping[str, str]) -> Finding:
    """The finding with a cure in the place of its own advice, if it is one of those that are cured."""
    advice = ADVICE.get(finding.code)
    if advice is None:
        return finding
    fault = advice.sub("", finding.message).rstrip(".")
    cure = cures[finding.code]
    return replace(finding, message=f"{fault}; {cure}")


def find_elsewhere(root: Path, config: Mapping[str, Any]) -> str:
    """What to say of a folder without images: where the data seem to lie instead; "" where nothing is found."""
    patterns = [*config["images"], *config["masks"]]
    folders = {fixed_folder(pattern).partition("/")[0] for pattern in patterns}
    if "." in folders:  # patterns that search everywhere leave nothing to find
        return ""
    held = list_examples([f"{folder}/" for folder in sorted(folders)])

    # The folder may lie one step too deep, or not deep enough.
    if _holds_all(root.parent, folders):
        return f"Its parent holds {held}: give dataset.root={root.parent}"
    inside = [path for path in list_entries(root) if path.is_dir()]
    fitting = [path for path in inside if _holds_all(path, folders)]
    if len(fitting) > 1:
        return repeat_layout(fitting, config)
    if fitting:
        return f"{fitting[0].name}/ in it holds {held}: give dataset.root={fitting[0]}"

    # It is the right one, and what lies in it is arranged or named otherwise.
    deeper = _find_deeper_images(root, config)
    if deeper:
        return deeper[0].upper() + deeper[1:]
    renamed = _find_renamed_folders(inside)
    return renamed or find_folder_of_each_case(root, is_mask_name) or _find_pictures_in_root(root)


def is_mask_name(name: str) -> bool:
    """Whether a name says that it is one of masks."""
    return TRUTH.search(name) is not None


def _holds_all(folder: Path, names: Iterable[str]) -> bool:
    return all((folder / name).is_dir() for name in names)


def _find_deeper_images(root: Path, config: Mapping[str, Any]) -> str:
    """The keys that read images in folders of the folder where they are expected; "" where there are none."""
    images = fixed_folder(config["images"][0])
    masks = fixed_folder(config["masks"][0])
    if "." in (images, masks) or not _holds_all(root, (images, masks)):
        return ""
    return find_folders_of_images(root, images, masks)


def _find_renamed_folders(folders: Sequence[Path]) -> str:
    """Folders of pictures that are named otherwise: one of masks by its name, and one beside it."""
    images: list[str] = []
    masks: list[str] = []
    for path in folders:
        if list_pictures(path):
            names = masks if is_mask_name(path.name) else images
            names.append(path.name)
    if len(masks) != 1 or len(images) != 1:
        return ""
    image_folder, mask_folder = images[0], masks[0]
    keys = f"dataset.images=\"['{image_folder}/*.*']\" dataset.masks=\"['{mask_folder}/{{stem}}.*']\""
    return f"It holds {image_folder}/ and {mask_folder}/: rename them to images/ and masks/, or say {keys}"


def _find_pictures_in_root(root: Path) -> str:
    """What to do with pictures that lie in the root itself; "" where there are none, or no rule tells the masks."""
    names = list_pictures(root)
    if not names:
        return ""
    if not any(is_mask_name(file_stem(name)) for name in names):
        return f"{len(names)} files lie in it itself: move the images to images/ and the masks to masks/"
    rule = find_rule(names, [])
    if not rule:
        return ""
    return f"Images and masks lie in it itself; dataset.images=\"['*.*']\", and {rule}"


def _list_folders(patterns: Iterable[str]) -> str:
    """ "images/ or scans/": the folders of some patterns, each once."""
    folders = []
    for pattern in patterns:
        folder = posixpath.dirname(pattern) or "."
        folders.append(f"{folder}/")
    return " or ".join(dict.fromkeys(folders))
