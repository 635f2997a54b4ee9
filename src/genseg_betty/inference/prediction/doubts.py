"""Warnings about one image, gathered so that they can be told with its name."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from genseg_betty.inference.predictor import OTHER_SCALE


@contextmanager
def gather_doubts(doubts: list[str]) -> Iterator[None]:
    """Add what the block warns of an image's intensities to `doubts`; all other warnings go their usual way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", OTHER_SCALE, UserWarning)
        yield
    for warning in caught:
        text = str(warning.message)
        if text.startswith(OTHER_SCALE):
            doubts.append(text)
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
