"""Which files each image's mask patterns find."""

import itertools
import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from genseg_betty.data.source.files import Finding
from genseg_betty.data.source.groups import capture_texts, stem_of
from genseg_betty.data.source.pairing_notes import MAX_LISTED
from genseg_betty.data.source.patterns import fill_pattern, is_wild
from genseg_betty.data.source.tree import Tree
from genseg_betty.faults import list_examples

Matches = dict[str, list[str]]  # mask pattern -> the files that it finds
Claims = dict[str, list[str]]  # mask -> the images that look for it


def match_patterns(tree: Tree, patterns: Iterable[str]) -> list[str]:
    """The files that any of the patterns finds."""
    found: set[str] = set()
    for pattern in patterns:
        found.update(tree.match(pattern))
    return sorted(found)


def list_any_mask(config: Mapping[str, Any], images: Iterable[str]) -> list[str]:
    """The mask patterns with any stem, for every folder that holds images or would if there were some."""
    folders = {posixpath.dirname(name) for name in images}
    for pattern in config["images"]:
        folder = posixpath.dirname(pattern)
        if not is_wild(folder):
            folders.add(folder)
    patterns = set()
    for pattern, folder in itertools.product(config["masks"], folders):
        filled = fill_pattern(pattern, folder or ".")
        patterns.add(f"./{filled}")
    return sorted(patterns)


def fill_mask_patterns(
    config: Mapping[str, Any], images: Sequence[str], groups: Mapping[str, str]
) -> tuple[dict[str, list[str]], list[Finding]]:
    """The mask patterns of each image, filled in, and a finding for each image in whose name `stem` finds nothing."""
    stems: Sequence[str | None] = [stem_of(name) for name in images]
    if config.get("stem"):
        stems = capture_texts(config, "stem", [stem_of(name) for name in images])

    # Each pattern is filled with the folder, the stem and the group of the image.
    filled = {}
    findings = []
    for name, stem in zip(images, stems, strict=True):
        if stem is None:
            expression = repr(config["stem"])
            message = (
                f"dataset.stem {expression} finds no stem in its name; mend it, or name the file in "
                "dataset.ignore if it is no image"
            )
            findings.append(Finding("missing_mask", name, message))
            continue
        folder = posixpath.dirname(name) or "."
        group = groups.get(name)
        filled[name] = [fill_pattern(pattern, folder, stem, group) for pattern in config["masks"]]
    return filled, findings


def find_masks(tree: Tree, patterns: Mapping[str, Sequence[str]]) -> dict[str, Matches]:
    """The files that the mask patterns of each image find; an image is never its own mask."""
    found: dict[str, Matches] = {}
    for name, own_patterns in patterns.items():
        found[name] = {}
        for pattern in own_patterns:
            masks = set(tree.match(pattern)) - {name}
            found[name][pattern] = sorted(masks)
    return found


def list_claims(found: Mapping[str, Matches]) -> Claims:
    """The images that look for each mask."""
    claims: Claims = defaultdict(list)
    for name, matches in found.items():
        for mask in set(itertools.chain.from_iterable(matches.values())):
            claims[mask].append(name)
    return claims


def match_other_case(
    tree: Tree,
    found: Mapping[str, Matches],
    claims: Claims,
    images: Collection[str],
    all_needed: bool,
) -> list[str]:
    """Give images without a mask the one that is named as they are but for upper and lower case.

    Only where nothing else could be meant: it is one file, no image, no other image's mask, and no second image
    looks for it. Changes `found` and `claims`; returns what is to be noted of it.
    """
    taken = []
    for mask, places in _find_alike(tree, found, claims, images, all_needed).items():
        name, pattern = places[0]
        owners = {owner for owner, _ in places}
        if len(owners) == 1:
            found[name][pattern] = [mask]
            claims[mask].append(name)
            taken.append(f"{mask} for {name}")
    if not taken:
        return []
    listed = list_examples(sorted(taken), MAX_LISTED)
    return [f"{len(taken)} masks are named as their image but for upper and lower case, and taken for it: {listed}"]


def _find_alike(
    tree: Tree,
    found: Mapping[str, Matches],
    claims: Claims,
    images: Collection[str],
    all_needed: bool,
) -> dict[str, list[tuple[str, str]]]:
    """Free masks that differ from a pattern in case alone, with the image and the pattern of each place for it."""
    wanted: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, matches in found.items():
        for pattern in _list_lacking(matches, all_needed):
            alike = tree.match_any_case(pattern)
            free = [mask for mask in alike if mask not in claims and mask not in images]
            if len(free) == 1:
                wanted[free[0]].append((name, pattern))
    return wanted


def _list_lacking(matches: Matches, all_needed: bool) -> list[str]:
    """The patterns of one image that have found nothing, where a mask is missed."""
    if any(matches.values()) and not all_needed:
        return []
    return [pattern for pattern, masks in matches.items() if not masks]
