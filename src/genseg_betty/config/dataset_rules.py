"""Keys of a dataset that exclude or need each other, and patterns that cannot work: found before any file is read."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from genseg_betty.config.wording import show

NARROWEST = 1e-30  # between the ends of a window of intensities, which is divided by


def dataset_faults(dataset: Mapping[str, Any]) -> list[str]:
    """One line for each fault of a `dataset` section; keys whose values are of a wrong kind are left out of it."""
    rules = (_source, _labels, _groups, _stem, _split, _folds, _intensity, _range)
    return [fault for rule in rules for fault in rule(dataset)]


def _source(dataset: Mapping[str, Any]) -> Iterator[str]:
    """A folder belongs to a dataset that is read, and what is read is found by patterns."""
    root = dataset.get("root")
    if dataset.get("reader") == "phantom" and root is not None:
        yield f"dataset.root={show(root)}: phantom is drawn, not read; add dataset=folder to read images from there"
    if dataset.get("reader") == "files":
        for key, example in (("images", "images/*.*"), ("masks", "masks/{stem}.*")):
            if dataset.get(key) == []:
                yield f"dataset.{key}: missing; expected patterns below the root, such as ['{example}']"


def _labels(dataset: Mapping[str, Any]) -> Iterator[str]:
    given = [key for key in ("labels", "classes", "threshold") if dataset.get(key) is not None]
    for key in given[1:]:
        yield _beside(dataset, key, given[0])
    if dataset.get("foreground") and not {"labels", "classes"} & set(given):
        yield (
            f"dataset.foreground={show(dataset['foreground'])}: there are no labels to choose from; expected "
            "dataset.labels={name: value, …} or dataset.classes=[name, …] beside it"
        )


def _groups(dataset: Mapping[str, Any]) -> Iterator[str]:
    group, starts = dataset.get("group"), dataset.get("group_starts")
    if group is not None and starts is not None:
        yield _beside(dataset, "group_starts", "group")
    yield from _expression(dataset, "group", "the patient or video in an image's path")
    if isinstance(starts, list) and not (starts and starts == sorted(set(starts))):
        yield f"dataset.group_starts={show(starts)}: expected the first number of each sequence, in rising order"
    if not (group or starts) and any("{group}" in str(pattern) for pattern in dataset.get("masks") or ()):
        yield f"dataset.masks={show(dataset['masks'])}: {{group}} needs dataset.group, a regular expression on the path"


def _stem(dataset: Mapping[str, Any]) -> Iterator[str]:
    yield from _expression(dataset, "stem", "{stem} of the masks in an image's stem")
    if dataset.get("stem") and not any("{stem}" in str(pattern) for pattern in dataset.get("masks") or ()):
        yield f"dataset.stem={dataset['stem']}: no pattern of dataset.masks holds {{stem}}; drop dataset.stem"


def _split(dataset: Mapping[str, Any]) -> Iterator[str]:
    split = dataset.get("split")
    if not isinstance(split, Mapping) or not split.get("file"):
        return
    file = split["file"]
    if split.get("test"):
        yield (
            f"dataset.split.file={file}: the file names the test part too, so dataset.split.test has no place beside "
            f"it; write dataset.split={{file: {file}}}"
        )
    if dataset.get("folds") is not None:
        yield f"dataset.folds={show(dataset['folds'])}: dataset.split.file says what is tested on; drop one of them"


def _folds(dataset: Mapping[str, Any]) -> Iterator[str]:
    folds, fold = dataset.get("folds"), dataset.get("fold")
    if folds is None and fold is not None:
        yield f"dataset.fold={show(fold)}: which of how many? Set dataset.folds as well, to a number or all"
    if folds == "all" and fold is None:
        yield "dataset.fold: missing; dataset.folds=all needs the part to test on, 0 to one less than there are groups"
    if isinstance(folds, int) and folds > 1:
        if fold is None:
            yield f"dataset.fold: missing; dataset.folds={folds} needs the part to test on, 0 to {folds - 1}"
        elif isinstance(fold, int) and fold >= folds:
            yield f"dataset.fold={fold}: expected an integer from 0 to {folds - 1}, as dataset.folds={folds}"


def _intensity(dataset: Mapping[str, Any]) -> Iterator[str]:
    window = dataset.get("intensity")
    if isinstance(window, list) and not window[1] - window[0] >= NARROWEST:
        yield f"dataset.intensity={show(window)}: expected a window [low, high] in file units, the lower number first"


def _range(dataset: Mapping[str, Any]) -> Iterator[str]:
    values = dataset.get("range")
    if isinstance(values, list) and not values[1] - values[0] >= NARROWEST:
        yield f"dataset.range={show(values)}: expected [black, white], white above black"


def _beside(dataset: Mapping[str, Any], key: str, other: str) -> str:
    return (
        f"dataset.{key}={show(dataset[key])}: stands beside dataset.{other}; expected one of them, so drop the other "
        f"with dataset.{other}=null"
    )


def _expression(dataset: Mapping[str, Any], key: str, meaning: str) -> Iterator[str]:
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
