"""Masks that another tool or a person made, paired by stem with the cases that they are scored on.

A mean over what happened to be there would mislead, so each case needs its mask. All that does not fit is told at once.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genseg_betty.data.formats import ImageError, read_header, split_name
from genseg_betty.data.source.case import Case, Sample
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.masks import fit_on_image
from genseg_betty.data.split.parts import order_tested
from genseg_betty.errors import UserError
from genseg_betty.faults import count_things, list_below, list_examples, merge_alike
from genseg_betty.files import is_hidden

MOST_NAMED = 20
"""Files of one kind in a message."""
MASK_SUFFIXES = ("_mask", "_segmentation")
"""What a mask may add to the stem of its image, as `dataset=folder` reads them."""
PROBABILITIES = (".npz", ".npy")
"""What tools write beside a mask of the same stem."""


@dataclass(frozen=True)
class GivenMasks:
    """The file of each case by its id, the cases in the order of the dataset, and what the user should know."""

    cases: list[Case]
    files: dict[str, Path]
    notes: list[str]

    def predict(self, dataset: Dataset, case: Case) -> tuple[Sample, np.ndarray]:
        """A case as its files hold it, and the class indices of its given mask. Raises UserError."""
        sample = dataset.load(case)
        file = self.files[case.id]
        assert sample.mask is not None  # a Case is a labelled image
        header = replace(read_header(case.image), shape=sample.mask.shape)
        try:
            indices, _ = dataset.read_mask(file, header)
        except ImageError as error:
            raise UserError(f"{dataset.name}: {file}: {error}") from error
        return sample, indices


def pair_given_masks(folder: Path, dataset: Dataset, n_test: int | None = None) -> GivenMasks:
    """Pair the masks in `folder` with all labelled cases, or with the test part where they are exactly those.

    A case is known by its id, which is the stem of its image, or of its mask; `x_mask` belongs to `x`. Files in folders
    below count as well, those with a nearer name first. Raises UserError with every case without a mask, with several
    or with one that does not lie on it; with these it names the masks of no case.

    Args:
        n_test: how many cases of its test part a Run would be tested on.
    """
    if dataset.root is None:
        raise UserError(f"{dataset.name} is drawn, not read: its masks lie in no files that others could predict")
    found = _Found(folder)
    if not found.files:
        raise UserError(f"{folder} holds no mask; expected a file of an image format for each case of {dataset.name}")
    files = {case.id: found.find_files(case) for case in dataset.cases}
    cases, notes = _choose_cases(dataset, files, n_test)

    faults = _list_faults(dataset, cases, files)
    taken = {path for paths in files.values() for path in paths}
    extra = [path.relative_to(folder).as_posix() for path in found.files if path not in taken]
    if extra:
        named = list_examples(extra, MOST_NAMED)
        sentence = f"{count_things(extra, 'mask')} of no case: {named}"
        notes.append(f"{sentence}. They are not scored")
        faults = [*faults, sentence] if faults else []
    if faults:
        title = f"The masks in {folder} cannot be scored on {dataset.name}:"
        raise UserError(list_below(title, faults))
    return GivenMasks(cases, {case.id: files[case.id][0] for case in cases}, notes)


class _Found:
    """The files of image formats below a folder, and which of them a case may mean."""

    def __init__(self, folder: Path) -> None:
        self.files = [path for path in sorted(folder.rglob("*")) if _is_visible(path.relative_to(folder))]
        self._by_path: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for path in self.files:
            below, _ = split_name(path.relative_to(folder).as_posix())
            stem, _ = split_name(path.name)
            self._by_path[below].append(path)
            self._by_stem[stem].append(path)

    def find_files(self, case: Case) -> list[Path]:
        """The masks that bear the name of a case; where there is one, probabilities beside it are left out."""
        for name in _list_names(case):
            found = self._by_path.get(name) or ([] if "/" in name else self._by_stem.get(name, []))
            masks = [path for path in found if split_name(path.name)[1] not in PROBABILITIES]
            if found:
                return masks or found
        return []


def _is_visible(relative: Path) -> bool:
    """Whether a file is of an image format, and neither hidden nor a Mac's litter."""
    return bool(split_name(relative.name)[1]) and not is_hidden(relative)


def _list_names(case: Case) -> list[str]:
    """What the mask of a case may be called, the likeliest first."""
    names = [case.id]
    if "/" in case.id:  # other cases have the same stem
        return names
    if len(case.masks) == 1:
        names.append(split_name(case.masks[0].name)[0])
    for name in tuple(names):
        names += [name.removesuffix(suffix) for suffix in MASK_SUFFIXES]
        names += [f"{name}{suffix}" for suffix in MASK_SUFFIXES]
    return list(dict.fromkeys(names))


def _choose_cases(dataset: Dataset, files: dict[str, list[Path]], n_test: int | None) -> tuple[list[Case], list[str]]:
    """All labelled cases; the test part, or what a Run tests of it, where the masks are of exactly these cases."""
    predicted = {id for id, paths in files.items() if paths}
    if len(predicted) == len(dataset.cases):
        return dataset.cases, []
    parts: list[set[str]] = []
    with suppress(UserError):  # a dataset too small for a test part has none
        test = dataset.select_cases(dataset.test_ids())
        by_id = {case.id: case for case in test}
        parts = [set(by_id), set(order_tested(by_id, n_test)[:n_test])]
    if predicted and predicted in parts:
        cases = dataset.select_cases(predicted)
        return cases, [f"the masks are those of the test part of {dataset.name}, {len(cases)} cases, which are scored"]
    return dataset.cases, []


def _list_faults(dataset: Dataset, cases: Sequence[Case], files: dict[str, list[Path]]) -> list[str]:
    """Lines for all cases without a mask, with several masks, and with one of another size or place."""
    missing = [case.id for case in cases if not files[case.id]]
    lines = []
    if missing:
        named = list_examples(missing, MOST_NAMED)
        lines.append(f"{count_things(missing, 'case')} of {len(cases)} without a mask of the same stem: {named}")
    unfitting: list[tuple[str, str]] = []
    for case in cases:
        paths = files[case.id]
        if len(paths) > 1:
            named = list_examples([str(path) for path in paths])
            unfitting.append((case.id, f"has {len(paths)} masks, {named}"))
        elif paths:
            unfitting += _find_misfit(dataset, case, paths[0])
    return lines + merge_alike(unfitting, "masks")


def _find_misfit(dataset: Dataset, case: Case, mask: Path) -> list[tuple[str, str]]:
    """The mask and in which way it does not lie on its case; nothing where it does, or the case cannot be read."""
    with suppress(ImageError):  # a case that cannot be read is told with all others
        image = read_header(case.image)
        try:
            fit_on_image(read_header(mask), image, scaled=dataset.scaled_masks)
        except ImageError as error:
            return [(str(mask), str(error))]
    return []
