"""The few pieces of HTML that the report is made of.

Whatever comes in as text goes out escaped; `content`, `head` and `body` are markup already.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from genseg_betty.files import bounded_read
from genseg_betty.reporting.values import NONE
from genseg_betty.terminal import harmless

COLOURS = 6
"""That the style has: c0 to c5."""
MAX_PICTURE = 2**25
"""Bytes."""
# Pillow raises SyntaxError for a broken PNG.
UNREADABLE = (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError)


def escape_text(value: Any) -> str:
    """Any value as escaped text, without characters that turn or hide what follows; a dash for None."""
    return NONE if value is None else escape(harmless(value))


def build_element(tag: str, content: str = "", css: str = "", **attributes: float | str) -> str:
    """An element around markup. `css` is its class; for the other attributes see `write_attributes`."""
    written = write_attributes(css, attributes)
    return f"<{tag}{written}>{content}</{tag}>"


def write_attributes(css: str, attributes: Mapping[str, float | str]) -> str:
    """The attributes of a tag: a space before each, and `text-anchor` for the argument `text_anchor`.

    Floats have one decimal, as pixels do; whole numbers and text are written as they are.
    """
    written = f' class="{css}"' if css else ""
    for argument, value in attributes.items():
        name = argument.replace("_", "-")
        number = f"{value:.1f}" if isinstance(value, float) else value
        written += f' {name}="{number}"'
    return written


def build_heading(text: str, tag: str = "h2") -> str:
    """A heading; `tag` is h1 for that of the page, h3 for that of a part of a part."""
    return build_element(tag, escape_text(text))


def build_note(text: str, css: str = "note") -> str:
    """A paragraph of text. `css` says of what kind: note, notice, lead, or missing."""
    return build_element("p", escape_text(text), css)


def build_list(items: Mapping[str, Any]) -> str:
    """Names and values in two columns; None values are left out."""
    rows = ""
    for name, value in items.items():
        if value is not None:
            rows += build_element("dt", escape_text(name))
            rows += build_element("dd", escape_text(value))
    return build_element("dl", rows)


def build_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A plain table; the first cell of a row is its head."""
    head = "".join(build_element("th", escape_text(column)) for column in columns)
    body = ""
    for first, *others in rows:
        cells = build_element("th", escape_text(first), scope="row")
        for cell in others:
            cells += build_element("td", escape_text(cell))
        body += build_element("tr", cells)
    return frame_table(build_element("tr", head), body)


def frame_table(head: str, body: str) -> str:
    """A table of these rows, which scrolls where it is wider than the page."""
    parts = build_element("thead", head) + build_element("tbody", body)
    table = build_element("table", parts)
    return build_element("div", table, "scroll")


def fold_part(title: str, content: str) -> str:
    """Markup that is shown when its title is pressed."""
    head = build_element("summary", escape_text(title))
    return build_element("details", head + content)


def build_figure(caption: str, content: str) -> str:
    """A figure below its caption."""
    head = build_element("figcaption", escape_text(caption))
    return build_element("figure", head + content)


def build_legend(names: Sequence[str]) -> str:
    """What the colours c0, c1, … stand for; where there are more names than colours, the others are dashed."""
    entries = ""
    for index, name in enumerate(names):
        label = build_element("span", escape_text(name))
        dashed = " dashed" if index >= COLOURS else ""
        entries += build_element("span", label, f"key c{index % COLOURS}{dashed}")
    return build_element("p", entries)


def embed_picture(path: Path, caption: str) -> str:
    """A picture inside the page; a note in its place if the file cannot be read, or is a link to one elsewhere."""
    try:
        content = read_picture(path, "PNG")
    except UNREADABLE:
        return build_note(f"{path.name} cannot be read", "missing")
    return build_figure(caption, tag_picture(content, "png", caption))


def read_picture(path: Path, kind: str) -> bytes:
    """The content of a picture of a Run. Raises one of `UNREADABLE` if it is none of its kind, too large, or a link."""
    if path.is_symlink() or path.parent.is_symlink():
        raise ValueError("a link")
    content = bounded_read(path, MAX_PICTURE)
    with Image.open(io.BytesIO(content), formats=[kind]) as image:
        image.verify()
    return content


def tag_picture(content: bytes, kind: str, caption: str) -> str:
    """The tag of a picture inside the page; `kind` is png or jpeg."""
    data = base64.b64encode(content).decode()
    return f'<img alt="{escape_text(caption)}" src="data:image/{kind};base64,{data}">'
