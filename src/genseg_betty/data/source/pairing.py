"""Which masks belong to which image: a dataset YAML's patterns matched against the files below its root."""

import bisect
import itertools
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genseg_betty.data.formats import EXTENSIONS, split_name
from genseg_betty.data.source.expressions import capture
from genseg_betty.data.source.files import Finding, Tree, expand
from genseg_betty.data.source.pairing_notes import MAX_LISTED, note_files_left, note_other_case
from genseg_betty.faults import list_examples


@dataclass
class Pairing:
    """Relative paths: `masks` and `groups` of labelled images, images without any mask, and what does not fit."""

    tree: Tree
    masks: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)  # of those images that the YAML gives one
    unlabelled: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def pair(root: Path, config: Mapping[str, Any]) -> Pairing:
    """Pair by stem, as the YAML's `images`, `masks`, `stem`, `group`, `ignore`, `mask_required`, `unlabelled` say.

    An image that is the mask of another and has none itself is no image. Findings: `missing_mask` (also where two
    images claim one mask), `missing_image`, `too_few` (images without a group), `unsafe`, `unreadable`.
    """
    tree = Tree(root, [*config["images"], *config["masks"]], config.get("ignore") or ())
    result = Pairing(tree, findings=tree.findings)
    candidates = _matching(tree, config["images"])
    any_mask = _any_mask(config, candidates)
    # Some publishers keep X.png and X_mask.png in one folder; a bare {stem} would make every image a mask.
    marked = _matching(tree, [pattern for pattern in any_mask if "/*." not in pattern])
    images = sorted(set(candidates) - set(marked))

    # Groups come first where masks are named by them, else last, of the images that have a mask.
    named_by_group = any("{group}" in pattern for pattern in config["masks"])
    if named_by_group:
        _take_groups(result, config, images)
    grouped = [name for name in images if not named_by_group or name in result.groups]

    all_needed = config["mask_required"] == "all"
    found = _find_masks(result, config, grouped)
    claims = _claims_of(found)
    _match_other_case(result, found, claims, {*candidates}, all_needed)
    excused = set(_matching(tree, _excused(config)))
    for name, matches in found.items():
        if any(matches.values()) or name not in claims:
            _sort_in(result, name, matches, all_needed, name in excused)
    for mask, names in claims.items():
        if len(names) > 1:
            _contested(result, mask, names)

    masks = _matching(tree, any_mask)
    _tell_masks_without_image(result, set(masks) - claims.keys() - set(images))
    if not named_by_group:
        _take_groups(result, config, list(result.masks))
    result.notes += note_other_case(images)
    result.notes += note_files_left(tree, [*config["images"], *config["masks"]], {*images, *claims, *masks})
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


def case_groups(config: Mapping[str, Any], names: Sequence[str]) -> tuple[dict[str, str], list[Finding]]:
    """The group (patient, video) of each image, as `group` or `group_starts` says, and a finding for all without.

    `group` is a regular expression on the path; of `group_starts`, the numbers at which a sequence begins, the last
    that the last number in an image's stem has reached.
    """
    pattern, starts = config.get("group"), config.get("group_starts") or []
    if not (pattern or starts):
        return {}, []
    values = _captured(config, "group", names) if pattern else [_started(starts, name) for name in names]
    found = dict(zip(names, values, strict=True))
    groups = {name: group for name, group in found.items() if group is not None}
    if len(groups) == len(found):
        return groups, []
    if pattern:
        key, expected = f"group {pattern!r}", "a regular expression whose first parenthesis is the patient or video"
    else:
        key, expected = "group_starts", f"a number in each file's name, {starts[0]} or higher (the first start)"
    without = list_examples([name for name in names if name not in groups], MAX_LISTED)
    return groups, [Finding("too_few", ".", f"dataset.{key} finds no group for {without}; expected {expected}")]


def layout(config: Mapping[str, Any]) -> str:
    """What is expected below the root, in a sentence or two."""
    between = " and " if config["mask_required"] == "all" else " or "
    masks = between.join(config["masks"])
    any_format = any(pattern.endswith("*") for pattern in config["images"])
    formats = f" ({', '.join(EXTENSIONS)})" if any_format else ""
    found = {"{stem}": ("stem", "stem"), "{group}": ("group", "path")}
    terms = [
        f"{field} is what {config[key]} finds in an image's {place}"
        for field, (key, place) in found.items()
        if field in masks and config.get(key)
    ]
    where = f" {'; '.join(terms)}." if terms else ""
    return f"Expected below it: images {' or '.join(config['images'])}{formats}, masks {masks}.{where}"


def _take_groups(result: Pairing, config: Mapping[str, Any], images: Sequence[str]) -> None:
    result.groups, without = case_groups(config, images)
    result.findings += without


