"""By which rule the names of images and masks differ, told as the keys that pair them."""

import posixpath
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from genseg_betty.data.formats import split_name

MOST = 0.5  # share of the images that must have one cause
DIGITS = "0123456789"


def find_rule(lacking: Sequence[str], orphans: Sequence[str]) -> str:
    """Where the names of images and masks differ by one affix in most cases, the keys that say so.

    Args:
        lacking: the images without a mask.
        orphans: the masks without an image.
    """
    # Where images and masks lie in one folder, half of those that lack a mask are masks.
    images = len(lacking) if orphans else len(lacking) / 2
    least = MOST * images
    rule, count = _count_mask_patterns(lacking, orphans)
    if count and count >= least:
        key = f"dataset.masks=\"['{rule}']\""
        return f"masks are named otherwise: {key} pairs {count} of them"
    rule, count = _count_stem_patterns(lacking, orphans)
    if count and count >= least:
        key = f"dataset.stem=\"'{rule}'\""
        return f"images are named otherwise than their masks: {key} pairs {count} of them"
    return ""


def find_two_rules(lacking: Sequence[str], orphans: Sequence[str]) -> str:
    """Where all images have one affix and all masks another (img_7 and mask_7), the keys that say so."""
    folders = {posixpath.dirname(file) for file in orphans}
    if len(folders) != 1:
        return ""
    images = _find_affixes(lacking)
    masks = _find_affixes(orphans)
    if not images.before and not images.behind:
        return ""
    shared = images.cores & masks.cores
    if len(shared) <= MOST * len(lacking):
        return ""
    stem = f"{re.escape(images.before)}(.+){re.escape(images.behind)}"
    mask = f"{masks.before}{{stem}}{masks.behind}.*"
    pattern = posixpath.join(folders.pop(), mask)
    keys = f"dataset.stem=\"'{stem}'\" dataset.masks=\"['{pattern}']\""
    return f"images and masks are named by two rules: {keys} pairs {len(shared)} of them"


def file_stem(file: str) -> str:
    """The name of a file without its folder and its ending."""
    stem, _ = split_name(posixpath.basename(file))
    return stem


def _count_mask_patterns(lacking: Sequence[str], orphans: Sequence[str]) -> tuple[str, int]:
    """The pattern of masks that fits most files whose name holds that of an image, and the number of these files."""
    known = {file_stem(file) for file in lacking}
    counts = Counter[str]()
    # Masks without an image lie where masks should; those beside the images count as images without a mask.
    for file in dict.fromkeys([*orphans, *lacking]):
        stem = file_stem(file)
        part = _find_known_part(stem, known)
        if part:
            folder = posixpath.dirname(file)
            name = stem.replace(part, "{stem}", 1)
            counts[posixpath.join(folder, f"{name}.*")] += 1
    return _find_most_common(counts)


def _count_stem_patterns(lacking: Sequence[str], orphans: Sequence[str]) -> tuple[str, int]:
    """The expression that finds the name of a mask in most images, and the number of these images."""
    known = {file_stem(file) for file in orphans}
    counts = Counter[str]()
    for file in lacking:
        stem = file_stem(file)
        part = _find_known_part(stem, known)
        if part:
            expression = re.escape(stem)
            rule = expression.replace(re.escape(part), "(.+)", 1)
            counts[rule] += 1
    return _find_most_common(counts)


def _find_most_common(counts: Counter[str]) -> tuple[str, int]:
    if not counts:
        return "", 0
    return counts.most_common(1)[0]


@dataclass(frozen=True)
class _Affixes:
    """What the names of some files begin with and end with, and what is left of each."""

    before: str
    behind: str
    cores: set[str]


def _find_affixes(files: Sequence[str]) -> _Affixes:
    """What all names have in common, without the digits next to what differs."""
    stems = [file_stem(file) for file in files]
    before = posixpath.commonprefix(stems)
    before = before.rstrip(DIGITS)
    rests = [stem[len(before) :] for stem in stems]
    backwards = [rest[::-1] for rest in rests]
    behind = posixpath.commonprefix(backwards)[::-1]
    behind = behind.lstrip(DIGITS)
    cores = {rest[: len(rest) - len(behind)] for rest in rests}
    return _Affixes(before, behind, cores)


def _find_known_part(stem: str, known: Collection[str]) -> str:
    """The longest of the known stems that this one begins or ends with; "" where there is none."""
    for length in reversed(range(1, len(stem))):
        beginning = stem[:length]
        if beginning in known:
            return beginning
        ending = stem[-length:]
        if ending in known:
            return ending
    return ""
