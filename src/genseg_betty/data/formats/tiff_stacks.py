"""Whether the pages of a TIFF are the slices of one volume.

Hyperstacks: their descriptions, by ImageJ (https://imagej.net) and OME (https://docs.openmicroscopy.org/ome-model)
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.tiff_readers import is_for_tifffile

if TYPE_CHECKING:
    from tifffile import TiffPage

BY_IMAGEJ = "ImageJ="  # what its descriptions begin with
BY_OME = "<OME"
OME_PICTURE = "<Image "
OME_CHANNELS = r'SizeC="(\d{1,9})"'
OME_TIMES = r'SizeT="(\d{1,9})"'


class Counts(NamedTuple):
    """What the pages of a file stand for, by its description."""

    pictures: int
    channels: int
    times: int


def require_alike(pages: Sequence["TiffPage"]) -> None:
    """Raise ImageError unless all pages have one size and one kind of values."""
    sizes = {f"{page.imagelength} x {page.imagewidth}" for page in pages}
    if len(sizes) > 1:
        found = ", ".join(sorted(sizes))
        raise ImageError("unreadable", f"holds pages of different sizes ({found}); expected one size")
    kinds = set()
    libraries = set()
    for page in pages:
        kind = (page.photometric, page.sampleformat, page.bitspersample, page.samplesperpixel)
        kinds.add(kind)
        libraries.add(is_for_tifffile(page))
    if len(kinds) > 1 or len(libraries) > 1:
        message = "holds pages of several kinds of colour, depth or compression; expected one kind, save each to a file"
        raise ImageError("unreadable", message)


def require_one_stack(description: str, pages: Sequence["TiffPage"]) -> None:
    """Raise ImageError where pages are channels or points in time, or where slices lie behind the last page.

    ImageJ and OME state what the pages stand for in the description of the first page.
    """
    if description.startswith(BY_IMAGEJ):
        _require_page_a_slice(description, len(pages))
        counts = _count_by_imagej(description)
    elif BY_OME in description:
        counts = _count_by_ome(description, pages[0].samplesperpixel)
    else:
        return
    if len(pages) > 1 and max(counts) > 1:
        found = f"{counts.pictures} pictures, {counts.channels} channels and {counts.times} points in time"
        message = f"holds {len(pages)} pages of {found}; expected the slices of one channel at one time, split it"
        raise ImageError("unreadable", f"{message} as ImageJ or Bio-Formats does")


def _require_page_a_slice(description: str, pages: int) -> None:
    """Raise ImageError for a stack of ImageJ's that is too long for pages: it has one, and slices behind it."""
    images = _find_imagej_count("images", description)
    if images > pages:
        message = f"holds {images} slices behind {pages} page; expected a page a slice, or NIfTI"
        raise ImageError("unreadable", f"{message}: save it so, as ImageJ does with less than 4 GB")


def _count_by_imagej(description: str) -> Counts:
    channels = _find_imagej_count("channels", description)
    times = _find_imagej_count("frames", description)
    return Counts(1, channels, times)


def _count_by_ome(description: str, samples: int) -> Counts:
    """By OME's XML, which counts each of the `samples` of a pixel as a channel."""
    pictures = description.count(OME_PICTURE)
    channels = _find_greatest(OME_CHANNELS, description) // samples
    times = _find_greatest(OME_TIMES, description)
    return Counts(pictures, channels, times)


def _find_imagej_count(name: str, description: str) -> int:
    """The number on a line such as "images=30"."""
    return _find_greatest(rf"(?m)^{name}=(\d{{1,9}})", description)


def _find_greatest(pattern: str, text: str) -> int:
    """The greatest number in the text that fits the pattern; 1 where there is none."""
    numbers = [int(found) for found in re.findall(pattern, text)]
    return max(numbers, default=1)
