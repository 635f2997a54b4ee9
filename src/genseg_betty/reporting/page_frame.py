"""What every page is framed by: its style, its policy that nothing is loaded from afar, and when it was written."""

from datetime import UTC, datetime
from importlib.resources import files

from genseg_betty.reporting.elements import build_note, escape_text

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
PAGE = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta http-equiv="Content-Security-Policy" content="{policy}">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    "<title>{title} · GenSeg report</title><style>{style}</style></head>\n"
    "<body>{body}{footer}</body></html>\n"
)


def frame_page(title: str, body: str) -> str:
    """The whole page; `body` is markup."""
    style = files("genseg_betty.reporting").joinpath("page.css")
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return PAGE.format(
        policy=POLICY,
        title=escape_text(title),
        style=style.read_text(encoding="utf-8"),
        body=body,
        footer=build_note(f"GenSeg report, written {written}."),
    )
