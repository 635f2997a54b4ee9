"""TIFF by stored type, colour and layout: the values are those that were written, or the file is refused by name."""

import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from data import bombs
from genseg_betty.data.formats import ImageError, bit_depth, read_colours, read_header, read_image, read_mask

HEIGHT, WIDTH = 20, 37
ORDERS = {"little": "<", "big": ">"}
STORED = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
NO_PREDICTOR = ("u8", "i8", "f2", "f4", "f8")  # as tifffile writes them


def drawn(kind: str, *shape: int) -> np.ndarray:
    """Values over all of a type's range."""
    random = np.random.default_rng(0)
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return random.normal(scale=100, size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def write(path: Path, array: np.ndarray, **keys: Any) -> Path:
    tifffile.imwrite(path, array, **{"metadata": None} | keys)
    return path


def as_stored(values: np.ndarray) -> np.ndarray:
    """What `read_image` is to give of [H, W] or [H, W, C]."""
    return (values if values.ndim == 3 else values[..., None]).astype(np.float32)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("packed", [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}])
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_gray_of_every_type(tmp_path: Path, order: str, packed: dict, tile: Any, bigtiff: bool) -> None:
    for kind in STORED:
        if "predictor" in packed and kind in NO_PREDICTOR:
            continue
        array = drawn(kind, HEIGHT, WIDTH)
        keys = {"photometric": "minisblack", "byteorder": ORDERS[order], "tile": tile, "bigtiff": bigtiff}
        path = write(tmp_path / f"{kind}.tif", array, **keys, **packed)
        np.testing.assert_array_equal(read_image(path), as_stored(array), err_msg=kind)
        assert read_header(path).shape == (HEIGHT, WIDTH)
        if kind[0] == "f":
            with pytest.raises(ImageError, match="fractions"):
                read_mask(path)
        else:
            np.testing.assert_array_equal(read_mask(path), array, err_msg=kind)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("packed", [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}])
@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_colour_of_every_type_and_layout(tmp_path: Path, order: str, planes: str, packed: dict, tile: Any) -> None:
    for kind, alpha in itertools.product(("u1", "u2", "i2", "f4", "f8"), (False, True)):
        if "predictor" in packed and kind in NO_PREDICTOR:
            continue
        array = drawn(kind, HEIGHT, WIDTH, 3 + alpha)
        stored = array if planes == "contig" else np.moveaxis(array, -1, 0)
        keys = {"photometric": "rgb", "planarconfig": planes, "byteorder": ORDERS[order], "tile": tile}
        if alpha:
            keys["extrasamples"] = ["unassalpha"]
        path = write(tmp_path / f"{kind}{alpha}.tif", stored, **keys, **packed)
        np.testing.assert_array_equal(read_image(path), array[..., :3].astype(np.float32), err_msg=path.name)
        assert bit_depth(path) == {"u1": 8, "u2": 16, "i2": 16, "f4": 32, "f8": 64}[kind]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16", "F"])
