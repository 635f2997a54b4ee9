"""Which masks belong to which image: a dataset YAML's patterns matched against the files below its root."""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genseg_betty.data.formats import EXTENSIONS
from genseg_betty.data.source.files import Finding
from genseg_betty.data.source.groups import case_groups
from genseg_betty.data.source.mask_search import (
    Claims,
    Matches,
    fill_mask_patterns,
    find_masks,
    list_any_mask,
    list_claims,
    match_other_case,
    match_patterns,
)
from genseg_betty.data.source.pairing_notes import note_files_left, note_other_case
from genseg_betty.data.source.tree import Tree


@dataclass
class Pairing:
    """Relative paths: `masks` and `groups` of labelled images, images without any mask, and what does not fit."""

    tree: Tree
    masks: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)  # of those images that the YAML gives one
    unlabelled: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def pair_files(root: Path, config: Mapping[str, Any]) -> Pairing:
    """Pair by stem, as the YAML's `images`, `masks`, `stem`, `group`, `ignore`, `mask_required`, `unlabelled` say.

    An image that is the mask of another and has none itself is no image. Findings: `missing_mask` (also where two
    images claim one mask), `missing_image`, `too_few` (images without a group), `unsafe`, `unreadable`.
    """
    declared = [*config["images"], *config["masks"]]
    ignored = config.get("ignore") or ()
    tree = Tree(root, declared, ignored)
    result = Pairing(tree, findings=list(tree.findings))
    candidates = match_patterns(tree, config["images"])
    any_mask = list_any_mask(config, candidates)
    # Some publishers keep X.png and X_mask.png in one folder; a bare {stem} would make every image a mask.
    marking = [pattern for pattern in any_mask if "/*." not in pattern]
    marked = match_patterns(tree, marking)
    images = sorted(set(candidates) - set(marked))

    # Groups come first where masks are named by them, else last, of the images that have a mask.
    named_by_group = any("{group}" in pattern for pattern in config["masks"])
    grouped = images
    if named_by_group:
        _take_groups(result, config, images)
        grouped = [name for name in images if name in result.groups]

    claims = _take_masks(result, config, grouped, candidates)
    masks = match_patterns(tree, any_mask)
    without_image = set(masks) - claims.keys() - set(images)
    _add_masks_without_image(result, without_image)
    if not named_by_group:
        _take_groups(result, config, list(result.masks))
    taken = {*images, *claims, *masks}
    result.notes += note_other_case(images)
    result.notes += note_files_left(tree, declared, taken)
    return result


def layout(config: Mapping[str, Any]) -> str:
    """What is expected below the root, in a sentence or two."""
    all_needed = config["mask_required"] == "all"
    between = " and " if all_needed else " or "
    masks = between.join(config["masks"])
    patterns = config["images"]
    images = " or ".join(patterns)
    if any(pattern.endswith("*") for pattern in patterns):
        formats = ", ".join(EXTENSIONS)
        images += f" ({formats})"

    terms = []
    if "{stem}" in masks and config.get("stem"):
        expression = config["stem"]
        terms.append(f"{{stem}} is what {expression} finds in an image's stem")
    if "{group}" in masks and config.get("group"):
        expression = config["group"]
        terms.append(f"{{group}} is what {expression} finds in an image's path")
    sentence = f"Expected below it: images {images}, masks {masks}."
    if terms:
        explained = "; ".join(terms)
        sentence += f" {explained}."
    return sentence


def _take_groups(result: Pairing, config: Mapping[str, Any], images: Sequence[str]) -> None:
    result.groups, without = case_groups(config, images)
    result.findings += without


def _take_masks(result: Pairing, config: Mapping[str, Any], images: Sequence[str], candidates: Iterable[str]) -> Claims:
    """Sort the images into those with masks, without and faulty ones; returns the images that look for each mask."""
    tree = result.tree
    patterns, without_stem = fill_mask_patterns(config, images, result.groups)
    result.findings += without_stem
    found = find_masks(tree, patterns)
    claims = list_claims(found)
    all_needed = config["mask_required"] == "all"
    result.notes += match_other_case(tree, found, claims, set(candidates), all_needed)

    excused = set(match_patterns(tree, _list_excused(config)))
    for name, matches in found.items():
        if any(matches.values()) or name not in claims:
            _sort_image(result, name, matches, all_needed, name in excused)
    for mask, names in claims.items():
        if len(names) > 1:
            _settle_claims(result, mask, names)
    return claims


def _list_excused(config: Mapping[str, Any]) -> list[str]:
    """Patterns of images that may lack a mask: `unlabelled` is true, false or a list of patterns."""
    unlabelled = config.get("unlabelled") or []
    if unlabelled is True:
        return list(config["images"])
    return list(unlabelled)


def _sort_image(result: Pairing, name: str, found: Matches, all_needed: bool, excused: bool) -> None:
    """Count an image as labelled, as unlabelled, or as a fault; an `excused` one may lack its mask."""
    masks: set[str] = set()
    for matches in found.values():
        masks.update(matches)
    lacking = [pattern for pattern, matches in found.items() if not matches]
    if masks and not (all_needed and lacking):
        result.masks[name] = sorted(masks)
    elif excused and not masks:
        result.unlabelled.append(name)
    else:
        between = " and " if all_needed else " or "
        expected = between.join(map(posixpath.normpath, lacking))
        message = f"has no mask; expected {expected}. Add it or remove the image"
        result.findings.append(Finding("missing_mask", name, message))


def _settle_claims(result: Pairing, mask: str, names: Sequence[str]) -> None:
    """Leave a mask to the first of the images that have taken it, and find fault with the others."""
    sharing = sorted(name for name in names if name in result.masks)
    for name in sharing[1:]:
        message = f"shares the mask {mask} with {sharing[0]}; expected one image a mask, so remove or rename one"
        result.findings.append(Finding("missing_mask", name, message))
        del result.masks[name]


def _add_masks_without_image(result: Pairing, masks: Iterable[str]) -> None:
    message = "no image has this stem; add its image, remove the mask, or name it in dataset.ignore"
    for mask in sorted(masks):
        result.findings.append(Finding("missing_image", mask, message))
