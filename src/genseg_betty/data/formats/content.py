"""What a file holds by its first bytes, whatever its name says.

A name may mislead: a download that failed leaves a web page named x.jpg, a script that writes NumPy arrays may call
them x.tif. Readers are chosen by extension; before one is asked, the file's own signature must not speak against it.
Signatures: https://www.iana.org/assignments/media-types and the formats' own standards
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

HEAD = 560  # bytes: a NIfTI-2 header has 540, DICOM's signature ends at byte 132, that of a tar archive at 262
TEXT_START = b"\xef\xbb\xbf \t\r\n"  # what may stand before the first letter of a text
UNPACK = "unpack it"
SAVE_AS_PNG = "save it as PNG"
EXPORT_ARRAY = "export its array as .npy, or as NIfTI"
FETCH_AGAIN = "its download has failed, so fetch it again"


@dataclass(frozen=True)
class Content:
    """A kind of file.

    Attributes:
        name: what an error calls the kind.
        extension: the usual one; empty for a kind that is never read.
        strict: whether the kind is read under that extension alone, not under the others of the same reader.
        advice: what to do with a file of another extension; empty where it is to be renamed.
    """

    name: str
    extension: str = ""
    strict: bool = False
    advice: str = ""


EMPTY = Content("empty (0 bytes)", advice="copy it again from where it comes from")

# Pictures that are read.
PNG = Content("a PNG picture", ".png")
JPEG = Content("a JPEG picture", ".jpg")
GIF = Content("a GIF picture", ".gif")
TIFF = Content("a TIFF picture", ".tif")
WEBP = Content("a WebP picture", ".webp")
BMP = Content("a BMP picture", ".bmp")

# Volumes and arrays that are read.
DICOM = Content("a DICOM file", ".dcm")
NIFTI = Content("a NIfTI file that is not packed", ".nii", strict=True)
PACKED_NIFTI = Content("a NIfTI file packed by gzip", ".nii.gz", strict=True)
NRRD = Content("an NRRD volume", ".nrrd")
METAIMAGE = Content("a MetaImage", ".mha")
ARRAY = Content("a NumPy array", ".npy", strict=True)
ARRAYS = Content("an archive of NumPy arrays", ".npz", strict=True)

# Pictures and arrays that are to be saved in another format.
JPEG_2000 = Content("a JPEG 2000 picture", advice=SAVE_AS_PNG)
JPEG_XL = Content("a JPEG XL picture", advice=SAVE_AS_PNG)
PHOTOSHOP = Content("a Photoshop picture", advice=SAVE_AS_PNG)
NETPBM = Content("a PBM, PGM, PPM or PAM picture", advice=SAVE_AS_PNG)
HEIF = Content("a HEIF, AVIF or video file", advice=SAVE_AS_PNG)
POSTSCRIPT = Content("a PostScript document", advice=SAVE_AS_PNG)
OPEN_EXR = Content("an OpenEXR picture", advice="save it as TIFF")
PDF = Content("a PDF document", advice="export its pictures as PNG")
SVG = Content("an SVG drawing", advice="export it as PNG")
HDF5 = Content("an HDF5 file", advice=EXPORT_ARRAY)
MATLAB = Content("a MATLAB file", advice=EXPORT_ARRAY)
FITS = Content("a FITS file", advice=EXPORT_ARRAY)

# Packed files and archives.
GZIP = Content("packed by gzip", ".nii.gz", strict=True, advice=UNPACK)
BZIP2 = Content("packed by bzip2", advice=UNPACK)
XZ = Content("packed by xz", advice=UNPACK)
ZSTANDARD = Content("packed by Zstandard", advice=UNPACK)
ZIP = Content("a ZIP archive", advice=UNPACK)
SEVEN_ZIP = Content("a 7z archive", advice=UNPACK)
RAR = Content("a RAR archive", advice=UNPACK)
TAR = Content("a tar archive", advice=UNPACK)

# Files that hold no image.
GIT_LFS = Content("a Git LFS pointer", advice="run `git lfs pull` to fetch the file itself")
APPLE_DOUBLE = Content("what macOS keeps beside a file (AppleDouble)", advice="delete it")
OLE = Content("an OLE file", advice="delete it, or export it as PNG")
HTML = Content("a web page (HTML)", advice=FETCH_AGAIN)
XML = Content("a text (XML)", advice=FETCH_AGAIN)
JSON = Content("a text (JSON)", advice=FETCH_AGAIN)

GZIP_START = b"\x1f\x8b"
ZIP_START = b"PK\x03\x04"
# The bytes that a file begins with.
STARTS = {
    b"\x89PNG\r\n\x1a\n": PNG,
    b"\xff\xd8\xff": JPEG,
    b"GIF8": GIF,
    b"II*\0": TIFF,
    b"MM\0*": TIFF,
    b"II+\0": TIFF,
    b"MM\0+": TIFF,
    b"\x93NUMPY": ARRAY,
    b"NRRD000": NRRD,
    b"ObjectType = Image": METAIMAGE,
    b"\x89HDF\r\n\x1a\n": HDF5,
    b"MATLAB 5.0 MAT-file": MATLAB,
    b"\0\0\0\x0cjP  \r\n\x87\n": JPEG_2000,
    b"\xff\x4f\xff\x51": JPEG_2000,
    b"\0\0\0\x0cJXL \r\n\x87\n": JPEG_XL,
    b"\xff\x0a": JPEG_XL,
    b"8BPS": PHOTOSHOP,
    b"\x76\x2f\x31\x01": OPEN_EXR,
    b"%PDF-": PDF,
    b"%!PS": POSTSCRIPT,
    b"version https://git-lfs": GIT_LFS,
    b"BZh": BZIP2,
    b"\xfd7zXZ\0": XZ,
    b"(\xb5/\xfd": ZSTANDARD,
    b"\0\x05\x16\x07": APPLE_DOUBLE,
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": OLE,
    b"SIMPLE  =": FITS,
    b"7z\xbc\xaf\x27\x1c": SEVEN_ZIP,
    b"Rar!\x1a\x07": RAR,
}
# The beginning of a text, in lower case.
TEXTS = {
    b"<!doctype html": HTML,
    b"<html": HTML,
    b"<?xml": XML,
    b'{"': JSON,
    b"<svg": SVG,
}
NIFTI_1_MAGIC = (b"n+1\0", b"ni1\0")
NIFTI_2_MAGIC = (b"n+2\0", b"ni2\0")
NIFTI_1_LENGTH, NIFTI_2_LENGTH = 348, 540  # bytes of a header, with which it begins


def recognise(path: Path) -> Content | None:
    """What the file holds; None where its first bytes tell nothing, or where it cannot be opened."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:  # told by the reader
        return None
    if not head:
        return EMPTY
    if head.startswith(GZIP_START):
        packed = _find_signature(_unpack_start(head))
        return PACKED_NIFTI if packed is NIFTI else GZIP
    if head.startswith(ZIP_START):
        return _recognise_archive(head)
    return _find_signature(head)


