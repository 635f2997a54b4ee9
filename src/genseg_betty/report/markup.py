"""The few pieces of HTML that the report is made of. Whatever comes in as text goes out escaped."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from genseg_betty.files import bounded_read
from genseg_betty.report.record import NONE
from genseg_betty.terminal import harmless

MAX_PICTURE = 2**25  # bytes
# Pillow raises SyntaxError for a broken PNG.
UNREADABLE = (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError)


def text(value: Any) -> str:
    """Any value as escaped text, without characters that turn or hide what follows; a dash for None."""
    return NONE if value is None else escape(harmless(value))


def score(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: 0.25 s, 42 s, 5 min 12 s, 3 h 5 min."""
    if seconds is None:
        return NONE
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: float | None) -> str:
    """Bytes in MiB or GiB."""
    if count is None:
        return NONE
    if count < 2**30:
        return f"{count / 2**20:.0f} MiB"
    return f"{count / 2**30:.2f} GiB"


def listing(items: Mapping[str, Any]) -> str:
    """Names and values in two columns; None values are left out."""
    rows = (f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in items.items() if value is not None)
    return f"<dl>{''.join(rows)}</dl>"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A plain table; the first cell of a row is its head."""
    head = "".join(f"<th>{text(column)}</th>" for column in columns)
    body = ""
    for first, *others in rows:
        cells = "".join(f"<td>{text(cell)}</td>" for cell in others)
        body += f'<tr><th scope="row">{text(first)}</th>{cells}</tr>'
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def figure(caption: str, content: str) -> str:
    """`content` is markup, `caption` text."""
    return f"<figure><figcaption>{text(caption)}</figcaption>{content}</figure>"


def key(names: Sequence[str]) -> str:
    """What the colours c0, c1, … stand for."""
    entries = (f'<span class="key c{index}"><span>{text(name)}</span></span>' for index, name in enumerate(names))
    return f"<p>{''.join(entries)}</p>"


def picture(path: Path, caption: str) -> str:
    """A picture inside the page; a note in its place if the file cannot be read, or is a link to one elsewhere."""
    try:
        if path.is_symlink() or path.parent.is_symlink():
            raise ValueError("a link")
        content = bounded_read(path, MAX_PICTURE)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.verify()
    except UNREADABLE:
        return f'<p class="missing">{text(path.name)} cannot be read</p>'
    data = base64.b64encode(content).decode()
    return figure(caption, f'<img alt="{text(caption)}" src="data:image/png;base64,{data}">')
