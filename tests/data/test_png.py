"""PNG by bits and colour type, and JPEG of other bits: the values that the file stores, or a refusal by name."""

import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genseg_betty.data.formats import ImageError, bit_depth, read_colours, read_header, read_image, read_mask

HEIGHT, WIDTH = 9, 13
GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGB_ALPHA: 4}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path: Path, array: np.ndarray, colour: int, bits: int, *chunks: bytes) -> Path:
    """[H, W, C] of so many bits, unfiltered, with chunks before the pixels."""
    height, width = array.shape[:2]
    places = np.arange(bits - 1, -1, -1)
    rows = np.packbits((array[..., None] >> places & 1).reshape(height, -1), axis=1)
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [chunk(b"IHDR", head), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def drawn(colour: int, bits: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2**bits, (HEIGHT, WIDTH, SAMPLES[colour]))


KINDS = [
    *itertools.product([GRAY], [1, 2, 4, 8, 16]),
    *itertools.product([RGB, GRAY_ALPHA, RGB_ALPHA], [8, 16]),
]


@pytest.mark.parametrize(("colour", "bits"), KINDS)
@pytest.mark.parametrize("stated", ["nothing", "gAMA", "sBIT", "tRNS"])
def test_images_of_every_kind(tmp_path: Path, colour: int, bits: int, stated: str) -> None:
    array = drawn(colour, bits)
    colours = 3 if colour in (RGB, RGB_ALPHA) else 1
    chunks = {
        "gAMA": struct.pack(">I", 45455),
        "sBIT": bytes([max(1, bits - 4)] * SAMPLES[colour]),
        "tRNS": struct.pack(f">{colours}H", *array[0, 0, :colours].tolist()),
    }
    if stated == "tRNS" and colour in (GRAY_ALPHA, RGB_ALPHA):
        pytest.skip("no such file")
    extra = [chunk(stated.encode(), chunks[stated])] if stated in chunks else []
    path = png(tmp_path / "x.png", array, colour, bits, *extra)
    scale = 255 / (2**bits - 1) if bits < 8 else 1  # PNG: few bits are spread over the whole range
    np.testing.assert_allclose(read_image(path), array[..., :colours] * scale)
    assert bit_depth(path) == max(8, bits)
    assert read_header(path).shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("transparent", [False, True])
def test_masks_are_as_stored(tmp_path: Path, bits: int, transparent: bool) -> None:
    array = drawn(GRAY, bits)
    extra = [chunk(b"tRNS", struct.pack(">H", 1))] if transparent else []
    path = png(tmp_path / "x.png", array, GRAY, bits, *extra)
    np.testing.assert_array_equal(read_mask(path), array[..., 0])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_give_indices_and_colours(tmp_path: Path, bits: int) -> None:
    array = drawn(PALETTE, bits)
    palette = np.random.default_rng(1).integers(0, 256, (2**bits, 3)).astype(np.uint8)
    path = png(tmp_path / "x.png", array, PALETTE, bits, chunk(b"PLTE", palette.tobytes()))
    np.testing.assert_array_equal(read_mask(path), array[..., 0])
    np.testing.assert_array_equal(read_image(path), palette[array[..., 0]])
    path = png(tmp_path / "short.png", array, PALETTE, bits, chunk(b"PLTE", b"\xff\xff\xff"))
    with pytest.raises(ImageError, match=r"not each of the indices 0, 1.* has a gray of its own"):
        read_mask(path)


def test_masks_of_16_bits_in_colour_and_with_alpha(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (HEIGHT, WIDTH))
    opaque = np.full_like(labels, 65535)
    path = png(tmp_path / "rgb.png", np.stack([labels] * 3, -1), RGB, 16)
    np.testing.assert_array_equal(read_mask(path), labels)
    with pytest.raises(ImageError, match="more than 8 bits"):
        read_colours(path)
    path = png(tmp_path / "alpha.png", np.stack([labels, opaque], -1), GRAY_ALPHA, 16)
    np.testing.assert_array_equal(read_mask(path), labels)
    with pytest.raises(ImageError, match="is in colour"):
        read_mask(png(tmp_path / "colour.png", drawn(RGB, 16), RGB, 16))
    with pytest.raises(ImageError, match="differ in transparency"):
        read_mask(png(tmp_path / "hidden.png", np.stack([opaque, labels], -1), GRAY_ALPHA, 16))


def test_what_is_cut_off_or_huge_is_refused(tmp_path: Path) -> None:
    path = png(tmp_path / "x.png", drawn(RGB, 16), RGB, 16)
    whole = path.read_bytes()
    for length in (1, 20, 40, 60, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(ImageError):
            read_image(path)
    head = struct.pack(">IIBBBBB", 13000, 13000, 16, RGB, 0, 0, 0)
    path.write_bytes(whole[:8] + chunk(b"IHDR", head) + whole[33:])
    with pytest.raises(ImageError, match="expected at most") as caught:
        read_image(path)
    assert caught.value.code == "too_large"


def test_orientation_of_16_bits_in_colour(tmp_path: Path) -> None:
    array = drawn(RGB, 16)
    for tag, turned in ((1, array), (3, np.rot90(array, 2)), (6, np.rot90(array, 3)), (8, np.rot90(array))):
        exif = Image.Exif()
        exif[0x0112] = tag
        path = png(tmp_path / "x.png", array, RGB, 16, chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
        np.testing.assert_array_equal(read_image(path), turned)
        assert read_header(path).shape == turned.shape[:2]


@pytest.mark.parametrize("colour", [GRAY, RGB])
@pytest.mark.parametrize("bits", [8, 16])
def test_an_orientation_behind_the_pixels_counts_in_header_and_image(tmp_path: Path, colour: int, bits: int) -> None:
    array = drawn(colour, bits)
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    late = {"eXIf": exif.tobytes().removeprefix(b"Exif\0\0"), "iTXt": b"XML:com.adobe.xmp" + bytes(5) + xmp}
    whole = png(tmp_path / "x.png", array, colour, bits).read_bytes()
    for kind, data in late.items():
        (tmp_path / "x.png").write_bytes(whole[:-12] + chunk(kind.encode(), data) + whole[-12:])
        assert read_header(tmp_path / "x.png").shape == (WIDTH, HEIGHT)
        np.testing.assert_array_equal(read_image(tmp_path / "x.png"), np.rot90(array, 3))


@pytest.mark.parametrize("read", [read_image, read_mask, read_colours])
def test_inks_are_refused(tmp_path: Path, read) -> None:
    Image.fromarray(drawn(RGB, 8).astype(np.uint8)).convert("CMYK").save(tmp_path / "x.jpg")
    with pytest.raises(ImageError, match=r"inks of print \(CMYK\).*save it as RGB"):
        read(tmp_path / "x.jpg")


@pytest.mark.parametrize("bits", [12, 16])
def test_jpeg_of_more_bits_is_named(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(drawn(GRAY, 8)[..., 0].astype(np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"\xff\xc0") + 4] = bits
    path.write_bytes(content)
    with pytest.raises(ImageError, match=f"JPEG file of {bits} bits; expected 8"):
        read_image(path)


def test_jpeg_ls_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(b"\xff\xd8\xff\xf7\0\x0b\x08\0\x02\0\x02\1\1\x11\0\xff\xda\0\x08\1\1\0\0\0\0\xff\xd9")
    with pytest.raises(ImageError, match=r"is a JPEG-LS picture.*save it as PNG"):
        read_image(path)
