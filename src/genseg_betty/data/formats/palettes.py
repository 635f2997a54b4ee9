"""The labels of a mask with a palette: its grays or its indices, where these do not contradict each other."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from genseg_betty.data.formats.common import ImageError

Colour = tuple[int, int, int]
BLACK = (0, 0, 0)
WHITE = (255, 255, 255)
MAX_SHOWN = 8  # indices named in one message
NO_INDEX = 256  # higher than any
LOWEST_FOREGROUND = 1  # index


def read_palette_labels(image: Image.Image) -> np.ndarray:
    """[H, W] the grays of a palette that is gray as a whole, the indices of one in colour.

    Raises ImageError (`unexpected_label`) where the palette reads in two ways, or gives two labels one gray.
    """
    indices = np.asarray(image)
    colours = _read_colours_of_indices(image)
    used = np.unique(indices).tolist()
    if has_gray_palette(image):
        _require_own_grays(colours, used)
        return np.asarray(image.convert("L"))
    index_of_colour: dict[Colour, int] = {}
    for index in used:
        if index in colours:
            index_of_colour[colours[index]] = index
    _require_upright_palette(index_of_colour)
    return indices


def has_gray_palette(image: Image.Image) -> bool:
    """Whether all colours of the palette, also those that no pixel has, are gray."""
    parts = np.array(image.getpalette("RGB"), dtype=np.uint8)
    colours = parts.reshape(-1, 3)
    reds = colours[:, :1]
    return bool((colours == reds).all())


def _read_colours_of_indices(image: Image.Image) -> dict[int, Colour]:
    parts = image.getpalette("RGB") or []
    reds = parts[::3]
    greens = parts[1::3]
    blues = parts[2::3]
    palette = zip(reds, greens, blues, strict=True)
    return dict(enumerate(palette))


def _require_own_grays(colours: Mapping[int, Colour], used: Sequence[int]) -> None:
    """Raise ImageError where a gray palette shows two labels alike, as one that is black alone does."""
    # One label alone is compared with the background, index 0.
    compared = used if len(used) > 1 else sorted({0, *used})
    shown = {colours.get(index) for index in compared}
    if None not in shown and len(shown) == len(compared):
        return
    found = ", ".join(str(index) for index in compared[:MAX_SHOWN])
    if len(compared) > MAX_SHOWN:
        found += ", ..."
    message = f"has a gray palette in which not each of the indices {found} has a gray of its own"
    mend = "expected labels that read in one way: save the indices as gray, without a palette"
    raise ImageError("unexpected_label", f"{message}; {mend}")


def _require_upright_palette(used: Mapping[Colour, int]) -> None:
    """Raise ImageError where a mask uses black and white alone of a palette in colour, and white comes first.

    A mask that is white alone has no black to compare with: its index is read as a label unless that is 0.
    """
    has_other_colours = bool(used.keys() - {BLACK, WHITE})
    white = used.get(WHITE, NO_INDEX)
    black = used.get(BLACK, LOWEST_FOREGROUND)
    if has_other_colours or white >= black:
        return
    message = (
        f"has a palette in which white is index {white}, so that its indices and its colours say the "
        "opposite; expected labels that read in one way: save it as gray, or declare colours, as in "
        "dataset.labels={background: [0, 0, 0], ulcer: [255, 255, 255]}"
    )
    raise ImageError("unexpected_label", message)
