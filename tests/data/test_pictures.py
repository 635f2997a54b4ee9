"""Files in, arrays out: every format, bit depth, colour type and orientation; clear errors for the rest."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genseg_betty.data.formats import pictures
from genseg_betty.data.formats.colours import pack
from genseg_betty.data.formats.pictures import (
    EXTENSIONS,
    ImageError,
    read_colours,
    read_header,
    read_image,
    read_mask,
    write_mask,
)
from genseg_betty.data.source.labels import LabelMap
from genseg_betty.errors import UserError

GRAY = (np.arange(20 * 30).reshape(20, 30) % 251).astype(np.uint8)
RGB = np.stack([GRAY, GRAY[::-1], 255 - GRAY], axis=2)
BINARY = (GRAY > 100).astype(np.uint8) * 255
LOSSLESS = [extension for extension in EXTENSIONS if extension not in (".jpg", ".jpeg", ".webp")]


def save(path: Path, array: np.ndarray, **keys: object) -> Path:
    Image.fromarray(array).save(path, **keys)
    return path


@pytest.mark.parametrize("extension", LOSSLESS)
def test_lossless_formats_keep_every_gray_value(tmp_path: Path, extension: str) -> None:
    path = save(tmp_path / f"x{extension}", GRAY)
    np.testing.assert_array_equal(read_image(path), GRAY[:, :, None].astype(np.float32))
    np.testing.assert_array_equal(read_mask(path), GRAY)


@pytest.mark.parametrize("extension", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats_come_close(tmp_path: Path, extension: str) -> None:
    smooth = np.add.outer(np.arange(40), 2 * np.arange(50)).astype(np.uint8)
    image = read_image(save(tmp_path / f"x{extension}", np.stack([smooth] * 3, axis=2), quality=95))
    assert image.shape == (40, 50, 3)
    assert np.abs(image - smooth[:, :, None]).mean() < 3


def test_extension_case_does_not_matter(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", GRAY).rename(tmp_path / "x.PNG")
    assert read_image(path).shape == (20, 30, 1)


@pytest.mark.parametrize(
    ("array", "channels", "highest"),
    [
        (RGB, 3, 255),
        (np.dstack([RGB, GRAY]), 3, 255),  # alpha, dropped
        (GRAY.astype(np.uint16) * 200, 1, 50000),
        (GRAY > 100, 1, 255),  # 1-bit
    ],
)
def test_colour_types_and_depths_as_images(tmp_path: Path, array: np.ndarray, channels: int, highest: float) -> None:
    image = read_image(save(tmp_path / "x.png", array))
    assert image.shape == (20, 30, channels)
    assert image.dtype == np.float32
    assert image.max() == highest


def test_palette_image_is_resolved_to_colours(tmp_path: Path) -> None:
    Image.fromarray(RGB).quantize(64).save(tmp_path / "x.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "x.png"), np.asarray(Image.open(tmp_path / "x.png").convert("RGB"))
    )


def test_one_bit_mask_is_zero_and_one(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_mask(save(tmp_path / "x.png", GRAY > 100)), GRAY > 100)


def test_rgb_mask_with_equal_channels_is_its_gray_value(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", np.stack([BINARY] * 3, axis=2))
    np.testing.assert_array_equal(read_mask(path), BINARY)


def test_colour_palette_mask_gives_indices_and_gray_palette_its_grays(tmp_path: Path) -> None:
    indices = (GRAY > 100).astype(np.uint8)
    for name, palette in (("colour", [0, 0, 0, 128, 0, 0]), ("gray", [255, 255, 255, 0, 0, 0])):
        image = Image.fromarray(indices, mode="L").convert("P")
        image.putdata(indices.ravel())
        image.putpalette(palette)
        image.save(tmp_path / f"{name}.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "colour.png"), indices)
    np.testing.assert_array_equal(read_mask(tmp_path / "gray.png"), 255 * (1 - indices))


@pytest.mark.parametrize(("tag", "turn"), [(1, 0), (3, 2), (6, 3), (8, 1)])
@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_exif_orientation_is_applied_and_size_agrees(tmp_path: Path, extension: str, tag: int, turn: int) -> None:
    image = Image.fromarray(GRAY)
    exif = image.getexif()
    exif[0x0112] = tag
    image.save(tmp_path / f"x{extension}", exif=exif)
    path = tmp_path / f"x{extension}"
    if extension == ".tif" and tag in (6, 8):
        with pytest.raises(ImageError, match="orientation"):
            read_image(path)
        return
    upright = np.rot90(GRAY, turn)
    np.testing.assert_array_equal(read_image(path)[:, :, 0], upright)
    np.testing.assert_array_equal(read_mask(path), upright)
    assert read_header(path).shape == upright.shape


@pytest.mark.parametrize("mask", [BINARY, GRAY, GRAY.astype(np.int64) * 200])
def test_write_mask_round_trip(tmp_path: Path, mask: np.ndarray) -> None:
    write_mask(tmp_path / "x.png", mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "x.png"), mask)


@pytest.mark.parametrize("mask", [np.zeros((2, 2, 3)), np.full((2, 2), -1), np.full((2, 2), 65536)])
def test_write_mask_refuses_what_a_png_cannot_hold(tmp_path: Path, mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\[H, W\]"):
        write_mask(tmp_path / "x.png", mask)


def damaged(path: Path, kind: str) -> Path:
    save(path, RGB)
    content = path.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    if kind == "text":
        path.write_text("not an image")
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    if kind == "postscript":
        path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    if kind == "absent":
        path.unlink()
    if kind == "folder":
        path.unlink()
        path.mkdir()
    if kind == "frames":
        frame = Image.fromarray(GRAY)
        frame.save(path, save_all=True, append_images=[frame.transpose(Image.Transpose.ROTATE_180)])
    return path


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "postscript", "absent", "folder", "frames"])
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_damaged_files_are_unreadable(tmp_path: Path, read, kind: str) -> None:
    with pytest.raises(UserError, match="expected") as caught:
        read(damaged(tmp_path / "x.png", kind))
    assert caught.value.code == "unreadable"


def test_a_decompression_bomb_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "x.png", GRAY)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for read in (read_image, read_mask, read_header):
        with pytest.raises(ImageError, match="million pixels") as caught:
            read(path)
        assert caught.value.code == "too_large"
    assert pictures.MAX_PIXELS == 178_956_970


@pytest.mark.parametrize(("name", "array"), [("colour.png", RGB), ("fractions.tif", GRAY.astype(np.float32) / 3)])
def test_masks_that_hold_no_labels(tmp_path: Path, name: str, array: np.ndarray) -> None:
    with pytest.raises(ImageError) as caught:
        read_mask(save(tmp_path / name, array))
    assert caught.value.code == "unexpected_label"


DISC = np.add.outer((np.arange(96) - 40) ** 2, (np.arange(96) - 50) ** 2) < 25**2
BINARY_LABELS = LabelMap.declared(None, None)


@pytest.mark.parametrize("high", [1, 255])
def test_binary_masks_need_no_declaration(high: int) -> None:
    indices, blurred = BINARY_LABELS.decode((DISC * high).astype(np.uint8))
    np.testing.assert_array_equal(indices, DISC)
    assert not blurred


@pytest.mark.parametrize("kind", ["jpeg", "shrunk", "enlarged", "webp"])
def test_blurred_masks_are_thresholded_at_half(tmp_path: Path, kind: str) -> None:
    image = Image.fromarray((DISC * 255).astype(np.uint8))
    truth = DISC
    if kind in ("jpeg", "webp"):
        image.save(tmp_path / f"x.{kind}", quality=75)
        values = read_mask(tmp_path / f"x.{kind}")
    else:
        side = 48 if kind == "shrunk" else 192
        values = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
        truth = np.asarray(image.resize((side, side), Image.Resampling.NEAREST)) > 0
    indices, blurred = BINARY_LABELS.decode(values)
    assert blurred
    assert np.logical_xor(indices, truth).mean() < 0.01


@pytest.mark.parametrize("value", [1, 7, 128, 200, 254])
@pytest.mark.parametrize("place", [(slice(0, 6), slice(0, 6)), (slice(38, 44), slice(40, 60))])
def test_a_third_label_is_not_blur(value: int, place: tuple[slice, slice]) -> None:
    values = (DISC * 255).astype(np.uint8)
    values[place] = value
    with pytest.raises(ImageError, match="expected 0 and 1, or 0 and 255") as caught:
        BINARY_LABELS.decode(values)
    assert caught.value.code == "unexpected_label"


@pytest.mark.parametrize("values", [GRAY, DISC.astype(np.uint8) * 2, DISC.astype(np.uint16) * 65535])
def test_other_values_are_unexpected(values: np.ndarray) -> None:
    with pytest.raises(ImageError):
        BINARY_LABELS.decode(values)


def test_declared_labels_are_ordered_background_first() -> None:
    labels = LabelMap.declared({"wall": 2, "background": 5, "lumen": 0}, None)
    assert labels.classes == ("background", "lumen", "wall")
    assert labels.values == (5, 0, 2)
    indices, _ = labels.decode(np.array([[0, 2], [5, 2]]))
    np.testing.assert_array_equal(indices, [[1, 2], [0, 2]])
    with pytest.raises(ImageError, match=r"holds the values 3; expected 0, 2, 5"):
        labels.decode(np.array([[0, 3]]))


def test_foreground_merges_labels() -> None:
    labels = LabelMap.declared({"background": 0, "anterior": 1, "posterior": 2, "vein": 3}, ["anterior", "posterior"])
    assert labels.classes == ("background", "foreground")
    assert labels.values == (0, 1)
    np.testing.assert_array_equal(labels.decode(np.array([[0, 1, 2, 3]]))[0], [[0, 1, 1, 0]])


@pytest.mark.parametrize(
    ("labels", "foreground", "message"),
    [
        ({"background": 0, "a": 0}, None, "share one value"),
        ({"background": 0, "a": 70000}, None, "whole numbers"),
        ({"background": 0}, None, "at least one more"),
        ({"background": 0, "a": 1}, ["b"], "expected names among background, a"),
    ],
)
def test_faulty_declarations(labels: dict, foreground: list | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        LabelMap.declared(labels, foreground)


def test_a_label_in_alpha_alone_is_no_label(tmp_path: Path) -> None:
    """Transparency that follows from the colour is dropped; where it tells pixels of one colour apart it is a fault."""
    mask = np.zeros((9, 12), np.uint8)
    mask[2:5, 3:8] = 255
    Image.fromarray(np.dstack([mask] * 4)).save(tmp_path / "cut_out.png")
    Image.fromarray(np.dstack([mask, np.full_like(mask, 128)]), "LA").save(tmp_path / "veiled.png")
    for name in ("cut_out", "veiled"):
        assert (read_mask(tmp_path / f"{name}.png") == mask).all()
    white = np.full_like(mask, 255)
    Image.fromarray(np.dstack([white, white, white, mask])).save(tmp_path / "hidden.png")
    for read in (read_mask, read_colours):
        with pytest.raises(ImageError, match="of one colour that differ in transparency") as caught:
            read(tmp_path / "hidden.png")
        assert caught.value.code == "unexpected_label"


@pytest.mark.parametrize(
    ("colours", "expected"),
    [
        ([(0, 0, 0), (1, 0, 0), (2, 0, 0)], None),  # labels in red
        ([(0, 0, 0), (1, 0, 0), (255, 255, 255)], None),
        ([(0, 0, 0), (0, 0, 9)], None),
        ([(0, 1, 0), (0, 2, 0)], [1, 2]),
        ([(0, 0, 0), (254, 255, 253)], [0, 255]),  # white by a screen's profile
    ],
)
def test_labels_in_one_channel_are_not_taken_for_noise(tmp_path: Path, colours: list, expected: list | None) -> None:
    path = save(tmp_path / "x.png", np.array(colours, np.uint8)[np.arange(90).reshape(9, 10) % len(colours)])
    if expected is None:
        with pytest.raises(ImageError, match="is in colour"):
            read_mask(path)
    else:
        assert np.unique(read_mask(path)).tolist() == expected


def test_noise_in_colour_is_gray(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    noisy = np.where(DISC[..., None], 247, 0) + random.integers(0, 9, (*DISC.shape, 3))
    np.testing.assert_array_equal(read_mask(save(tmp_path / "x.png", noisy.astype(np.uint8))), noisy[..., 1])
    with pytest.raises(ImageError, match="is in colour"):
        read_mask(save(tmp_path / "dark.png", (noisy % 9).astype(np.uint8)))


@pytest.mark.parametrize(
    ("grays", "used"),
    [([0, 0], [0, 1]), ([0, 0], [1, 1]), ([0, 255, 255], [1, 2]), ([9, 9, 9], [0, 2])],
)
def test_a_gray_palette_that_shows_two_labels_alike_is_refused(tmp_path: Path, grays: list, used: list) -> None:
    image = Image.fromarray(np.resize(np.array(used, np.uint8), (8, 8)), "P")
    image.putpalette([part for gray in grays for part in (gray,) * 3])
    image.save(tmp_path / "x.png")
    with pytest.raises(ImageError, match=r"gray palette in which not each of the indices .* has a gray of its own"):
        read_mask(tmp_path / "x.png")


@pytest.mark.parametrize("palette", [[255] * 3 + [0] * 3 + [255, 0, 0], [0] * 3 + [255] * 3 + [255, 0, 0]])
def test_a_palette_that_reads_in_two_ways_is_refused(tmp_path: Path, palette: list[int]) -> None:
    indices = np.zeros((9, 12), np.uint8)
    indices[2:5, 3:8] = 1
    image = Image.fromarray(indices, "P")
    image.putpalette(palette)
    image.save(tmp_path / "mask.png")
    seen = pack(np.array(palette).reshape(-1, 3)[indices])
    assert (read_colours(tmp_path / "mask.png") == seen).all()
    if palette[0] == 0:
        assert (read_mask(tmp_path / "mask.png") == indices).all()
        return
    with pytest.raises(ImageError, match="white is index 0") as caught:
        read_mask(tmp_path / "mask.png")
    assert caught.value.code == "unexpected_label"
