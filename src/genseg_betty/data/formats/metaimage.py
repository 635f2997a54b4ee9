"""MetaImage (.mha, .mhd with its .raw or .zraw), by SimpleITK.

A header names the file that holds its values. Only a name beside the header is followed: another path would be
read as an image whatever lies there.
"""

from pathlib import Path

import numpy as np

from genseg_betty.data.formats.common import Header, ImageError, as_image, bounded, damaged, whole_numbers

EXTENSIONS = (".mha", ".mhd")
EXPECTED = "a MetaImage file (.mha, or .mhd beside its .raw)"
HEADER_BYTES = 65536


def read_image(path: Path) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] float32."""
    return as_image(_values(path))


def read_mask(path: Path) -> np.ndarray:
    """[H, W] or [D, H, W] integers."""
    values = _values(path)
    if values.shape[-1] != 1:
        raise ImageError("unexpected_label", f"holds {values.shape[-1]} channels; expected one label a voxel")
    return whole_numbers(values[..., 0])


def read_header(path: Path) -> Header:
    """Shape and spacing in mm, from the header alone."""
    keys = _keys(path)
    try:
        sides = tuple(int(side) for side in keys["DimSize"].split())
        given = keys.get("ElementSpacing") or keys.get("ElementSize")
        spacing = tuple(float(step) for step in given.split()) if given else (1.0,) * len(sides)
    except (KeyError, ValueError) as error:
        raise damaged(path, error, EXPECTED) from error
    bounded((*sides, _channels(keys)))
    if len(sides) not in (2, 3) or len(spacing) != len(sides):
        raise ImageError("unreadable", f"has {len(sides)} dimensions; expected 2 or 3")
    if len(sides) == 3 and sides[2] == 1:
        sides, spacing = sides[:2], spacing[:2]
    return Header(sides[::-1], spacing[::-1])


def data_files(path: Path) -> list[Path]:
    """The file beside the header that holds the values; none where they follow the header."""
    name = _keys(path)["ElementDataFile"]
    return [] if name == "LOCAL" else [path.parent / name]


def _values(path: Path) -> np.ndarray:
    import SimpleITK

    header = read_header(path)
    try:
        array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path), imageIO="MetaImageIO"))
    except RuntimeError as error:
        raise damaged(path, error, EXPECTED) from error
    return array.reshape((*header.shape, -1))


def _channels(keys: dict[str, str]) -> int:
    text = keys.get("ElementNumberOfChannels", "1")
    return int(text) if text.isdigit() else 0


def _keys(path: Path) -> dict[str, str]:
    """The header's lines; its data file is checked."""
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except OSError as error:
        raise damaged(path, error, EXPECTED) from error
    keys: dict[str, str] = {}
    for line in head.split(b"\n"):
        key, separator, value = line.decode("latin-1").partition("=")
        if not separator:
            break
        keys[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            _check_data_file(path, keys["ElementDataFile"])
            return keys
    raise ImageError("unreadable", f"has no line ElementDataFile; expected {EXPECTED}")


def _check_data_file(path: Path, name: str) -> None:
    if name == "LOCAL":
        return
    beside = path.parent / name
    if Path(name).name != name or "%" in name or name == "LIST":
        message = f"keeps its values in {name!r}; expected LOCAL or the name of one file beside it"
        raise ImageError("unsafe", message)
    if not beside.is_file():
        raise ImageError("unreadable", f"keeps its values in {name}, which is not there; add that file")
    if beside.resolve().parent != path.parent.resolve():
        raise ImageError("unsafe", f"keeps its values in {name}, a link to another folder; copy that file in")
