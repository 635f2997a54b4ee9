"""Small files that would take gigabytes, or hours, of a reader that believes them.

Each writer makes one file; beside it stands what reading it gives: the shape of the image where only what the header
claims is read, else `code: message` of the fault, *** for a library's own words. Run as a program it reads the files
that it is given, within a bound on its address space, and prints a line of JSON for each.
"""

import bz2
import gzip
import io
import json
import os
import re
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

Writer = Callable[[Path], object]
Entry = tuple[int, int, int, int]  # of a TIFF directory: tag, type, count, value or its offset

MEMORY = 3 * 2**29  # bytes that reading any of these files may take
SECONDS = 60.0  # far more than any takes on a busy machine, far less than a loop would
ANY = "***"
PICTURES = ".png, .jpg, .jpeg, .bmp, .gif, .tif, .tiff, .webp"
NOT_A_PICTURE = f"unreadable: cannot be read as an image (***); expected one of {PICTURES}"
NOT_AN_ARRAY = "unreadable: cannot be read (***); expected a NumPy array of numbers (.npy, or .npz with one array)"
SCALE = "expected at most 268 million, scale it down or crop"
SHRINK = "expected at most 1074 MB in all, store it in a smaller type, scale it down or crop"
BLOCK = 2**24  # bytes, of which compressed streams repeat as many as it takes
TIMES = 160  # 2.7 GB


def pattern(message: str) -> str:
    """The regular expression of a message in which *** stands for a library's own words."""
    return re.escape(message).replace(re.escape(ANY), ".+")


def stream(start: bytes = b"", block: bytes = bytes(BLOCK), times: int = TIMES, wbits: int = 15) -> bytes:
    """A compressed stream of `start` and `times` equal blocks, without an end; wbits as zlib has them."""
    packer = zlib.compressobj(1, zlib.DEFLATED, wbits)
    first, second = (packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH) for part in (start + block, block))
    return first + second * (times - 1)


def png(width: int, height: int, *chunks: tuple[bytes, bytes], colour: int = 0) -> bytes:
    """Of one row's pixels, whatever size the header claims."""
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    pixels = (b"IDAT", zlib.compress(bytes(9 * 8)))
    parts = [(b"IHDR", head), *chunks, pixels, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def tiff(entries: list[Entry], following: int = 0, values: bytes = b"", at: int = 8) -> bytes:
    """One directory that begins at byte `at`, without the file's header unless that is 8."""
    table = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    directory = struct.pack("<H", len(entries)) + table + struct.pack("<I", following) + values
    return directory if at > 8 else b"II*\0" + struct.pack("<I", at) + directory


def gray(width: int = 8, height: int = 8, **others: Entry) -> list[Entry]:
    """The entries of an uncompressed gray page; keywords replace them."""
    entries: dict[str, Entry] = {
        "width": (256, 4, 1, width),
        "height": (257, 4, 1, height),
        "bits": (258, 3, 1, 8),
        "compression": (259, 3, 1, 1),
        "photometric": (262, 3, 1, 1),
        "offsets": (273, 4, 1, 8),
        "rows": (278, 4, 1, height),
        "lengths": (279, 4, 1, width * height),
    }
    return list({**entries, **others}.values())


def pages(count: int) -> bytes:
    size = len(gray()) * 12 + 6
    return b"II*\0\x08\0\0\0" + b"".join(
        tiff(gray(1, 1), 8 + size * page if page < count else 0, at=9) for page in range(1, count + 1)
    )


def exif(tags: int, length: int) -> bytes:
    """Tags that all hold the same bytes."""
    entries = [(tag, 1, length, 8 + 2 + 12 * tags + 4) for tag in range(1000, 1000 + tags)]
    return tiff(entries, values=bytes(length))


def gif(width: int, height: int, frame: tuple[int, int]) -> bytes:
    screen = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(3) + b"\xff\xff\xff"
    return screen + b"\x2c" + struct.pack("<HHHH", 0, 0, *frame) + b"\0\x02\x02\x4c\x01\0;"


def webp(side: int, animated: bool) -> bytes:
    """A small picture on a large canvas."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "WEBP", lossless=True)
    picture = file.getvalue()[12:]
    canvas = struct.pack("<I", side - 1)[:3] * 2
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes([2 * animated, 0, 0, 0]) + canvas
    if animated:
        frame = bytes(6) + b"\x0f\0\0" * 2 + b"\x10\0\0\0" + picture
        picture = b"ANIM\x06\0\0\0" + bytes(6) + b"ANMF" + struct.pack("<I", len(frame)) + frame
    body += picture
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp(width: int, height: int, runs: bytes) -> bytes:
    """Run-length encoded."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    start = 14 + 40 + 1024
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + head + bytes(1024) + runs


def jpeg(scans: int, side: int = 64) -> bytes:
    """A progressive JPEG whose last but one scan comes again and again."""
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, "JPEG", progressive=True)
    content = file.getvalue()[:-2]
    starts = [place for place in range(len(content)) if content.startswith(b"\xff\xda", place)]
    return content + content[starts[-2] : starts[-1]] * scans + b"\xff\xd9"


