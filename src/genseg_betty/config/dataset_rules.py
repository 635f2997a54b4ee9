"""Keys of a dataset that exclude or need each other, and patterns that cannot work: found before any file is read."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from genseg_betty.config.wording import show

NARROWEST = 1e-30  # between the ends of a window of intensities, which is divided by


def find_dataset_faults(dataset: Mapping[str, Any]) -> list[str]:
    """One line for each fault of a `dataset` section; keys whose values are of a wrong kind are left out of it."""
    rules = (
        _check_source,
        _check_labels,
        _check_groups,
        _check_stem,
        _check_split,
        _check_folds,
        _check_intensity,
        _check_range,
    )
    return [fault for rule in rules for fault in rule(dataset)]


def _check_source(dataset: Mapping[str, Any]) -> Iterator[str]:
    """A folder belongs to a dataset that is read, and what is read is found by patterns."""
    root, reader = dataset.get("root"), dataset.get("reader")
    if reader == "phantom" and root is not None:
        yield f"dataset.root={show(root)}: phantom is drawn, not read; add dataset=folder to read images from there"
    if reader == "files":
        for key, example in (("images", "images/*.*"), ("masks", "masks/{stem}.*")):
            if dataset.get(key) == []:
                yield f"dataset.{key}: missing; expected patterns below the root, such as ['{example}']"


def _check_labels(dataset: Mapping[str, Any]) -> Iterator[str]:
    """One key says what the values of a mask mean, and a foreground is chosen from names."""
    given = [key for key in ("labels", "classes", "threshold") if dataset.get(key) is not None]
    for key in given[1:]:
        yield _tell_exclusion(dataset, key, given[0])
    foreground = dataset.get("foreground")
    if foreground and "labels" not in given and "classes" not in given:
        yield (
            f"dataset.foreground={show(foreground)}: there are no labels to choose from; expected "
            "dataset.labels={name: value, …} or dataset.classes=[name, …] beside it"
        )


def _check_groups(dataset: Mapping[str, Any]) -> Iterator[str]:
    """Groups come from the paths or from the numbers of the images, and masks can lie in folders named by group."""
    group, starts = dataset.get("group"), dataset.get("group_starts")
    if group is not None and starts is not None:
        yield _tell_exclusion(dataset, "group_starts", "group")
    yield from _check_expression(dataset, "group", "the patient or video in an image's path")
    if isinstance(starts, list):
        is_rising = starts == sorted(set(starts))
        if not starts or not is_rising:
            yield f"dataset.group_starts={show(starts)}: expected the first number of each sequence, in rising order"
    if not group and not starts and _masks_hold(dataset, "{group}"):
        masks = show(dataset["masks"])
        yield f"dataset.masks={masks}: {{group}} needs dataset.group, a regular expression on the path"


def _check_stem(dataset: Mapping[str, Any]) -> Iterator[str]:
    """The expression on an image's stem is for patterns of masks that hold it."""
    yield from _check_expression(dataset, "stem", "{stem} of the masks in an image's stem")
    stem = dataset.get("stem")
    if stem and not _masks_hold(dataset, "{stem}"):
        yield f"dataset.stem={stem}: no pattern of dataset.masks holds {{stem}}; drop dataset.stem"


def _check_split(dataset: Mapping[str, Any]) -> Iterator[str]:
    """A split file names all parts, so nothing else may set a part aside."""
    split = dataset.get("split")
    if not isinstance(split, Mapping) or not split.get("file"):
        return
    file = split["file"]
    if split.get("test"):
        yield (
            f"dataset.split.file={file}: the file names the test part too, so dataset.split.test has no place beside "
            f"it; write dataset.split={{file: {file}}}"
        )
    folds = dataset.get("folds")
    if folds is not None:
        yield f"dataset.folds={show(folds)}: dataset.split.file says what is tested on; drop one of them"


def _check_folds(dataset: Mapping[str, Any]) -> Iterator[str]:
    """A fold is one of a number of parts, counted from 0."""
    folds, fold = dataset.get("folds"), dataset.get("fold")
    if folds is None and fold is not None:
        yield f"dataset.fold={show(fold)}: which of how many? Set dataset.folds as well, to a number or all"
    if folds == "all" and fold is None:
        yield "dataset.fold: missing; dataset.folds=all needs the part to test on, 0 to one less than there are groups"
    if isinstance(folds, int) and folds > 1:
        last = folds - 1
        if fold is None:
            yield f"dataset.fold: missing; dataset.folds={folds} needs the part to test on, 0 to {last}"
        elif isinstance(fold, int) and fold >= folds:
            yield f"dataset.fold={fold}: expected an integer from 0 to {last}, as dataset.folds={folds}"


def _check_intensity(dataset: Mapping[str, Any]) -> Iterator[str]:
    window = dataset.get("intensity")
    if isinstance(window, list) and not _is_wide(window):
        yield f"dataset.intensity={show(window)}: expected a window [low, high] in file units, the lower number first"


def _check_range(dataset: Mapping[str, Any]) -> Iterator[str]:
    window = dataset.get("range")
    if isinstance(window, list) and not _is_wide(window):
        yield f"dataset.range={show(window)}: expected [black, white], white above black"


def _check_expression(dataset: Mapping[str, Any], key: str, meaning: str) -> Iterator[str]:
    """A regular expression must compile and hold a parenthesis."""
    pattern = dataset.get(key)
    if not isinstance(pattern, str):
        return
    try:
        problem = "" if re.compile(pattern).groups else "it holds no parenthesis"
    except re.error as error:
        problem = str(error)
    if problem:
        yield f"dataset.{key}={pattern}: expected a regular expression whose first parenthesis is {meaning}; {problem}"


def _is_wide(window: list[float]) -> bool:
    """Whether a window can be divided by; false where its ends are the wrong way round."""
    low, high = window
    return high - low >= NARROWEST


def _masks_hold(dataset: Mapping[str, Any], name: str) -> bool:
    """Whether a pattern of the masks holds `{group}` or `{stem}`."""
    patterns = dataset.get("masks") or ()
    return any(name in str(pattern) for pattern in patterns)


def _tell_exclusion(dataset: Mapping[str, Any], key: str, other: str) -> str:
    """The problem of a key beside another one that says the same."""
    value = show(dataset[key])
    return (
        f"dataset.{key}={value}: stands beside dataset.{other}; expected one of them, so drop the other "
        f"with dataset.{other}=null"
    )
