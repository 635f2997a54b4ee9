"""The colours in which a predicted mask is seen; its values stay the labels."""

from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.samples import PALETTE

Colour = tuple[int, int, int]
BLACK, *OTHERS = PALETTE
WHITE = (255, 255, 255)
ENTRIES = 256  # of a palette


def choose_palette(preprocessing: Preprocessing) -> tuple[Colour, ...]:
    """The colour of each value from 0 to 255 in a mask file: black for the background, then white, orange, blue …

    Those of the training masks where these are in colour; none where a label needs more than 8 bits. White is left out
    where a label lies below the background's, since readers take black for the lesser of the two.
    """
    if preprocessing.colours:
        return preprocessing.colours
    values = [value for value in preprocessing.label_values if not isinstance(value, tuple)]
    if max(values) >= ENTRIES:
        return ()
    background, *labels = values
    is_lowest = background <= min(labels)
    shown = OTHERS if is_lowest else [colour for colour in OTHERS if colour != WHITE]

    # Values that no label has get colours as well: a palette that is gray as a whole would be read by its grays.
    palette = [shown[value % len(shown)] for value in range(ENTRIES)]
    palette[background] = BLACK
    for index, value in enumerate(labels):
        palette[value] = shown[index % len(shown)]
    return tuple(palette)
