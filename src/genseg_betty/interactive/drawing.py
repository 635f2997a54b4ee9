"""A figure that a notebook shows and a program saves."""

from collections.abc import Callable
from pathlib import Path

from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write

SUFFIXES = (".svg", ".pdf", ".png")


class Drawing:
    """A figure: a notebook shows it, `save` writes it.

    Args:
        encode: the content of the figure's file in a format, svg, pdf or png.
    """

    def __init__(self, encode: Callable[[str], bytes]) -> None:
        self._encode = encode

    def save(self, path: str | Path) -> Path:
        """Write the figure in the format that the suffix names, .svg, .pdf or .png. Raises UserError."""
        path = Path(path).expanduser()
        if path.suffix not in SUFFIXES:
            raise UserError(f"{path}: a figure is written as {', '.join(SUFFIXES)}; expected one of these suffixes")
        content = self._encode(path.suffix.removeprefix("."))
        try:
            atomic_write(path, content)
        except OSError as error:
            raise UserError(f"the figure cannot be written to {path}: {error.strerror}") from error
        return path

    def _repr_svg_(self) -> str:
        return self._encode("svg").decode()
