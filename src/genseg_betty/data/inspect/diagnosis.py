"""Why hardly an image of a folder has a mask: the folder lies elsewhere, or its names follow another rule.

What is said stands in the place of advice for each single file, which is wrong where all files have one cause.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from genseg_betty.data.formats import split_name
from genseg_betty.data.inspect.nested_folders import (
    folder_of_each_case,
    folders_of_images,
    list_entries,
    list_pictures,
    repeated_layout,
)
from genseg_betty.data.source.files import Finding
from genseg_betty.data.source.patterns import fixed_folder
from genseg_betty.faults import list_examples

MOST = 0.5  # share of the images that must have one cause
ADVICE = {
    "missing_mask": re.compile(r" Add it or remove the image$"),
    "missing_image": re.compile(r"; add its image, remove the mask, or name it in dataset\.ignore$"),
}
TRUTH = re.compile(r"mask|label|seg|annot|truth|(^|[_-])gt($|[_-])", re.IGNORECASE)


def diagnose(config: Mapping[str, Any], findings: Sequence[Finding], paired: int, root: Path) -> list[Finding]:
    """The findings of a pairing; those with one cause have its cure in the place of their own advice.

    Args:
        config: the keys of the dataset.
        paired: the number of images that have their masks.
        root: the dataset's folder.
    """
    lacking = [finding.file for finding in findings if finding.code == "missing_mask"]
    orphans = [finding.file for finding in findings if finding.code == "missing_image"]
    if max(len(lacking), len(orphans)) <= MOST * (paired + max(len(lacking), len(orphans))):
        return list(findings)
    cure = _find_rule(lacking, orphans) or _find_two_rules(lacking, orphans)
    if not cure and orphans and not lacking and not paired:
        missing = f"there are masks and no image: put the images into {_places(config['images'])}"
        cure = _find_deeper_images(root, config) or missing
    if not cure and lacking and not orphans and not paired:
        cure = f"there are images and no mask: put the masks into {_places(config['masks'])}"
    if not cure:
        return list(findings)
    cures = {"missing_image": "its image is among those without a mask", "missing_mask": cure}
    return [_cured(finding, cures.get(finding.code, "") if lacking else cure) for finding in findings]


def find_elsewhere(root: Path, config: Mapping[str, Any]) -> str:
    """What to say of a folder without images: where the data seem to lie instead; "" where nothing is found."""
    folders = {fixed_folder(pattern).partition("/")[0] for pattern in (*config["images"], *config["masks"])}
    if "." in folders:  # patterns that search everywhere leave nothing to find
        return ""
    if all((root.parent / folder).is_dir() for folder in folders):
        return f"Its parent holds {_listed(folders)}: give dataset.root={root.parent}"
    inside = [path for path in list_entries(root) if path.is_dir()]
    fitting = [path for path in inside if all((path / folder).is_dir() for folder in folders)]
    if len(fitting) > 1:
        return repeated_layout(fitting, config)
    if fitting:
        return f"{fitting[0].name}/ in it holds {_listed(folders)}: give dataset.root={fitting[0]}"
    deeper = _find_deeper_images(root, config)
    if deeper:
        return deeper[0].upper() + deeper[1:]
    renamed = _other_names([path for path in inside if list_pictures(path)])
    return renamed or folder_of_each_case(root, TRUTH.search) or _flat(root)


def _find_deeper_images(root: Path, config: Mapping[str, Any]) -> str:
    """The keys that read images in folders of the folder where they are expected; "" where there are none."""
    images, masks = (fixed_folder(config[key][0]) for key in ("images", "masks"))
    if "." in (images, masks) or not (root / images).is_dir() or not (root / masks).is_dir():
        return ""
    return folders_of_images(root, images, masks)


def _find_rule(lacking: Sequence[str], orphans: Sequence[str]) -> str:
    """Where the names of images and masks differ by one affix in most cases, the keys that say so."""
    of_masks, of_images = Counter[str](), Counter[str]()
    known = {_stem(file): posixpath.dirname(file) for file in lacking}
    # Masks without an image lie where masks should; those beside the images count as images without a mask.
    for file in dict.fromkeys([*orphans, *lacking]):
        stem, folder = _stem(file), posixpath.dirname(file)
        for other in _within(stem, known):
            of_masks[posixpath.join(folder, stem.replace(other, "{stem}", 1) + ".*")] += 1
    for file in lacking:
        for other in _within(_stem(file), dict.fromkeys(map(_stem, orphans))):
            of_images[re.escape(_stem(file)).replace(re.escape(other), "(.+)", 1)] += 1
    for counts, key, quoted in ((of_masks, "masks", "['{}']"), (of_images, "stem", "'{}'")):
        (rule, count), *_ = counts.most_common(1) or [("", 0)]
        # Where images and masks lie in one folder, half of those that lack a mask are masks.
        if count and count >= MOST * (len(lacking) if orphans else len(lacking) / 2):
            example = "masks are named otherwise" if key == "masks" else "images are named otherwise than their masks"
            return f'{example}: dataset.{key}="{quoted.format(rule)}" pairs {count} of them'
    return ""


def _find_two_rules(lacking: Sequence[str], orphans: Sequence[str]) -> str:
    """Where all images have one affix and all masks another (img_7 and mask_7), the keys that say so."""
    folders = {posixpath.dirname(file) for file in orphans}
    if len(folders) != 1:
        return ""
    images, masks = [_stem(file) for file in lacking], [_stem(file) for file in orphans]
    (before, behind), (mask_before, mask_behind) = _affixes(images), _affixes(masks)
    cores = {stem[len(before) : len(stem) - len(behind)] for stem in images}
    shared = cores & {stem[len(mask_before) : len(stem) - len(mask_behind)] for stem in masks}
    if len(shared) <= MOST * len(images) or not any((before, behind)):
        return ""
    pattern = posixpath.join(folders.pop(), f"{mask_before}{{stem}}{mask_behind}.*")
    return (
        f"images and masks are named by two rules: dataset.stem=\"'{re.escape(before)}(.+){re.escape(behind)}'\" "
        f"dataset.masks=\"['{pattern}']\" pairs {len(shared)} of them"
    )


def _affixes(stems: Sequence[str]) -> tuple[str, str]:
    """What all of them begin with, and what all end with, without the digits next to what differs."""
    before = posixpath.commonprefix(list(stems)).rstrip("0123456789")
    backwards = [stem[len(before) :][::-1] for stem in stems]
    behind = posixpath.commonprefix(backwards)[::-1]
    return before, behind.lstrip("0123456789")


def _within(stem: str, known: Mapping[str, Any]) -> list[str]:
    """The longest of the known stems that this one begins or ends with."""
    places = range(1, len(stem))
    beginnings = [stem[:place] for place in reversed(places)]
    endings = [stem[place:] for place in places]
    found = [part for part in beginnings + endings if part in known]
    return sorted(found, key=len, reverse=True)[:1]


def _cured(finding: Finding, cure: str) -> Finding:
    advice = ADVICE.get(finding.code)
    if advice is None:
        return finding
    return replace(finding, message=f"{advice.sub('', finding.message).rstrip('.')}; {cure}")


def _other_names(folders: Sequence[Path]) -> str:
    """Folders of pictures that are named otherwise: one of masks by its name, and one beside it."""
    masks = [path.name for path in folders if TRUTH.search(path.name)]
    images = [path.name for path in folders if not TRUTH.search(path.name)]
    if len(masks) != 1 or len(images) != 1:
        return ""
    keys = f"dataset.images=\"['{images[0]}/*.*']\" dataset.masks=\"['{masks[0]}/{{stem}}.*']\""
    return f"It holds {images[0]}/ and {masks[0]}/: rename them to images/ and masks/, or say {keys}"


def _flat(root: Path) -> str:
    names = list_pictures(root)
    masks = [name for name in names if TRUTH.search(_stem(name))]
    if not names:
        return ""
    if not masks:
        return f"{len(names)} files lie in it itself: move the images to images/ and the masks to masks/"
    rule = _find_rule(names, [])
    return f"Images and masks lie in it itself; dataset.images=\"['*.*']\", and {rule}" if rule else ""


def _places(patterns: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(f"{posixpath.dirname(pattern) or '.'}/" for pattern in patterns))


def _listed(folders: Iterable[str]) -> str:
    return list_examples([f"{folder}/" for folder in sorted(folders)])


def _stem(file: str) -> str:
    return split_name(posixpath.basename(file))[0]
