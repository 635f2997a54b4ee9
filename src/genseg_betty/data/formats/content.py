"""What a file holds by its first bytes, whatever its name says.

A name may mislead: a download that failed leaves a web page named x.jpg, a script that writes NumPy arrays may call
them x.tif. Readers are chosen by extension; before one is asked, the file's own signature must not speak against it.
Signatures: https://www.iana.org/assignments/media-types and the formats' own standards
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HEAD = 560  # bytes: a NIfTI-2 header has 540, DICOM's signature ends at byte 132, that of a tar archive at 262
TEXT_START = b"\xef\xbb\xbf \t\r\n"  # what may stand before the first letter of a text
UNPACK = "unpack it"
AGAIN = "its download has failed, so fetch it again"


@dataclass(frozen=True)
class Content:
    """A kind of file.

    `extension` is the usual one, empty for what is never read. A `strict` kind is read under that one alone, others
    under each extension of the same reader. `advice` is what to do with a file of another name than that; renaming
    it where there is none.
    """

    name: str
    extension: str = ""
    strict: bool = False
    advice: str = ""


PACKED_VOLUME = Content("a NIfTI file packed by gzip", ".nii.gz", True)
PACKED = Content("packed by gzip", ".nii.gz", True, UNPACK)
EMPTY = Content("empty (0 bytes)", advice="copy it again from where it comes from")
NIFTI = Content("a NIfTI file that is not packed", ".nii", True)
NETPBM = Content("a PBM, PGM, PPM or PAM picture", advice="save it as PNG")
NIFTI_1_MAGIC = (b"n+1\0", b"ni1\0")
NIFTI_2_MAGIC = (b"n+2\0", b"ni2\0")
# By the bytes that a file begins with.
STARTS: tuple[tuple[bytes, Content], ...] = (
    (b"\x89PNG\r\n\x1a\n", Content("a PNG picture", ".png")),
    (b"\xff\xd8\xff", Content("a JPEG picture", ".jpg")),
    (b"GIF8", Content("a GIF picture", ".gif")),
    (b"II*\0", Content("a TIFF picture", ".tif")),
    (b"MM\0*", Content("a TIFF picture", ".tif")),
    (b"II+\0", Content("a TIFF picture", ".tif")),
    (b"MM\0+", Content("a TIFF picture", ".tif")),
    (b"\x93NUMPY", Content("a NumPy array", ".npy", True)),
    (b"NRRD000", Content("an NRRD volume", ".nrrd")),
    (b"ObjectType = Image", Content("a MetaImage", ".mha")),
    (b"\x89HDF\r\n\x1a\n", Content("an HDF5 file", advice="export its array as .npy, or as NIfTI")),
    (b"MATLAB 5.0 MAT-file", Content("a MATLAB file", advice="export its array as .npy, or as NIfTI")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Content("a JPEG 2000 picture", advice="save it as PNG")),
    (b"\xff\x4f\xff\x51", Content("a JPEG 2000 picture", advice="save it as PNG")),
    (b"\0\0\0\x0cJXL \r\n\x87\n", Content("a JPEG XL picture", advice="save it as PNG")),
    (b"\xff\x0a", Content("a JPEG XL picture", advice="save it as PNG")),
    (b"8BPS", Content("a Photoshop picture", advice="save it as PNG")),
    (b"\x76\x2f\x31\x01", Content("an OpenEXR picture", advice="save it as TIFF")),
    (b"%PDF-", Content("a PDF document", advice="export its pictures as PNG")),
    (b"%!PS", Content("a PostScript document", advice="save it as PNG")),
    (b"version https://git-lfs", Content("a Git LFS pointer", advice="run `git lfs pull` to fetch the file itself")),
    (b"BZh", Content("packed by bzip2", advice=UNPACK)),
    (b"\xfd7zXZ\0", Content("packed by xz", advice=UNPACK)),
    (b"(\xb5/\xfd", Content("packed by Zstandard", advice=UNPACK)),
    (b"\0\x05\x16\x07", Content("what macOS keeps beside a file (AppleDouble)", advice="delete it")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Content("an OLE file", advice="delete it, or export it as PNG")),
    (b"SIMPLE  =", Content("a FITS file", advice="export its array as .npy, or as NIfTI")),
    (b"7z\xbc\xaf\x27\x1c", Content("a 7z archive", advice=UNPACK)),
    (b"Rar!\x1a\x07", Content("a RAR archive", advice=UNPACK)),
)
ZIP = b"PK\x03\x04"
# By the beginning of a text, in lower case.
TEXTS: tuple[tuple[bytes, Content], ...] = (
    (b"<!doctype html", Content("a web page (HTML)", advice=AGAIN)),
    (b"<html", Content("a web page (HTML)", advice=AGAIN)),
    (b"<?xml", Content("a text (XML)", advice=AGAIN)),
    (b'{"', Content("a text (JSON)", advice=AGAIN)),
    (b"<svg", Content("an SVG drawing", advice="export it as PNG")),
)
# By bytes further on.
PLACES: tuple[tuple[Callable[[bytes], bool], Content], ...] = (
    (lambda head: head[128:132] == b"DICM", Content("a DICOM file", ".dcm")),
    (lambda head: head[344:348] in NIFTI_1_MAGIC and b"\x01\x5c" in (head[2:4], head[1::-1]), NIFTI),
    (lambda head: head[4:8] in NIFTI_2_MAGIC and b"\x02\x1c" in (head[2:4], head[1::-1]), NIFTI),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", Content("a WebP picture", ".webp")),
    (lambda head: head[:2] == b"BM" and head[6:10] == bytes(4), Content("a BMP picture", ".bmp")),
    (lambda head: head[4:8] == b"ftyp", Content("a HEIF, AVIF or video file", advice="save it as PNG")),
    (lambda head: head[:1] == b"P" and head[1:2].isdigit() and head[2:3].isspace(), NETPBM),
    (lambda head: head[257:262] == b"ustar", Content("a tar archive", advice=UNPACK)),
)


def recognise(path: Path) -> Content | None:
    """What the file holds; None where its first bytes tell nothing, or where it cannot be opened."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:  # told by the reader
        return None
    if not head:
        return EMPTY
    if head.startswith(b"\x1f\x8b"):
        return PACKED_VOLUME if _find_signature(_unpack_start(head)) is NIFTI else PACKED
    if head.startswith(ZIP):
        return _recognise_archive(head)
    return _find_signature(head)


def _find_signature(head: bytes) -> Content | None:
    """The kind of file that has this signature."""
    text = head.lstrip(TEXT_START).lower()
    found = [kind for start, kind in STARTS if head.startswith(start)]
    found += [kind for start, kind in TEXTS if text.startswith(start)]
    found += [kind for fits, kind in PLACES if fits(head)]
    return found[0] if found else None


def _unpack_start(head: bytes) -> bytes:
    """The beginning of what gzip has packed; nothing where it is damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except zlib.error:
        return b""


def _recognise_archive(head: bytes) -> Content:
    """A ZIP archive is NumPy's if its first member is an array."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if name.endswith(b".npy"):
        return Content("an archive of NumPy arrays", ".npz", True)
    return Content("a ZIP archive", advice=UNPACK)
