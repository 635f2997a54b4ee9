"""A header that names the file of its values: only a name beside the header is followed.

Another path would be read as an image whatever lies there.
"""

from pathlib import Path

from genseg_betty.data.formats.common import ImageError


def require_beside(header: Path, name: str, expected: str) -> None:
    """Raise ImageError unless `name` is one file in the folder of its header; `expected` says what may stand there.

    Several files, a list of them or a pattern such as `slice%03d.raw`, are `unsafe` as another folder is.
    """
    is_pattern = "%" in name
    is_list = name.split()[:1] == ["LIST"]
    path = Path(name)
    is_in_folder = path.name == str(path)  # "./values.raw" is beside its header as well
    if is_pattern or is_list or not is_in_folder or not name.isprintable():
        raise ImageError("unsafe", f"keeps its values in {name!r}; expected {expected}")

    # A link beside the header may lead elsewhere.
    folder = header.parent
    beside = folder / name
    if not beside.is_file():
        raise ImageError("unreadable", f"keeps its values in {name}, which is not there; add that file")
    folder_of_values = beside.resolve().parent
    if folder_of_values != folder.resolve():
        raise ImageError("unsafe", f"keeps its values in {name}, a link to another folder; copy that file in")
