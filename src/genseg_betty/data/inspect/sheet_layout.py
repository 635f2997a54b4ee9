"""The contact sheet as a picture: a title, a few lines, the legend of the classes, and the tiles in rows."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from genseg_betty.data.inspect.lettering import BOLD, fit_text, load_font
from genseg_betty.data.inspect.tiles import BOX, CASING, INK, LINE, Colour, Tile

GAP = 12  # pixels between tiles, and around them
COLUMN = BOX + GAP  # pixels from one tile to the next
BENEATH = 3  # lines under a picture: id, size, foreground
ROW = BOX + BENEATH * LINE + GAP  # pixels from one row of tiles to the next
LEAST_COLUMNS = 4  # the sheet is at least so wide, for its title
TITLE_LINES = 2
TITLE_SIZE = 20  # pixels
SWATCH = 11  # pixels a side of the square before a name in the legend
BEFORE_NAME = 18  # pixels from the left edge of the square to the name
PAPER = (250, 250, 250)

Entry = tuple[str, Colour]  # of the legend: a class and its colour
Place = tuple[int, int]  # pixels from the left, and line from 0


def compose_sheet(
    title: str, summary: Sequence[str], legend: Sequence[Entry], tiles: Sequence[Tile], columns: int | None = None
) -> Image.Image:
    """The sheet of these tiles, row by row; `summary` are the lines beneath the title.

    There are as many `columns`; None: as many as make it about as wide as high.
    """
    columns = columns or _count_columns(len(tiles))
    rows = -(-len(tiles) // columns)
    width = max(columns, LEAST_COLUMNS) * COLUMN
    text_width = width - GAP
    places, legend_lines = _place_legend(legend, text_width)

    # Title, summary and legend stand above the tiles, with a gap before and after.
    before_legend = TITLE_LINES + len(summary)
    lines = before_legend + legend_lines
    top = GAP + lines * LINE + GAP
    height = top + rows * ROW
    sheet = Image.new("RGB", (width + GAP, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_header(draw, title, summary, text_width)
    for entry, place in zip(legend, places, strict=True):
        _draw_entry(draw, entry, place, before_legend)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        left = GAP + column * COLUMN
        _paste_tile(sheet, tile, left, top + row * ROW)
    return sheet


def _count_columns(tiles: int) -> int:
    """As many as make the sheet about as wide as high; a few tiles stand in one row."""
    square = round((1.5 * tiles) ** 0.5)
    columns = max(LEAST_COLUMNS, square)
    return min(tiles, columns)


def _place_legend(legend: Sequence[Entry], width: int) -> tuple[list[Place], int]:
    """The place of each entry of the legend, and the number of lines."""
    font = load_font()
    places = []
    left = 0
    line = 0
    for name, _ in legend:
        fitted = fit_text(name, BOX, font)
        length = int(font.getlength(fitted))
        needed = BEFORE_NAME + length + GAP
        if left and left + needed > width:
            left = 0
            line += 1
        places.append((left, line))
        left += needed
    return places, line + 1


def _draw_header(draw: ImageDraw.ImageDraw, title: str, summary: Sequence[str], width: int) -> None:
    top = GAP
    title_font = load_font(BOLD, TITLE_SIZE)
    _write_line(draw, GAP, top, title, title_font, width)
    top += TITLE_LINES * LINE
    for text in summary:
        _write_line(draw, GAP, top, text, load_font(), width)
        top += LINE


def _draw_entry(draw: ImageDraw.ImageDraw, entry: Entry, place: Place, before_legend: int) -> None:
    """A square in the colour of a class, and its name; `before_legend` lines stand above the legend."""
    name, colour = entry
    offset, line = place
    left = GAP + offset
    lines_above = before_legend + line
    top = GAP + lines_above * LINE + 2
    swatch = (
        left,
        top + 1,
        left + SWATCH,
        top + 1 + SWATCH,
    )
    draw.rectangle(swatch, fill=colour, outline=CASING)
    _write_line(draw, left + BEFORE_NAME, top, name, load_font())


def _paste_tile(sheet: Image.Image, tile: Tile, left: int, top: int) -> None:
    """The picture of a tile with its lines beneath."""
    sheet.paste(tile.picture, (left, top))
    draw = ImageDraw.Draw(sheet)
    beneath = top + BOX + 2
    for text in tile.lines:
        _write_line(draw, left, beneath, text, load_font())
        beneath += LINE


def _write_line(
    draw: ImageDraw.ImageDraw, left: int, top: int, text: str, font: ImageFont.FreeTypeFont, width: int = BOX
) -> None:
    """Text cut to a width in pixels; `left` and `top` are pixels too."""
    fitted = fit_text(text, width, font)
    draw.text((left, top), fitted, fill=INK, font=font)
