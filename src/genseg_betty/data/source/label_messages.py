"""What is said of a mask whose values stand for no class."""

from collections.abc import Mapping, Sequence

import numpy as np

from genseg_betty.data.formats import unpack
from genseg_betty.data.formats.common import MAX_LABEL
from genseg_betty.data.source.label_values import WHITES, is_number

MAX_SHOWN = 8  # values named in one message


def describe_not_binary(found: set[int]) -> str:
    """The message about a mask without declared labels; it proposes labels to declare where the values are few."""
    values = sorted(found)
    if len(found) == 1:  # not 0, which alone is a mask without foreground
        values = sorted(found | {0})
    if len(values) > MAX_SHOWN:  # a photograph, or more classes than one reads in a line
        values = [0, 1]
    background, *foreground = values
    labels = {"background": background}
    if len(foreground) > 1:
        labels |= _name_values(foreground)
    else:
        labels["ulcer"] = foreground[0]

    shown = _show_values(found)
    proposed = _write_as_yaml(labels)
    advice = _advise_mending(found, f"declare its labels, as in 'dataset.labels={{{proposed}}}'")
    return f"holds the values {shown}; expected 0 and 1, or 0 and 255. {advice}"


def describe_undeclared(found: set[int], lookup: Mapping[int, int]) -> str:
    """The message about values that are not among the declared ones.

    Args:
        found: the undeclared values.
        lookup: declared file value -> class index.
    """
    shown = _show_values(found)
    expected = ", ".join(map(str, sorted(lookup)))
    lowest = sorted(found)[:MAX_SHOWN]
    proposed = _write_as_yaml(_name_values(lowest))
    advice = _advise_mending(found, f"add them to dataset.labels, as {proposed}")
    advice += _advise_other_spelling(found, lookup)
    return f"holds the values {shown}; expected {expected}. {advice}"


def describe_colours(values: np.ndarray, others: set[int], known: Sequence[int]) -> str:
    """The message about colours that are not declared, the most frequent first.

    JPEG and resizing make many rare colours; a forgotten label is one frequent colour.

    Args:
        values: the packed colours of the whole mask.
        others: those of them that are not declared.
        known: the declared ones.
    """
    # Only the most frequent ones are named, with their pixels.
    pixels = _count_pixels(values, others)
    by_frequency = sorted(pixels, key=lambda colour: (-pixels[colour], colour))
    most_frequent = by_frequency[:MAX_SHOWN]
    counts = []
    for colour in most_frequent:
        counts.append(f"{unpack(colour)} in {pixels[colour]}")
    shown = ", ".join(counts)
    further = len(others) - len(most_frequent)
    if further:
        shown += f" and {further} further colours"

    total = sum(pixels.values())
    expected = ", ".join(str(unpack(colour)) for colour in known)
    return (
        f"holds colours that stand for no label: {shown}, {total} of {values.size} pixels in "
        f"all; expected {expected}. Declare the colour in dataset.labels; "
        "if JPEG or resizing has mixed it from its neighbours, save the mask anew without"
    )


def _count_pixels(values: np.ndarray, colours: set[int]) -> dict[int, int]:
    """How many pixels each of these colours has."""
    present, counts = np.unique(values, return_counts=True)
    pixels = {}
    for colour, count in zip(present.tolist(), counts.tolist(), strict=True):
        if colour in colours:
            pixels[colour] = count
    return pixels


def _advise_mending(found: set[int], declare: str) -> str:
    """The advice to declare values, unless one of them can be no label."""
    if all(map(is_number, found)):
        return f"Mend the mask, or {declare}"
    return f"Mend the mask: labels are whole numbers within 0..{MAX_LABEL}"


def _advise_other_spelling(found: set[int], lookup: Mapping[int, int]) -> str:
    """The advice where masks of 0 and 1 are declared with 0 and 255, or the other way round."""
    ones = {1, *WHITES}
    if len(lookup) > 2 or 0 not in lookup:
        return ""
    declared_ones = lookup.keys() - {0}
    if declared_ones <= ones and found <= ones:
        return "; where all masks hold two values, leave dataset.labels out: 0 and 1 are read then as well as 0 and 255"
    return ""


def _name_values(values: Sequence[int]) -> dict[str, int]:
    """Names to begin with for values that have none."""
    return {f"label{value}": value for value in values}


def _write_as_yaml(labels: Mapping[str, int]) -> str:
    pairs = [f"{name}: {value}" for name, value in labels.items()]
    return ", ".join(pairs)


def _show_values(found: set[int]) -> str:
    """The lowest values, as a message names them."""
    lowest = sorted(found)[:MAX_SHOWN]
    shown = ", ".join(map(str, lowest))
    return shown + ", ..." if len(found) > MAX_SHOWN else shown