@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd", "group4", "jpeg"])
def test_what_libtiff_has_packed(tmp_path: Path, mode: str, compression: str) -> None:
    if (compression == "group4") != (mode == "1") or (compression == "jpeg" and mode not in ("L", "RGB")):
        pytest.skip("no such file")
    random = np.random.default_rng(0)
    shapes = {"LA": (HEIGHT, WIDTH, 2), "RGB": (HEIGHT, WIDTH, 3), "RGBA": (HEIGHT, WIDTH, 4)}
    array = random.integers(0, 256, shapes.get(mode, (HEIGHT, WIDTH))).astype(np.uint8)
    if compression == "jpeg":
        array = np.full_like(array, 77)
    kinds = {"1": array > 127, "I;16": array.astype(np.uint16) * 250, "F": array.astype(np.float32) / 7}
    array = kinds.get(mode, array)
    Image.fromarray(array).save(tmp_path / "x.tif", compression=compression)
    truth = array[..., : array.shape[-1] // 2 * 2 - 1] if mode in ("LA", "RGBA") else array
    truth = as_stored(truth) * (255 if mode == "1" else 1)
    np.testing.assert_allclose(read_image(tmp_path / "x.tif"), truth, atol=2 if compression == "jpeg" else 0)


def tags(width: int, height: int, content: bytes, **others: bombs.Entry) -> bytes:
    """A page of one strip by hand, whose values follow; keywords replace entries of `bombs.gray`."""
    entries = bombs.gray(width, height, lengths=(279, 4, 1, len(content)), **others)
    start = 8 + 2 + 12 * len(entries) + 4
    entries = [(273, 4, 1, start) if entry[0] == 273 else entry for entry in entries]
    return bombs.tiff(entries, values=content)


def test_twelve_bits_are_unpacked(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 4096, (6, 10))
    digits = "".join(f"{value:03x}" for value in array.ravel())
    path = tmp_path / "x.tif"
    path.write_bytes(tags(10, 6, bytes.fromhex(digits), bits=(258, 3, 1, 12)))
    np.testing.assert_array_equal(read_image(path)[..., 0], array)
    assert bit_depth(path) == 16


@pytest.mark.parametrize("compression", [1, 32773])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_predictor_that_readers_ignore_or_apply_is_refused(tmp_path: Path, compression: int, bits: int) -> None:
    stated = {"bits": (258, 3, 1, bits), "compression": (259, 3, 1, compression), "predictor": (317, 3, 1, 2)}
    (tmp_path / "x.tif").write_bytes(tags(4, 4, bytes(16 * bits // 8), **stated))
    with pytest.raises(ImageError, match=r"states a predictor.*save it anew"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", [0, 1])
def test_few_bits_are_gray_from_black_to_white(tmp_path: Path, bits: int, photometric: int) -> None:
    """TIFF 6.0: 0 is white, or black, and the greatest value the other."""
    top = 2**bits - 1
    array = np.random.default_rng(0).integers(0, top + 1, (6, 16))
    packed = np.packbits(array[..., None] >> np.arange(bits - 1, -1, -1) & 1)
    path = tmp_path / "x.tif"
    path.write_bytes(tags(16, 6, packed.tobytes(), bits=(258, 3, 1, bits), photometric=(262, 3, 1, photometric)))
    black_at_0 = array if photometric else top - array
    np.testing.assert_array_equal(read_image(path)[..., 0], black_at_0 * 255 // top)
    assert bit_depth(path) == 8


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["u1", "u2", "u4"])
def test_white_at_0_is_turned_over(tmp_path: Path, order: str, kind: str) -> None:
    array = drawn(kind, HEIGHT, WIDTH)
    path = write(tmp_path / "x.tif", array, photometric="miniswhite", byteorder=ORDERS[order])
    np.testing.assert_array_equal(read_image(path), as_stored(np.iinfo(kind).max - array))


TWO_WAYS = "is a TIFF whose white is 0"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([0, 255], None),  # an object, or all but the object
        ([0], None),
        ([255], None),
        ([0, 1], [0, 1]),
        ([0, 1, 2], [0, 1, 2]),
        ([255, 254, 250], [0, 1, 5]),
        ([0, 1, 255], None),
        ([3, 200], None),
    ],
)
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_a_mask_whose_white_is_0(tmp_path: Path, kind: str, stored: list[int], expected: list[int] | None) -> None:
    array = np.resize(np.array(stored), (8, 9))
    if kind == "u2":
        array = np.where(array > 127, array + 65535 - 255, array)
    path = write(tmp_path / "x.tif", array.astype(kind), photometric="miniswhite")
    if expected is None:
        with pytest.raises(ImageError, match=TWO_WAYS) as caught:
            read_mask(path)
        assert caught.value.code == "unexpected_label"
    else:
        np.testing.assert_array_equal(read_mask(path), np.resize(np.array(expected), (8, 9)))


def test_a_fax_is_no_mask_but_has_colours(tmp_path: Path) -> None:
    disc = np.zeros((16, 16), bool)
    disc[4:9, 5:12] = True
    Image.fromarray(~disc).save(tmp_path / "x.tif", compression="group4")
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+") as file:
        file.pages[0].tags[262].overwrite(0)  # as fax has it: white is 0
    with pytest.raises(ImageError, match=TWO_WAYS):
        read_mask(tmp_path / "x.tif")
    np.testing.assert_array_equal(read_colours(tmp_path / "x.tif"), disc * 0xFFFFFF)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif")[..., 0], disc * 255)


GRAY16, RGB8 = drawn("u2", HEIGHT, WIDTH), drawn("u1", HEIGHT, WIDTH, 3)


def channels(kind: str, count: int, **keys: Any) -> tuple[np.ndarray, dict[str, Any]]:
    return drawn(kind, HEIGHT, WIDTH, count), {"planarconfig": "contig", "photometric": "minisblack"} | keys


REFUSED: dict[str, tuple[str, tuple[np.ndarray, dict[str, Any]]]] = {
    "two channels": ("holds 2 channels", channels("u1", 2, extrasamples=["unspecified"])),
    "two channels of 16 bits": ("holds 2 channels", channels("u2", 2, extrasamples=["unspecified"])),
    "colour and one": ("holds 4 channels", channels("u1", 4, photometric="rgb", extrasamples=["unspecified"])),
    "five channels": ("holds 5 channels", channels("u1", 5)),
    "inks": ("of the kind SEPARATED", channels("u1", 4, photometric="separated")),
    "inks of 16 bits": ("of the kind SEPARATED", channels("u2", 4, photometric="separated")),
    "light": ("of the kind CIELAB", channels("u1", 3, photometric="cielab")),
    "luminance": ("YCbCr without JPEG", channels("u1", 3, photometric="ycbcr", subsampling=(1, 1))),
    "multiplied": ("multiplied by their", channels("u2", 4, photometric="rgb", extrasamples=["assocalpha"])),
    "signed white": ("signed or floating", (drawn("i2", HEIGHT, WIDTH), {"photometric": "miniswhite"})),
    "complex": ("64 bits in 1 channels and of the kind COMPLEXIEEEFP", (drawn("f4", HEIGHT, WIDTH).astype("c8"), {})),
    "dark palette": (
        "palette has colours of 8 bits",
        (drawn("u1", HEIGHT, WIDTH), {"photometric": "palette", "colormap": np.arange(768).reshape(3, 256) % 256}),
    ),
    "reduced": ("reduced pictures alone", (GRAY16, {"subfiletype": 1})),
    "deep": ("slices in one page", (drawn("u1", 16, 16, 16), {"volumetric": True, "tile": (16, 16, 16)})),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_reader_gives_as_stored_is_refused_by_name(tmp_path: Path, name: str) -> None:
    message, (array, keys) = REFUSED[name]
    path = write(tmp_path / "x.tif", array, **keys)
    for read in (read_image, read_mask, read_header, bit_depth):
        with pytest.raises(ImageError, match=f"{message}.*; ?(expected|save)") as caught:
            read(path)
        assert caught.value.code == "unreadable"


@pytest.mark.parametrize(("compression", "name"), [(5, "LZW"), (32773, "PACKBITS"), (34712, "JPEG2000")])
def test_a_compression_that_is_not_installed_is_named(tmp_path: Path, compression: int, name: str) -> None:
    path = write(tmp_path / "x.tif", drawn("u2", HEIGHT, WIDTH, 3), photometric="rgb")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[259].overwrite(compression)
    with pytest.raises(ImageError, match=f"16 bits in 3 channels, compressed by {name}.*deflate"):
        read_image(path)


def test_a_stack_is_a_volume_and_its_thumbnail_is_no_slice(tmp_path: Path) -> None:
    array = drawn("u2", 4, HEIGHT, WIDTH)
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(array[0, ::2, ::2], subfiletype=1, metadata=None)
        for page in array:
            file.write(page, metadata=None, subifds=1)
            file.write(page[::2, ::2], subfiletype=1, metadata=None)
    np.testing.assert_array_equal(read_image(path)[..., 0], array)
    assert read_header(path).shape == (4, HEIGHT, WIDTH)
    small = array.astype(np.uint8)
    with tifffile.TiffWriter(path) as file:  # a pyramid, as of whole slides
        for step in (1, 2, 4):
            file.write(small[0, ::step, ::step], subfiletype=int(step > 1), metadata=None)
    np.testing.assert_array_equal(read_image(path)[..., 0], small[0])
    assert read_header(path).shape == (HEIGHT, WIDTH)


def test_pages_of_two_kinds_are_no_volume(tmp_path: Path) -> None:
    for second, message in ((GRAY16[::2], "different sizes"), (GRAY16.astype("f4"), "several kinds")):
        with tifffile.TiffWriter(tmp_path / "x.tif") as file:
            file.write(GRAY16, metadata=None)
            file.write(second, metadata=None)
        with pytest.raises(ImageError, match=f"pages of {message}"):
            read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("software", ["imagej", "ome"])
@pytest.mark.parametrize(("axes", "shape"), [("ZYX", (5,)), ("CYX", (2,)), ("TYX", (3,)), ("TZCYX", (2, 3, 2))])
def test_channels_and_times_are_no_slices(tmp_path: Path, software: str, axes: str, shape: tuple[int, ...]) -> None:
    array = drawn("u2", *shape, HEIGHT, WIDTH)
    path = tmp_path / "x.ome.tif"
    keys = {"ome": software == "ome", "imagej": software == "imagej"}
    tifffile.imwrite(path, array, metadata={"axes": axes}, photometric="minisblack", **keys)
    if axes == "ZYX":
        np.testing.assert_array_equal(read_image(path)[..., 0], array)
        return
    count = {"C": "2 channels", "T": "3 points in time"}.get(axes[0] if len(axes) == 3 else "C", "")
    for read in (read_image, read_header):
        with pytest.raises(ImageError, match=f"pages of .*{count}.*; expected the slices of one channel"):
            read(path)


def test_colour_of_ome_and_imagej_is_read(tmp_path: Path) -> None:
    """Three channels of one page are colour."""
    for name, keys in (("imagej", {"imagej": True}), ("ome", {"ome": True, "photometric": "rgb"})):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, RGB8, **keys)
        np.testing.assert_array_equal(read_image(path), RGB8.astype(np.float32))


def test_slices_behind_the_last_page_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    text = "ImageJ=1.54f\nimages=7\nslices=7\n"
    tifffile.imwrite(path, GRAY16, description=text, metadata=None)
    with pytest.raises(ImageError, match="holds 7 slices behind 1 page"):
        read_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path: Path, orientation: int) -> None:
    array = drawn("u2", HEIGHT, WIDTH, 3)
    path = write(tmp_path / "x.tif", array, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    if orientation > 4:
        with pytest.raises(ImageError, match="orientation"):
            read_image(path)
        return
    flips = {1: array, 2: np.fliplr(array), 3: np.rot90(array, 2), 4: np.flipud(array)}
    np.testing.assert_array_equal(read_image(path), flips[orientation])


@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("packed", [None, "zlib"])
def test_a_file_that_is_cut_off_is_never_read_in_part(tmp_path: Path, kind: str, packed: str | None) -> None:
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as file:
        for page in drawn(kind, 3, HEIGHT, WIDTH):
            file.write(page, metadata=None, compression=packed, rowsperstrip=4)
    whole = path.read_bytes()
    assert read_image(path).shape == (3, HEIGHT, WIDTH, 1)
    for share in range(1, 20):
        path.write_bytes(whole[: len(whole) * share // 20])
        with pytest.raises(ImageError):
            read_image(path)


def test_a_strip_that_lacks_or_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", GRAY16, rowsperstrip=10, compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[279].overwrite((0, 7))
    with pytest.raises(ImageError, match="holds 1 of 2 strips"):
        read_image(path)
    bomb = bombs.stream(times=2)
    path.write_bytes(tags(8, 8, bomb, bits=(258, 3, 1, 16), compression=(259, 3, 1, 8)))
    with pytest.raises(ImageError, match="unpacks to more than 128 bytes") as caught:
        read_image(path)
    assert caught.value.code == "unsafe"


def test_masks_of_16_bits_in_colour(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (HEIGHT, WIDTH)).astype(np.uint16)
    path = write(tmp_path / "gray.tif", np.stack([labels] * 3, -1), photometric="rgb")
    np.testing.assert_array_equal(read_mask(path), labels)
    with pytest.raises(ImageError, match="is in colour"):
        read_mask(write(tmp_path / "colour.tif", drawn("u2", HEIGHT, WIDTH, 3), photometric="rgb"))
    with pytest.raises(ImageError, match="more than 8 bits"):
        read_colours(tmp_path / "gray.tif")
    hidden = np.stack([np.full_like(labels, 9)] * 3 + [labels], -1)
    keys = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    with pytest.raises(ImageError, match="differ in transparency"):
        read_mask(write(tmp_path / "hidden.tif", hidden, **keys))
    veiled = np.stack([labels] * 3 + [np.full_like(labels, 7)], -1)
    np.testing.assert_array_equal(read_mask(write(tmp_path / "veiled.tif", veiled, **keys)), labels)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (HEIGHT, WIDTH, 3)])
def test_colours_of_8_bits_whoever_reads_them(tmp_path: Path, order: str, shape: tuple[int, ...]) -> None:
    array = drawn("u1", *shape)
    path = write(tmp_path / "x.tif", array, photometric=None, bigtiff=True, byteorder=ORDERS[order])
    rgb = np.broadcast_to(array.reshape(HEIGHT, WIDTH, -1), (HEIGHT, WIDTH, 3)).astype(np.int32)
    np.testing.assert_array_equal(read_colours(path), rgb @ np.array([65536, 256, 1]))


def test_a_file_in_place_of_its_offsets(tmp_path: Path) -> None:
    """A header alone, and one that leads nowhere."""
    for content in (b"II*\0", b"MM\0*\0\0\0\x08", b"II+\0" + struct.pack("<HHQ", 8, 0, 2**60), b"II*\0" + bytes(4)):
        (tmp_path / "x.tif").write_bytes(content)
        for read in (read_image, read_mask, read_header, bit_depth):
            with pytest.raises(ImageError):
                read(tmp_path / "x.tif")
