"""The raw chest X-rays of JSRT (.IMG): no header, 2048 x 2048 big-endian 16-bit numbers of which 12 bits are used.

Source: J. Shiraishi et al., Development of a digital image database for chest radiographs with and without a lung
nodule, American Journal of Roentgenology 174, 71 (2000).
"""

from pathlib import Path

import numpy as np

from genseg_betty.data.formats.common import Header, ImageError, as_image

EXTENSIONS = (".img",)
SIDE = 2048  # pixels
LENGTH = 2 * SIDE * SIDE  # bytes
BRIGHTEST = 4095  # of 12 bits
EXPECTED = f"a JSRT radiograph: exactly {LENGTH} bytes, {SIDE} x {SIDE} big-endian 16-bit values within 0..{BRIGHTEST}"


def read_image(path: Path) -> np.ndarray:
    """[2048, 2048, 1] float32 in 0..4095, inverted (4095 - value): bones are bright, as in other X-ray sets.

    Raises ImageError with code `unreadable`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LENGTH + 1)
    except OSError as error:
        raise _describe_fault(f"cannot be read ({error.strerror})") from error
    _require_no_header(path)
    if len(content) != LENGTH:
        raise _describe_wrong_length(path)
    stored = np.frombuffer(content, dtype=">u2")
    values = stored.reshape(SIDE, SIDE, 1)
    brightest = values.max()
    if brightest > BRIGHTEST:
        raise _describe_fault(f"holds values up to {brightest}")
    return as_image(BRIGHTEST - values)


def read_mask(path: Path) -> np.ndarray:
    """Raises ImageError (`unreadable`): the format holds radiographs alone."""
    message = "is a raw radiograph (.img), which holds no labels; expected a mask file such as PNG"
    raise ImageError("unreadable", message)


def read_header(path: Path) -> Header:
    """Height and width; the format states no spacing. Raises ImageError where the length is another."""
    try:
        length = path.stat().st_size
    except OSError as error:
        raise _describe_fault(f"cannot be read ({error.strerror})") from error
    _require_no_header(path)
    if length != LENGTH:
        raise _describe_wrong_length(path)
    return Header((SIDE, SIDE))


def _require_no_header(path: Path) -> None:
    """Raise ImageError for the values of a NIfTI or Analyze image, which end in .img and lie beside a header."""
    for suffix in (".hdr", ".HDR"):
        if path.with_suffix(suffix).is_file():
            message = f"is one half of a NIfTI or Analyze image, {path.stem}.hdr is the other; expected one file"
            raise ImageError("unreadable", f"{message}, save both as {path.stem}.nii.gz")


def _describe_wrong_length(path: Path) -> ImageError:
    return _describe_fault(f"holds {path.stat().st_size} bytes")


def _describe_fault(found: str) -> ImageError:
    return ImageError("unreadable", f"{found}; expected {EXPECTED}. Copy the file again from its publisher")
