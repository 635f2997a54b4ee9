"""Which masks belong to which image: a dataset YAML's patterns matched against the files below its root."""

import posixpath
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genseg_betty.data.files import Finding, Tree, expand
from genseg_betty.data.formats import EXTENSIONS, split_name
from genseg_betty.errors import UserError


@dataclass
class Pairing:
    """Relative paths: `masks` of each labelled image, images without any mask, and what does not fit."""

    tree: Tree
    masks: dict[str, list[str]] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def pair(root: Path, config: Mapping[str, Any]) -> Pairing:
    """Pair by stem, as the YAML's `images`, `masks`, `mask_required` and `unlabelled` say.

    Findings: `missing_mask` (also where two images claim one mask), `missing_image`, `unsafe`, `unreadable`.
    """
    tree = Tree(root, [*config["images"], *config["masks"]])
    result = Pairing(tree, findings=tree.findings)
    candidates = _matching(tree, config["images"])
    any_mask = _any_mask(config, candidates)
    # Some publishers keep X.png and X_mask.png in one folder; a bare {stem} would make every image a mask.
    marked = _matching(tree, [pattern for pattern in any_mask if "/*." not in pattern])
    images = sorted(set(candidates) - set(marked))
    excused = set(_matching(tree, _excused(config)))
    claims: Counter[str] = Counter()
    for name in images:
        found = {pattern: sorted({*tree.match(_mask_pattern(pattern, name))} - {name}) for pattern in config["masks"]}
        _sort_in(result, name, found, config["mask_required"] == "all", name in excused)
        claims.update({mask for matches in found.values() for mask in matches})
    for mask, count in claims.items():
        if count > 1:
            _contested(result, mask)
    for mask in _matching(tree, any_mask):
        if mask not in claims and mask not in images:
            message = "no image has this stem; add its image or remove the mask"
            result.findings.append(Finding("missing_image", mask, message))
    return result


def case_ids(names: list[str]) -> dict[str, str]:
    """A case id for each image: its stem; where stems repeat the path, with the extension if it must be."""
    for shorten in (
        lambda name: split_name(posixpath.basename(name))[0],
        lambda name: split_name(name)[0],
    ):
        ids = {name: shorten(name) for name in names}
        if len(set(ids.values())) == len(names):
            return ids
    return {name: name for name in names}


def case_group(pattern: str | None, name: str, default: str) -> str:
    """The group (patient, video) that a path names; `default` where the dataset declares none."""
    if pattern is None:
        return default
    found = re.search(pattern, name)
    if not found or not found.groups():
        raise UserError(
            f"dataset.group {pattern!r} finds no group in {name}; expected a regular expression "
            "whose first parenthesis is the patient or video"
        )
    return found.group(1)


def layout(config: Mapping[str, Any]) -> str:
    """What is expected below the root, in a sentence."""
    masks = (" and " if config["mask_required"] == "all" else " or ").join(config["masks"])
    formats = f" ({', '.join(EXTENSIONS)})" if any(p.endswith("*") for p in config["images"]) else ""
    return f"Expected below it: images {' or '.join(config['images'])}{formats}, masks {masks}."


def _any_mask(config: Mapping[str, Any], images: list[str]) -> list[str]:
    """The mask patterns with any stem, for every folder that holds images or would if there were some."""
    folders = {posixpath.dirname(name) for name in images}
    folders |= {posixpath.dirname(p) for p in config["images"] if not re.search(r"[*?]", posixpath.dirname(p))}
    return [f"./{expand(p, folder=folder or '.')}" for p in config["masks"] for folder in sorted(folders)]


def _matching(tree: Tree, patterns: list[str]) -> list[str]:
    return sorted({name for pattern in patterns for name in tree.match(pattern)})


def _excused(config: Mapping[str, Any]) -> list[str]:
    """Patterns of images that may lack a mask: `unlabelled` is true, false or a list of patterns."""
    unlabelled = config.get("unlabelled") or []
    return list(config["images"]) if unlabelled is True else list(unlabelled)


def _mask_pattern(pattern: str, image: str) -> str:
    folder, name = posixpath.split(image)
    return expand(pattern, stem=split_name(name)[0], folder=folder or ".")


def _sort_in(result: Pairing, name: str, found: dict[str, list[str]], all_needed: bool, excused: bool) -> None:
    masks = sorted({mask for matches in found.values() for mask in matches})
    lacking = [_mask_pattern(pattern, name) for pattern, matches in found.items() if not matches]
    if masks and not (all_needed and lacking):
        result.masks[name] = masks
    elif excused and not masks:
        result.unlabelled.append(name)
    else:
        expected = (" and " if all_needed else " or ").join(posixpath.normpath(p) for p in lacking)
        message = f"has no mask; expected {expected}. Add it or remove the image"
        result.findings.append(Finding("missing_mask", name, message))


def _contested(result: Pairing, mask: str) -> None:
    sharing = sorted(name for name, masks in result.masks.items() if mask in masks)
    for name in sharing[1:]:
        message = f"shares the mask {mask} with {sharing[0]}; expected one image a mask, so remove or rename one"
        result.findings.append(Finding("missing_mask", name, message))
        del result.masks[name]
