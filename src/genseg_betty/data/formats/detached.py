"""A header that names the file of its values: only a name beside the header is followed.

Another path would be read as an image whatever lies there.
"""

from pathlib import Path

from genseg_betty.data.formats.common import ImageError


def require_beside(header: Path, name: str, expected: str) -> None:
    """Raise ImageError unless `name` is one file in the folder of its header; `expected` says what may stand there.

    Several files, a list of them or a pattern such as `slice%03d.raw`, are `unsafe` as another folder is.
    """
    several = "%" in name or name.split()[:1] == ["LIST"]
    in_folder = Path(name).name == str(Path(name))  # "./values.raw" is beside its header as well
    if not in_folder or not name.isprintable() or several:
        raise ImageError("unsafe", f"keeps its values in {name!r}; expected {expected}")
    beside = header.parent / name
    if not beside.is_file():
        raise ImageError("unreadable", f"keeps its values in {name}, which is not there; add that file")
    if beside.resolve().parent != header.parent.resolve():
        raise ImageError("unsafe", f"keeps its values in {name}, a link to another folder; copy that file in")
