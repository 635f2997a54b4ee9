"""Files whose names mislead: read where their kind is the same, else told what they are; nothing else ever happens."""

import gzip
import io
import os
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from data import bombs
from data.broken import image_of
from genseg_betty.data.formats import (
    EXTENSIONS,
    ImageError,
    bit_depth,
    pictures,
    read_colours,
    read_header,
    read_image,
    read_mask,
)

SMALL = image_of("x")[:12, :10]
READERS = (read_image, read_mask, read_header, read_colours, bit_depth)


def archive(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr("x.png", b"x")
    else:
        with tarfile.open(fileobj=file, mode="w") as packed:
            packed.addfile(tarfile.TarInfo("x.png"))
    return file.getvalue()


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(SMALL).save(file, kind)
    return file.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    """A sound file of each extension that is read."""
    nibabel.save(nibabel.Nifti1Image(SMALL.T[..., None], np.eye(4)), folder / "x.nii")
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(SMALL), str(folder / "x.mha"))
    np.save(folder / "x.npy", SMALL)
    np.savez(folder / "x.npz", SMALL)
    bombs.dicom(folder / "x.dcm", SMALL[:8, :8].tobytes())
    volumes = (".nii", ".mha", ".npy", ".npz", ".dcm")
    found = {extension: (folder / f"x{extension}").read_bytes() for extension in volumes}
    found[".nii.gz"] = gzip.compress(found[".nii"])
    kinds = {".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".tif": "TIFF", ".webp": "WEBP"}
    return found | {extension: picture(kind) for extension, kind in kinds.items()}


NAMES = {
    ".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".tif": "TIFF", ".webp": "WebP",
    ".nii": "NIfTI", ".nii.gz": "NIfTI", ".mha": "MetaImage", ".npy": "NumPy", ".npz": "NumPy", ".dcm": "DICOM",
}  # fmt: skip


@pytest.mark.parametrize("extension", NAMES)
def test_each_format_under_the_name_of_each_other(tmp_path: Path, extension: str) -> None:
    """Every picture is read under every picture's name; of all others the error tells what it is."""
    for kind, content in contents(tmp_path).items():
        path = tmp_path / f"renamed{extension}"
        path.write_bytes(content)
        if kind == extension or {kind, extension} <= set(pictures.EXTENSIONS):
            assert read_image(path).shape[-1] in (1, 3)
            continue
        for read in READERS:
            with pytest.raises(ImageError) as caught:
                read(path)
            assert caught.value.code == "unreadable"
            assert NAMES[kind] in str(caught.value)
            assert f"rename it to renamed{kind}" in str(caught.value)


STRANGERS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"is empty \(0 bytes\).*copy it again"),
    "page": (b"\r\n<!DOCTYPE html><html><head><title>404</title>", "is a web page.*fetch it again"),
    "old page": (b"<HTML>\n<BODY>Sign in</BODY>", "is a web page.*fetch it again"),
    "xml": (b'\xef\xbb\xbf<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "is a text .XML.*fetch it again"),
    "json": (b'{"message": "Not Found"}', "is a text .JSON.*fetch it again"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "Git LFS pointer.*git lfs pull"),
    "zip": (archive("zip"), "is a ZIP archive.*unpack it"),
    "tar": (archive("tar"), "is a tar archive.*unpack it"),
    "gzip": (gzip.compress(picture("PNG")), "is packed by gzip.*unpack it"),
    "jpeg 2000": (picture("JPEG2000"), "is a JPEG 2000 picture.*save it as PNG"),
    "avif": (b"\0\0\0\x1cftypavif\0\0\0\0" + bytes(16), "is a HEIF, AVIF or video file.*save it as PNG"),
    "matlab": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "is a MATLAB file.*export its array"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "is an HDF5 file.*export its array"),
    "pgm": (b"P5\n2 2\n255\nabcd", "is a PBM, PGM, PPM or PAM picture.*save it as PNG"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', "is an SVG drawing.*export it as PNG"),
    "apple double": (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "what macOS keeps beside a file.*delete it"),
    "thumbnails": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40), "is an OLE file.*delete it"),
    "fits": (b"SIMPLE  =                    T", "is a FITS file.*export its array"),
    "pdf": (b"%PDF-1.7\n", "is a PDF document.*export its pictures"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers_are_told_under_every_name(tmp_path: Path, name: str) -> None:
    content, message = STRANGERS[name]
    for extension in EXTENSIONS:
        if name == "gzip" and extension == ".nii.gz":
            continue
        path = tmp_path / f"x{extension}"
        path.write_bytes(content)
        for read in READERS:
            with pytest.raises(ImageError, match=message) as caught:
                read(path)
            assert caught.value.code == "unreadable"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("extension", NAMES)
def test_no_part_of_a_file_is_an_image(tmp_path: Path, extension: str) -> None:
    """A file that is cut off is an ImageError, wherever the cut is, unless all of its values are there."""
    whole = contents(tmp_path)[extension]
    path = tmp_path / f"cut{extension}"
    path.write_bytes(whole)
    values = read_image(path)
    for length in sorted({*range(1, min(len(whole), 700), 13), *range(1, len(whole), max(1, len(whole) // 40))}):
        path.write_bytes(whole[:length])
        for read in (read_image, read_mask, read_header, bit_depth):
            with suppress(ImageError):
                found = read(path)
                assert read is not read_image or np.array_equal(found, values)


def test_a_pipe_and_a_missing_file_are_not_waited_for(tmp_path: Path) -> None:
    for extension in EXTENSIONS:
        with pytest.raises(ImageError):
            read_image(tmp_path / f"absent{extension}")
        os.mkfifo(tmp_path / f"pipe{extension}")
        with pytest.raises(ImageError, match="is a pipe or a device"):
            read_image(tmp_path / f"pipe{extension}")