def npy(shape: tuple[int, ...], descr: str = "|u1", values: bytes = b"") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": descr})
    return file.getvalue() + values


def npz(path: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.npy", content)


def npz_of(path: Path, packed: bytes, length: int) -> None:
    """An archive of what is deflated already: stored, then declared deflated."""
    npz(path, packed, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\1\2")
    struct.pack_into("<H", content, entry + 10, zipfile.ZIP_DEFLATED)
    struct.pack_into("<I", content, entry + 24, length)
    path.write_bytes(content)


def nifti(shape: tuple[int, ...] = (8, 8, 1), kind: type = np.uint8, start: float = 352, flag: int = 0) -> bytes:
    """A header whose values begin at byte `start`; extensions follow where `flag` is 1."""
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(kind)
    content = bytearray(header.binaryblock)
    struct.pack_into("<f", content, 108, start)
    content[344:348] = b"n+1\0"
    return bytes(content) + bytes([flag, 0, 0, 0])


def metaimage(values: bytes = bytes(64), **keys: str) -> bytes:
    lines = {"NDims": "2", "BinaryData": "True", "DimSize": "8 8", "ElementType": "MET_UCHAR", **keys}
    return (
        "".join(f"{key} = {value}\n" for key, value in lines.items()).encode() + b"ElementDataFile = LOCAL\n" + values
    )


PLACED = {"space": "RAS", "space_directions": "(1,0,0) (0,1,0)", "space_origin": "(1,2,3)", "kinds": "domain domain"}


def nrrd(values: bytes = bytes(64), **fields: str) -> bytes:
    """Of 8 x 8 bytes; an underscore in the name of a field stands for a space."""
    lines = {"type": "uchar", "dimension": "2", "sizes": "8 8", "encoding": "raw", **fields}
    text = "".join(f"{name.replace('_', ' ')}: {value}\n" for name, value in lines.items())
    return b"NRRD0004\n" + text.encode() + b"\n" + values


def dicom(path: Path, pixels: bytes = bytes(64), syntax: str = "1.2.840.10008.1.2.1", **tags: Any) -> Path:
    """An 8-bit slice of 8 x 8; `pixels` are one frame where the transfer syntax is a compressed one."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    meta.TransferSyntaxUID = UID(syntax)
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = meta.MediaStorageSOPClassUID, "1.2.3", "CT"
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 8, 8, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    for name, value in tags.items():
        setattr(data, name, value)
    compressed = meta.TransferSyntaxUID.is_encapsulated
    data.PixelData = encapsulate([pixels]) if compressed else pixels
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = compressed
    pydicom.dcmwrite(path, data)
    return path


def nested_dicom(path: Path) -> None:
    """Sequences in sequences, none of which ends."""
    content = dicom(path).read_bytes()
    opened = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 2**32 - 1
    )
    place = content.index(struct.pack("<HH", 0x0028, 0x0002) + b"US")
    path.write_bytes(content[:place] + opened * 100_000 + content[place:])


def dicom_items(path: Path, count: int, in_frames: bool) -> None:
    """Empty items of a sequence, 8 bytes each: one that says no length, or that which describes the frames."""
    content = dicom(path).read_bytes()
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * count
    tag, before, length = ((0x5200, 0x9230), (0x7FE0, 0x0010), 8 * count) if in_frames else ((8, 0x1115), (0x28, 2), -1)
    end = b"" if in_frames else struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    place = content.index(struct.pack("<HH", *before))
    head = struct.pack("<HH2sHI", *tag, b"SQ", 0, length % 2**32)
    path.write_bytes(content[:place] + head + items + end + content[place:])


def run_lengths(path: Path) -> None:
    segment = b"\x81\0" * 2**23  # 1 GiB unpacked, of the 64 bytes that there should be
    dicom(path, struct.pack("<16L", 1, 64, *[0] * 14) + segment, RLE)


def encoded(side: int, count: int = 1) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, "JPEG", quality=1)
    return file.getvalue() * count


RLE, JPEG = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50"
WHOLE = "(8, 8, 1)"  # what is read is what the header claims, and no more
BOMBS: dict[str, tuple[Writer, str]] = {
    "side.png": (
        lambda path: path.write_bytes(png(60000, 60000)),
        "too_large: has more than 179 million pixels; scale it down",
    ),
    "palette.png": (
        lambda path: path.write_bytes(png(13300, 13300, (b"PLTE", bytes(9)), colour=3)),
        f"too_large: holds 1 x 13300 x 13300 x 3 values; {SCALE}",
    ),
    "text.png": (lambda path: path.write_bytes(png(8, 8, (b"zTXt", b"k\0\0" + stream()))), NOT_A_PICTURE),
    "profile.png": (lambda path: path.write_bytes(png(8, 8, (b"iCCP", b"k\0\0" + stream()))), NOT_A_PICTURE),
    "exif.png": (lambda path: path.write_bytes(png(8, 8, (b"eXIf", exif(20_000, 1_000_000)))), WHOLE),
    "canvas.gif": (
        lambda path: path.write_bytes(gif(65535, 65535, (1, 1))),
        "too_large: has more than 179 million pixels; scale it down",
    ),
    "frame.gif": (
        lambda path: path.write_bytes(gif(1, 1, (65535, 65535))),
        "too_large: has more than 179 million pixels; scale it down",
    ),
    "canvas.webp": (
        lambda path: path.write_bytes(webp(16383, animated=False)),
        "too_large: has more than 179 million pixels; scale it down",
    ),
    "animation.webp": (
        lambda path: path.write_bytes(webp(13370, animated=True)),
        f"too_large: holds 1 x 13370 x 13370 x 3 values; {SCALE}",
    ),
    "jump.bmp": (lambda path: path.write_bytes(bmp(2**24, 1, b"\0\2\0\xff" * 10 + b"\0\1")), f"(1, {2**24}, 1)"),
    "scans.jpg": (
        lambda path: path.write_bytes(jpeg(2000)),
        "unsafe: holds more than 50 scans; expected a JPEG file as encoders write it",
    ),
    "side.tif": (
        lambda path: path.write_bytes(tiff(gray(60000, 60000))),
        f"too_large: holds 1 x 60000 x 60000 x 1 values; {SCALE}",
    ),
    "strip.tif": (
        lambda path: path.write_bytes(
            tiff(gray(4096, 4096, compression=(259, 3, 1, 5), lengths=(279, 4, 1, 2**31 - 1)), values=bytes(64))
        ),
        NOT_A_PICTURE,
    ),
    "strips.tif": (
        lambda path: path.write_bytes(
            tiff(
                gray(2048, 2048, offsets=(273, 4, 200_000, 110), lengths=(279, 4, 200_000, 110)),
                values=struct.pack("<I", 800_110) * 200_000 + bytes(2048 * 2048),
            )
        ),
        "(2048, 2048, 1)",
    ),
    "tag.tif": (lambda path: path.write_bytes(tiff([*gray(), (300, 4, 2**31 - 1, 100)], values=bytes(64))), WHOLE),
    "tags.tif": (
        lambda path: path.write_bytes(
            tiff(
                [*gray(), *((tag, 1, 1_000_000, 240_110) for tag in range(1000, 21_000))],
                values=bytes(1_000_000),
            )
        ),
        NOT_A_PICTURE,
    ),
    "loop.tif": (lambda path: path.write_bytes(tiff(gray(), 8, bytes(64))), WHOLE),
    "pages.tif": (
        lambda path: path.write_bytes(pages(20_000)),
        "too_large: holds more than 4096 pages; split it, or save it as NIfTI",
    ),
    "shape.npy": (
        lambda path: path.write_bytes(npy((2**20, 2**20))),
        f"too_large: holds 1048576 x 1048576 values; {SCALE}",
    ),
    "bytes.npy": (
        lambda path: path.write_bytes(npy((2**14, 2**14), "<f8")),
        f"too_large: holds 16384 x 16384 values of 8 bytes; {SHRINK}",
    ),
    "digits.npy": (
        lambda path: path.write_bytes(npy((10**4000 - 1, 1))),
        f"too_large: holds {'9' * 100}... values; {SCALE}",
    ),
    "shape.npz": (lambda path: npz(path, npy((2**20, 2**20))), f"too_large: holds 1048576 x 1048576 values; {SCALE}"),
    "header.npz": (
        lambda path: npz_of(
            path,
            stream(b"\x93NUMPY\2\0" + struct.pack("<I", 2**31 - 2), block=b" " * BLOCK, wbits=-15),
            BLOCK * TIMES + 12,
        ),
        "unreadable: has a header of 2147483646 bytes; expected at most 10000",
    ),
    "nested.npy": (
        lambda path: path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", 9000) + b"{'shape':" + b"(" * 8991),
        NOT_AN_ARRAY,
    ),
    "rest.npz": (
        lambda path: npz_of(path, stream(npy((8, 8), values=bytes(64)), wbits=-15), BLOCK * TIMES),
        WHOLE,
    ),
    "bzip2.npz": (
        lambda path: npz(path, npy((8, 8)) + bytes(BLOCK), zipfile.ZIP_BZIP2),
        "unsafe: is packed by bzip2 or LZMA; expected an archive that NumPy wrote, save it again",
    ),
    "shape.nii": (
        lambda path: path.write_bytes(nifti((30000, 30000, 3000))),
        f"too_large: holds 30000 x 30000 x 3000 values; {SCALE}",
    ),
    "rest.nii.gz": (
        lambda path: path.write_bytes(gzip.compress(nifti() + bytes(64)) + stream(wbits=31)),
        WHOLE,
    ),
    "sides.mha": (
        lambda path: path.write_bytes(metaimage(DimSize="99999 99999")),
        f"too_large: holds 99999 x 99999 x 1 values; {SCALE}",
    ),
    "bytes.mha": (
        lambda path: path.write_bytes(metaimage(DimSize="16384 16384", ElementType="MET_DOUBLE")),
        f"too_large: holds 16384 x 16384 x 1 values of 8 bytes; {SHRINK}",
    ),
    "sides.nrrd": (
        lambda path: path.write_bytes(nrrd(sizes="99999 99999")),
        f"too_large: holds 99999 x 99999 values; {SCALE}",
    ),
    "bytes.nrrd": (
        lambda path: path.write_bytes(nrrd(sizes="16384 16384", type="double", endian="little")),
        f"too_large: holds 16384 x 16384 values of 8 bytes; {SHRINK}",
    ),
    "packed.nrrd": (lambda path: path.write_bytes(nrrd(stream(wbits=31), encoding="gzip")), WHOLE),
    "packed-bz2.nrrd": (lambda path: path.write_bytes(nrrd(bz2.compress(bytes(BLOCK)) * TIMES, encoding="bz2")), WHOLE),
    "skipped.nrrd": (
        lambda path: path.write_bytes(nrrd(stream(wbits=31), encoding="gzip", byte_skip="2000000000")),
        "unsafe: skips 0 lines and 2000000000 bytes; expected 0 to 67108864 of each",
    ),
    "axes.nrrd": (
        lambda path: path.write_bytes(nrrd(dimension="2000000000")),
        "unreadable: cannot be read (other numbers of sizes, kinds or directions than its 2000000000 dimensions); "
        "expected an NRRD file (.nrrd, or .nhdr beside its data)",
    ),
    "comments.nrrd": (
        lambda path: path.write_bytes(b"NRRD0004\n" + b"#\n" * 2**19),
        "unreadable: has no header that ends within 1048576 bytes; expected an NRRD file (.nrrd, or .nhdr beside its "
        "data)",
    ),
    "line.nrrd": (
        lambda path: path.write_bytes(b"NRRD0004\n" + b"#" * 2**24),
        "unreadable: has no header that ends within 1048576 bytes; expected an NRRD file (.nrrd, or .nhdr beside its "
        "data)",
    ),
    "axes.mha": (
        lambda path: path.write_bytes(metaimage(NDims="2000000000")),
        "unreadable: cannot be read (2 sizes for 2000000000 dimensions); expected a MetaImage file (.mha, or .mhd "
        "beside its .raw)",
    ),
    "colon.mha": (lambda path: path.write_bytes(metaimage(**{"DimSize : 60000 60000": "1"})), WHOLE),
    "packed.mha": (
        lambda path: path.write_bytes(metaimage(stream(), CompressedData="True", CompressedDataSize="9000000000")),
        WHOLE,
    ),
    "sides.dcm": (
        lambda path: dicom(path, Rows=60000, Columns=60000),
        f"too_large: holds 1 x 60000 x 60000 x 1 values; {SCALE}",
    ),
    "frames.dcm": (
        lambda path: dicom(path, NumberOfFrames=2**31 - 1),
        f"too_large: holds 2147483647 x 8 x 8 x 1 values; {SCALE}",
    ),
    "bytes.dcm": (
        lambda path: dicom(path, Rows=2**14, Columns=2**14, BitsAllocated=64),
        f"too_large: holds 1 x 16384 x 16384 x 1 values of 8 bytes; {SHRINK}",
    ),
    "rest.dcm": (
        lambda path: dicom(path, bytes(BLOCK)),
        "unreadable: holds more frames than the 1 that its header states; expected as many, mend its NumberOfFrames or "
        "export it anew",
    ),
    "runs.dcm": (
        run_lengths,
        "too_large: holds 17 MB of run-length encoded values in a frame; expected at most 17 MB, save it uncompressed",
    ),
    "frame.dcm": (
        lambda path: dicom(path, encoded(4000), JPEG),
        "unreadable: holds a frame of 4000x4000 pixels; expected 8x8, as its header",
    ),
    "scans.dcm": (
        lambda path: dicom(path, jpeg(2000, side=8), JPEG),
        "unsafe: holds more than 50 scans; expected a JPEG file as encoders write it",
    ),
    "items.dcm": (
        lambda path: dicom_items(path, 2**24, in_frames=False),
        "too_large: has a header of more than 1048576 parts; expected fewer, export it anew",
    ),
    "groups.dcm": (
        lambda path: dicom_items(path, 2**24, in_frames=True),
        "too_large: holds more than 262144 items in PerFrameFunctionalGroupsSequence; expected fewer, export it anew",
    ),
    "nested.dcm": (nested_dicom, "unreadable: cannot be read (***); expected a DICOM image"),
    "bytes.nii.gz": (
        lambda path: path.write_bytes(gzip.compress(nifti((2**14, 2**14, 1), np.float64))),
        f"too_large: holds 16384 x 16384 x 1 values of 8 bytes; {SHRINK}",
    ),
    "offset.nii.gz": (
        lambda path: path.write_bytes(gzip.compress(nifti(start=1e12)) + stream(wbits=31, times=40)),
        "unsafe: begins its values at byte 999999995904; expected one up to 67108864, save it without extensions",
    ),
    "extension.nii.gz": (
        lambda path: path.write_bytes(
            gzip.compress(nifti(start=2.1e9, flag=1) + struct.pack("<ii", 2**31 - 16, 0)) + stream(wbits=31)
        ),
        "unsafe: begins its values at byte 2100000000; expected one up to 67108864, save it without extensions",
    ),
}


def read_within_bounds(paths: list[str]) -> None:
    """Read each as an image; print its name, what came of it, the seconds and the bytes that it took."""
    import resource

    import pydicom.pixels  # noqa: F401

    from genseg_betty.data.formats import ImageError, read_image

    pages_held = int(Path("/proc/self/statm").read_text().split()[0])
    bound = pages_held * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    for path in paths:
        start = time.monotonic()
        try:
            outcome = str(read_image(Path(path)).shape)
        except ImageError as error:
            outcome = f"{error.code}: {error}"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        print(json.dumps([Path(path).name, outcome, time.monotonic() - start]), flush=True)


if __name__ == "__main__":
    read_within_bounds(sys.argv[1:])