def _find_masks(result: Pairing, config: Mapping[str, Any], images: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """The files that each mask pattern of each image finds; an image is never its own mask."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, patterns in _mask_patterns(config, images, result).items():
        matches = {pattern: {*result.tree.match(pattern)} - {name} for pattern in patterns}
        found[name] = {pattern: sorted(masks) for pattern, masks in matches.items()}
    return found


def _claims_of(found: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, list[str]]:
    """The images that look for each mask."""
    claims: dict[str, list[str]] = defaultdict(list)
    for name, matches in found.items():
        for mask in set(itertools.chain.from_iterable(matches.values())):
            claims[mask].append(name)
    return claims


def _tell_masks_without_image(result: Pairing, masks: Iterable[str]) -> None:
    message = "no image has this stem; add its image, remove the mask, or name it in dataset.ignore"
    result.findings += [Finding("missing_image", mask, message) for mask in sorted(masks)]


def _captured(config: Mapping[str, Any], key: str, texts: Sequence[str]) -> list[str | None]:
    """What the expression of a key finds in each text; it may spell letters in another Unicode form than the names."""
    return capture(key, unicodedata.normalize("NFC", config[key]), texts)


def _started(starts: Sequence[int], name: str) -> str | None:
    """The last start that the last number of a name has reached; None where there is none."""
    numbers = re.findall(r"\d+", _stem(name))
    if not numbers:
        return None
    index = bisect.bisect(starts, int(numbers[-1]))
    return str(starts[index - 1]) if index else None


def _stem(name: str) -> str:
    return split_name(posixpath.basename(name))[0]


def _any_mask(config: Mapping[str, Any], images: list[str]) -> list[str]:
    """The mask patterns with any stem, for every folder that holds images or would if there were some."""
    named = [posixpath.dirname(pattern) for pattern in config["images"]]
    folders = {posixpath.dirname(name) for name in images}
    folders |= {folder for folder in named if not re.search(r"[*?]", folder)}
    pairs = itertools.product(config["masks"], folders)
    return sorted({f"./{expand(pattern, folder or '.')}" for pattern, folder in pairs})


def _matching(tree: Tree, patterns: list[str]) -> list[str]:
    return sorted({name for pattern in patterns for name in tree.match(pattern)})


def _excused(config: Mapping[str, Any]) -> list[str]:
    """Patterns of images that may lack a mask: `unlabelled` is true, false or a list of patterns."""
    unlabelled = config.get("unlabelled") or []
    return list(config["images"]) if unlabelled is True else list(unlabelled)


def _mask_patterns(config: Mapping[str, Any], images: Sequence[str], result: Pairing) -> dict[str, list[str]]:
    """The mask patterns of each image, filled in; an image in whose name `stem` finds nothing is a finding."""
    filled = {}
    stems = [_stem(name) for name in images]
    found = _captured(config, "stem", stems) if config.get("stem") else stems
    for name, stem in zip(images, found, strict=True):
        if stem is None:
            message = f"dataset.stem {config['stem']!r} finds no stem in its name; mend it, or name the file in "
            result.findings.append(Finding("missing_mask", name, message + "dataset.ignore if it is no image"))
        else:
            folder = posixpath.dirname(name) or "."
            filled[name] = [expand(pattern, folder, stem, result.groups.get(name)) for pattern in config["masks"]]
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


def _match_other_case(
    result: Pairing,
    found: dict[str, dict[str, list[str]]],
    claims: dict[str, list[str]],
    images: Collection[str],
    all_needed: bool,
) -> None:
    """Give images without a mask the one that is named as they are but for upper and lower case.

    Only where nothing else could be meant: it is one file, no image, no other image's mask, and no second image
    looks for it.
    """
    wanted: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, matches in found.items():
        for pattern, masks in matches.items():
            if masks or (any(matches.values()) and not all_needed):
                continue
            alike = result.tree.match_any_case(pattern)
            free = [mask for mask in alike if mask not in claims and mask not in images]
            if len(free) == 1:
                wanted[free[0]].append((name, pattern))
    taken = []
    for mask, places in wanted.items():
        owners = {name for name, _ in places}
        if len(owners) == 1:
            (name,) = owners
            found[name][places[0][1]] = [mask]
            claims[mask].append(name)
            taken.append(f"{mask} for {name}")
    if taken:
        result.notes.append(
            f"{len(taken)} masks are named as their image but for upper and lower case, and taken for it: "
            f"{list_examples(sorted(taken), MAX_LISTED)}"
        )


def _contested(result: Pairing, mask: str, names: Sequence[str]) -> None:
    sharing = sorted(name for name in names if name in result.masks)
    for name in sharing[1:]:
        message = f"shares the mask {mask} with {sharing[0]}; expected one image a mask, so remove or rename one"
        result.findings.append(Finding("missing_mask", name, message))
        del result.masks[name]