def _find_signature(head: bytes) -> Content | None:
    """The kind of file that has this signature."""
    for start, kind in STARTS.items():
        if head.startswith(start):
            return kind
    text = head.lstrip(TEXT_START).lower()
    for start, kind in TEXTS.items():
        if text.startswith(start):
            return kind
    return _find_later_signature(head)


def _find_later_signature(head: bytes) -> Content | None:
    """The kind of file that has this signature further on, or in several places."""
    if head[128:132] == b"DICM":
        return DICOM
    if _is_nifti(head):
        return NIFTI
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return BMP
    if head[4:8] == b"ftyp":
        return HEIF
    if head[:1] == b"P" and head[1:2].isdigit() and head[2:3].isspace():
        return NETPBM
    if head[257:262] == b"ustar":
        return TAR
    return None


def _is_nifti(head: bytes) -> bool:
    """Whether a header has NIfTI's magic, and begins with its own length in either byte order."""
    little_endian = int.from_bytes(head[:2], "little")
    big_endian = int.from_bytes(head[2:4], "big")  # of 4 bytes the last two
    lengths = (little_endian, big_endian)
    if head[344:348] in NIFTI_1_MAGIC and NIFTI_1_LENGTH in lengths:
        return True
    return head[4:8] in NIFTI_2_MAGIC and NIFTI_2_LENGTH in lengths


def _unpack_start(head: bytes) -> bytes:
    """The beginning of what gzip has packed; nothing where it is damaged."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        return unpacker.decompress(head, HEAD)
    except zlib.error:
        return b""


def _recognise_archive(head: bytes) -> Content:
    """A ZIP archive is NumPy's if its first member is an array."""
    name_length = int.from_bytes(head[26:28], "little")
    name = head[30 : 30 + name_length]
    if name.endswith(b".npy"):
        return ARRAYS
    return ZIP
