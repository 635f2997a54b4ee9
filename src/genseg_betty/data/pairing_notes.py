"""What is told of a dataset's files though it is no fault: names that are one file elsewhere, files not read."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from genseg_betty.data.files import Tree, fixed_folder
from genseg_betty.faults import list_examples

MAX_LISTED = 5  # files named in one message


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
    """Which files lie in a folder that a pattern names, and are neither images nor masks."""
    folders = {fixed_folder(pattern) for pattern in patterns} - {"."}
    series = [name for name in taken if tree.files[name].is_dir()]
    below = tuple(f"{folder}/" for folder in folders) or ("/",)
    slices = tuple(f"{name}/" for name in series) or ("/",)
    files = [name for name, path in tree.files.items() if not path.is_dir()]
    left = [name for name in files if name.startswith(below) and name not in taken and not name.startswith(slices)]
    if not left:
        return []
    return [
        f"{len(left)} files in {', '.join(sorted(folders))} are no image and no mask by the patterns: "
        f"{list_examples(sorted(left), MAX_LISTED)}"
    ]
