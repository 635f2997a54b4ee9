"""The kinds of single values that keys of conf/ hold: numbers with their limits, texts with their form.

Limits that go without saying (`beyond`, `Length`) lie where nothing sensible is left, and float32 still counts well.
"""

import posixpath
from pathlib import Path
from typing import Annotated, Any, Literal

from genseg_betty.config.marks import Form, Length, Product, Range, Rising
from genseg_betty.config.plain import LARGEST

MANY = 10**9
DEEPEST = 100  # folders below each other
LONGEST_NAME = 255  # bytes of a file's name
Count = Annotated[int, Range(least=0, beyond=MANY)]
Positive = Annotated[int, Range(least=1, beyond=MANY)]
Several = Annotated[int, Range(least=2, beyond=MANY)]
Number = Annotated[int, Range(least=0, beyond=LARGEST)]  # in a file's name, or of a drawing
Seed = Annotated[int, Range(least=0, below=2**32)]
BatchSize = Annotated[int, Range(least=1, beyond=1024)]

Fraction = Annotated[float, Range(least=0, below=1)]
Share = Annotated[float, Range(least=0, most=1)]  # of images or channels that an operation is drawn for
Weight = Annotated[float, Range(least=0, beyond=1e6)]  # of a term of a loss, or of weight decay
Rate = Annotated[float, Range(least=0, beyond=1e3)]  # 0 freezes what it belongs to
Epsilon = Annotated[float, Range(least=1e-16, most=1)]  # its square is divided by

Side = Annotated[int, Range(least=32, most=4096)]  # pixels
Rectangle = tuple[Side, Side]
Cuboid = Annotated[tuple[Side, Side, Side], Product(2**27, "voxels")]
ImageSize = Side | Rectangle | Cuboid
Step = Annotated[float, Range(above=0, beyond=1e4)]  # mm
Byte = Annotated[int, Range(least=0, most=255)]
Label = Annotated[int, Range(least=0, most=65535)]
Colour = tuple[Byte, Byte, Byte]  # red, green, blue
Level = Annotated[float, Range(beyond=1e30)]  # an intensity in a file's units
Window = tuple[Level, Level]
Border = Literal["zeros", "border", "reflection"]
Axis = Literal[0, 1, 2]
Angle = Annotated[float, Range(least=0, most=180)]  # degrees
Factor = Annotated[float, Range(least=0, most=10)]  # of intensities, or standard deviations of noise
Factors = Annotated[tuple[Factor, Factor], Rising()]
Exponent = Annotated[float, Range(least=0.1, most=10)]
Exponents = Annotated[tuple[Exponent, Exponent], Rising()]
Blur = Annotated[float, Range(least=0.1, most=8)]  # pixels
Blurs = Annotated[tuple[Blur, Blur], Rising()]
Shrinking = Annotated[float, Range(least=0.05, most=1)]  # the factor of a size
Shrinkings = Annotated[tuple[Shrinking, Shrinking], Rising()]
Zoom = Annotated[float, Range(least=0.1, most=10)]
Zooms = Annotated[tuple[Zoom, Zoom], Rising()]

Channels = Annotated[int, Range(least=1, beyond=4096)]
Levels = Annotated[int, Range(least=1, beyond=16)]  # each halves the image
Layers = Annotated[int, Range(least=1, beyond=128)]
Kernel = Annotated[int, Range(least=2, beyond=32)]


def _find_path_fault(text: str) -> str:
    names = [name.encode() for name in text.split("/")]
    longest = max(len(name) for name in names)
    if longest > LONGEST_NAME:
        return f"one of its names has {longest} bytes, and {LONGEST_NAME} are the most"
    try:
        Path(text).expanduser()
    except RuntimeError:
        user = text.partition("/")[0][1:]
        return f"there is no user {user}"
    return ""


def _find_folder_fault(text: str) -> str:
    try:
        float(text)
    except ValueError:
        return _find_path_fault(text)
    return "a number of images is whole, 0 or more"


def _find_name_fault(text: str) -> str:
    if "/" in text or text in (".", ".."):
        return "it names a folder elsewhere; expected a name without /"
    return _find_path_fault(text)


def _find_pattern_fault(text: str) -> str:
    """A pattern stays below the dataset's root; `{dir}` stands for a folder there, from which it may go up."""
    # How deep that folder lies, and so how far up a pattern may go, only the files tell.
    folders = "folder/" * DEEPEST
    place = posixpath.normpath(text.replace("{dir}", folders))
    if place.startswith(("/", "..")):
        return f"the pattern {text} leads out of the dataset's root; write it relative to the root"
    return ""


def _find_run_dir_fault(text: str) -> str:
    place = posixpath.normpath(text)
    if not place.strip("/"):
        return "the files of a Run would lie among those of the whole system; name a folder of its own"
    return _find_path_fault(text)


Word = Annotated[str, Length(1, 200)]  # the name of something in a library
Title = Annotated[str, Length(0, 1000)]
ClassName = Annotated[str, Length(1, 200)]
Expression = Annotated[str, Length(1, 1000)]
FilePath = Annotated[str, Length(1, 4096), Form(_find_path_fault)]
ImageFolder = Annotated[str, Length(1, 4096), Form(_find_folder_fault)]  # where a number would do as well
RunPath = Annotated[str, Length(1, 4096), Form(_find_run_dir_fault)]
Name = Annotated[str, Length(0, 200), Form(_find_name_fault)]  # of a dataset, which is looked for in a folder called so
Pattern = Annotated[str, Length(1, 4096), Form(_find_pattern_fault)]
Patterns = Annotated[list[Pattern], Length(0, 10_000)]
OtherDataset = Word | dict[str, Any]
