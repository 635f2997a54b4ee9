"""Which masks belong to which image: a dataset YAML's patterns matched against the files below its root."""

import bisect
import posixpath
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genseg_betty.data.files import Finding, Tree, expand
from genseg_betty.data.formats import EXTENSIONS, split_name
from genseg_betty.errors import UserError

MAX_LISTED = 5  # files named in one message


@dataclass
class Pairing:
    """Relative paths: `masks` of each labelled image, images without any mask, and what does not fit."""

    tree: Tree
    masks: dict[str, list[str]] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def pair(root: Path, config: Mapping[str, Any]) -> Pairing:
    """Pair by stem, as the YAML's `images`, `masks`, `stem`, `group`, `ignore`, `mask_required`, `unlabelled` say.

    Findings: `missing_mask` (also where two images claim one mask), `missing_image`, `unsafe`, `unreadable`.
    Raises UserError where a mask pattern holds {group} and images have none.
    """
    tree = Tree(root, [*config["images"], *config["masks"]], config.get("ignore") or ())
    result = Pairing(tree, findings=tree.findings)
    candidates = _matching(tree, config["images"])
    any_mask = _any_mask(config, candidates)
    # Some publishers keep X.png and X_mask.png in one folder; a bare {stem} would make every image a mask.
    marked = _matching(tree, [pattern for pattern in any_mask if "/*." not in pattern])
    images = sorted(set(candidates) - set(marked))
    excused = set(_matching(tree, _excused(config)))
    claims: Counter[str] = Counter()
    for name, patterns in _mask_patterns(config, images, result).items():
        found = {pattern: sorted({*tree.match(pattern)} - {name}) for pattern in patterns}
        _sort_in(result, name, found, config["mask_required"] == "all", name in excused)
        claims.update({mask for matches in found.values() for mask in matches})
    for mask, count in claims.items():
        if count > 1:
            _contested(result, mask)
    for mask in _matching(tree, any_mask):
        if mask not in claims and mask not in images:
            message = "no image has this stem; add its image, remove the mask, or name it in dataset.ignore"
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


def case_groups(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, str] | None:
    """The group (patient, video) of each image, as `group` or `group_starts` says; None without either.

    `group` is a regular expression on the path; of `group_starts`, the numbers at which a sequence begins, the last
    that the last number in an image's stem has reached. Raises UserError that names all images without a group.
    """
    pattern, starts = config.get("group"), config.get("group_starts")
    if pattern:
        groups = {name: found for name in names if (found := _captured(pattern, name)) is not None}
        if len(groups) < len(names):
            raise UserError(
                f"dataset.group {pattern!r} finds no group in {_listed([n for n in names if n not in groups])}; "
                "expected a regular expression whose first parenthesis is the patient or video"
            )
        return groups
    if not starts:
        return None
    numbers = {name: re.findall(r"\d+", _stem(name)) for name in names}
    outside = [name for name, found in numbers.items() if not found or int(found[-1]) < starts[0]]
    if outside:
        raise UserError(
            f"dataset.group_starts finds no group for {_listed(outside)}; expected a number in each file's name, "
            f"{starts[0]} or higher (the first start)"
        )
    return {name: str(starts[bisect.bisect(starts, int(found[-1])) - 1]) for name, found in numbers.items()}


def layout(config: Mapping[str, Any]) -> str:
    """What is expected below the root, in a sentence or two."""
    masks = (" and " if config["mask_required"] == "all" else " or ").join(config["masks"])
    formats = f" ({', '.join(EXTENSIONS)})" if any(p.endswith("*") for p in config["images"]) else ""
    found = {"{stem}": ("stem", "stem"), "{group}": ("group", "path")}
    terms = [
        f"{field} is what {config[key]} finds in an image's {place}"
        for field, (key, place) in found.items()
        if field in masks and config.get(key)
    ]
    where = f" {'; '.join(terms)}." if terms else ""
    return f"Expected below it: images {' or '.join(config['images'])}{formats}, masks {masks}.{where}"


def _captured(pattern: str, text: str) -> str | None:
    """What the first parenthesis of a regular expression finds."""
    found = re.search(pattern, text)
    return found[1] if found and found.re.groups else None


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def _stem(name: str) -> str:
    return split_name(posixpath.basename(name))[0]


def _any_mask(config: Mapping[str, Any], images: list[str]) -> list[str]:
    """The mask patterns with any stem, for every folder that holds images or would if there were some."""
    folders = {posixpath.dirname(name) for name in images}
    folders |= {posixpath.dirname(p) for p in config["images"] if not re.search(r"[*?]", posixpath.dirname(p))}
    return sorted({f"./{expand(p, folder or '.')}" for p in config["masks"] for folder in folders})


def _matching(tree: Tree, patterns: list[str]) -> list[str]:
    return sorted({name for pattern in patterns for name in tree.match(pattern)})


def _excused(config: Mapping[str, Any]) -> list[str]:
    """Patterns of images that may lack a mask: `unlabelled` is true, false or a list of patterns."""
    unlabelled = config.get("unlabelled") or []
    return list(config["images"]) if unlabelled is True else list(unlabelled)


def _mask_patterns(config: Mapping[str, Any], images: Sequence[str], result: Pairing) -> dict[str, list[str]]:
    """The mask patterns of each image, filled in; an image in whose name `stem` finds nothing is a finding."""
    named = any("{group}" in pattern for pattern in config["masks"])
    groups = (case_groups(config, images) if named else None) or {}
    filled = {}
    for name in images:
        stem = _captured(config["stem"], _stem(name)) if config.get("stem") else _stem(name)
        if stem is None:
            message = f"dataset.stem {config['stem']!r} finds no stem in its name; mend it, or name the file in "
            result.findings.append(Finding("missing_mask", name, message + "dataset.ignore if it is no image"))
        else:
            folder = posixpath.dirname(name) or "."
            filled[name] = [expand(pattern, folder, stem, groups.get(name)) for pattern in config["masks"]]
    return filled


def _sort_in(result: Pairing, name: str, found: dict[str, list[str]], all_needed: bool, excused: bool) -> None:
    masks = sorted({mask for matches in found.values() for mask in matches})
    lacking = [pattern for pattern, matches in found.items() if not matches]
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
