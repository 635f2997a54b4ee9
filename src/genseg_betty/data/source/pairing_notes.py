"""What is told of a dataset's files though it is no fault: names that are one file elsewhere, files not read."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from genseg_betty.data.source.files import Tree, fixed_folder
from genseg_betty.faults import list_examples

MAX_LISTED = 5  # files named in one message
FOLDERS_OF_MASKS = "dataset.masks=\"['masks/{stem}/']\""


def note_other_case(images: Sequence[str]) -> list[str]:
    """Which images differ in upper and lower case alone: on Windows and most Macs they are one file."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in images:
        alike[name.casefold()].append(name)
    told = [" beside ".join(names) for names in alike.values() if len(names) > 1]
    if not told:
        return []
    return [
        f"{len(told)} names differ in upper and lower case alone, and are one file on Windows and most Macs: "
        f"{list_examples(told, MAX_LISTED)}"
    ]


def note_files_left(tree: Tree, patterns: Sequence[str], taken: Collection[str]) -> list[str]:
    """What lies in a folder that a pattern names, and is neither image nor mask: files, and DICOM series."""
    folders = {fixed_folder(pattern) for pattern in patterns} - {"."}
    below = tuple(f"{folder}/" for folder in folders) or ("/",)
    series = {name for name, path in tree.files.items() if path.is_dir()}
    free = [name for name in tree.files if name not in taken and name.startswith(below)]
    # The slices of a series are files of their own in the tree; they are told with their series, or taken with it.
    slices = tuple(f"{name}/" for name in series & {*taken, *free}) or ("/",)
    left_series = sorted(f"{name}/" for name in free if name in series)
    left_files = sorted(name for name in free if name not in series and not name.startswith(slices))
    where = f"in {', '.join(sorted(folders))} are no image and no mask by the patterns"
    notes = []
    if left_files:
        notes.append(f"{len(left_files)} files {where}: {list_examples(left_files, MAX_LISTED)}")
    if left_series:
        advice = f"a pattern that ends in / takes such folders, as {FOLDERS_OF_MASKS} does"
        notes.append(f"{len(left_series)} DICOM series {where}: {list_examples(left_series, MAX_LISTED)}; {advice}")
    return notes
