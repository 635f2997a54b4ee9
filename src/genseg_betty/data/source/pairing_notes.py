"""What is told of a dataset's files though it is no fault: names that are one file elsewhere, files not read."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from genseg_betty.data.source.patterns import fixed_folder
from genseg_betty.data.source.tree import Tree
from genseg_betty.faults import list_examples

MAX_LISTED = 5  # files named in one message
FOLDERS_OF_MASKS = "dataset.masks=\"['masks/{stem}/']\""


def note_other_case(images: Iterable[str]) -> list[str]:
    """Which images differ in upper and lower case alone: on Windows and most Macs they are one file."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in images:
        alike[name.casefold()].append(name)
    told = []
    for names in alike.values():
        if len(names) > 1:
            told.append(" beside ".join(names))
    if not told:
        return []
    listed = list_examples(told, MAX_LISTED)
    return [
        f"{len(told)} names differ in upper and lower case alone, and are one file on Windows and most Macs: {listed}"
    ]


def note_files_left(tree: Tree, patterns: Sequence[str], taken: Collection[str]) -> list[str]:
    """What lies in a folder that a pattern names, and is neither image nor mask: files, and DICOM series."""
    folders = {fixed_folder(pattern) for pattern in patterns}
    folders.discard(".")

    # A folder of DICOM slices is a series; everything else is a file.
    series = {name for name, path in tree.files.items() if path.is_dir()}
    free_series = []
    free_files = []
    for name in _list_below(tree.files, folders):
        if name in taken:
            continue
        if name in series:
            free_series.append(name)
        else:
            free_files.append(name)

    # The slices of a series are files of their own in the tree; they are told with their series, or taken with it.
    told_series = series & {*taken, *free_series}
    slices = _list_below(free_files, told_series)
    left = sorted(set(free_files) - set(slices))

    names = ", ".join(sorted(folders))
    where = f"in {names} are no image and no mask by the patterns"
    notes = []
    if left:
        listed = list_examples(left, MAX_LISTED)
        notes.append(f"{len(left)} files {where}: {listed}")
    if free_series:
        marked = [f"{name}/" for name in free_series]
        listed = list_examples(sorted(marked), MAX_LISTED)
        notes.append(
            f"{len(marked)} DICOM series {where}: {listed}; "
            f"a pattern that ends in / takes such folders, as {FOLDERS_OF_MASKS} does"
        )
    return notes


def _list_below(names: Iterable[str], folders: Iterable[str]) -> list[str]:
    """Those of the names that lie in one of the folders, however deep."""
    starts = tuple(f"{folder}/" for folder in folders)
    return [name for name in names if name.startswith(starts)]
