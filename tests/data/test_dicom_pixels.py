"""What stored DICOM values stand for: rescales, palettes, colours, bits; and what to install for compressed ones."""

import io
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from data.dicoms import VOLUME, enhanced, series, slice_file
from genseg_betty.data.formats import ImageError, read_header, read_image, read_mask
from genseg_betty.data.formats.jpeg import read_frame_size

GRAY = np.arange(60, dtype=np.uint16).reshape(6, 10) * 16
COLOUR = np.random.default_rng(1).integers(0, 256, (6, 10, 3)).astype(np.uint8)
WINDOW = {"WindowCenter": 100, "WindowWidth": 20}
PROJECT = Path(__file__).resolve().parents[2]


def table(entries: int, depth: int = 16) -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [entries, 0, depth], "US"
    item.LUTData = (7 * np.arange(entries) % 1000).astype("<u2").tobytes()
    return item


TABLE = {"VOILUTSequence": [table(64)]}


@pytest.mark.parametrize("modality", ["CT", "PT", "MR", "DX", "MG", "CR", "US", "NM", "XA", "OT"])
@pytest.mark.parametrize("display", [WINDOW, TABLE, {"WindowCenter": [1, 2], "WindowWidth": ""}])
def test_the_window_of_display_changes_nothing(tmp_path: Path, modality: str, display: dict[str, Any]) -> None:
    path = slice_file(tmp_path / "x.dcm", GRAY, Modality=modality, **display)
    np.testing.assert_array_equal(read_image(path)[..., 0], GRAY)
    rescaled = slice_file(tmp_path / "y.dcm", GRAY, Modality=modality, RescaleSlope=2.5, RescaleIntercept=-7, **display)
    np.testing.assert_array_equal(read_image(rescaled)[..., 0], GRAY * 2.5 - 7)


def test_each_slice_has_its_own_rescale_as_in_itk(tmp_path: Path) -> None:
    """As of positron emission tomography."""
    slopes = [0.5 + 0.25 * index for index in range(len(VOLUME))]
    tags = {"RescaleSlope": slopes.__getitem__, "RescaleIntercept": 3, "Modality": "PT"}
    folder = series(tmp_path / "s", WindowCenter=lambda i: 10 * i, WindowWidth=lambda i: 5 + i, **tags)
    read = read_image(folder)[..., 0]
    np.testing.assert_array_equal(read, VOLUME * np.array(slopes)[:, None, None] + 3)
    for index in range(len(VOLUME)):
        by_itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / f"{index}.dcm")))[0]
        np.testing.assert_allclose(read[index], by_itk)


def test_the_table_of_the_modality(tmp_path: Path) -> None:
    path = slice_file(tmp_path / "x.dcm", GRAY // 16, ModalityLUTSequence=[table(64)], **WINDOW)
    np.testing.assert_array_equal(read_image(path)[..., 0], (7 * (GRAY // 16)) % 1000)
    short = table(64)
    short.LUTData = bytes(6)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(slice_file(tmp_path / "y.dcm", GRAY, ModalityLUTSequence=[short]))


@pytest.mark.parametrize("signed", [False, True])
def test_inversion_keeps_slices_of_one_series_comparable(tmp_path: Path, signed: bool) -> None:
    """Equal intensities stay equal, whatever rescale their slices are stored with, and stay in range."""
    slopes = [1.0, 2.0, 0.5, 1.0, 2.0, 0.5]
    truth = np.arange(6 * 4, dtype=np.float32).reshape(1, 6, 4).repeat(6, 0) * 2
    stored = np.stack([values / slope for values, slope in zip(truth, slopes, strict=True)])
    stored = stored.astype(np.int16 if signed else np.uint16)
    tags = {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1", "RescaleIntercept": 0}
    read = read_image(series(tmp_path / "s", stored, RescaleSlope=slopes.__getitem__, **tags))[..., 0]
    assert (read == read[:1]).all()
    lowest, highest = (-4096, 4094) if signed else (0, 8190)
    np.testing.assert_array_equal(read, lowest + highest - truth)
    frames = enhanced(tmp_path / "x.dcm", stored, rescales=[(slope, 0) for slope in slopes], **tags)
    np.testing.assert_array_equal(read_image(frames)[..., 0], read)


def test_inversion_of_equal_slices_is_that_of_each(tmp_path: Path) -> None:
    tags = {"BitsStored": 16, "PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": 3, "RescaleIntercept": -5}
    folder = series(tmp_path / "s", **tags)
    each = [read_image(folder / f"{index}.dcm") for index in range(len(VOLUME))]
    np.testing.assert_array_equal(read_image(folder), each)
    np.testing.assert_array_equal(read_image(folder)[..., 0], (-1 * 3 - 10) - (VOLUME * 3.0 - 5))


TAKEN_AS_ABSENT: dict[str, Any] = {
    "RescaleSlope": "",
    "RescaleIntercept": "",
    "PixelSpacing": "",
    "NumberOfFrames": "",
    "SliceThickness": "",
    "ImagePositionPatient": "",
    "ImageOrientationPatient": "",
    "WindowCenter": "",
    "ModalityLUTSequence": [],
    "SeriesInstanceUID": "",
    "SharedFunctionalGroupsSequence": [],
    "PerFrameFunctionalGroupsSequence": [],
}


@pytest.mark.parametrize("keyword", TAKEN_AS_ABSENT)
def test_an_empty_tag_is_taken_as_absent(tmp_path: Path, keyword: str) -> None:
    path = slice_file(tmp_path / "x.dcm", GRAY, **{keyword: TAKEN_AS_ABSENT[keyword]})
    np.testing.assert_array_equal(read_image(path)[..., 0], GRAY)
    assert (read_header(path).shape, read_header(path).spacing) == (GRAY.shape, None)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RescaleSlope", b"0,50"),
        ("RescaleSlope", b"NaN "),
        ("RescaleSlope", b"1\\2 "),
        ("RescaleSlope", b"1\\  "),
        ("RescaleSlope", b"1e99"),
        ("RescaleIntercept", b"inf "),
        ("RescaleIntercept", b"none"),
        ("PixelSpacing", b"1   "),
        ("PixelSpacing", b"1\\x "),
        ("NumberOfFrames", b"1\\1 "),
    ],
)
def test_an_odd_tag_is_refused_by_name(tmp_path: Path, keyword: str, value: bytes) -> None:
    """Written over a sound value, as no library writes such."""
    path = slice_file(tmp_path / "x.dcm", GRAY, **{keyword: "+234" if keyword != "PixelSpacing" else ["1", "2"]})
    content = path.read_bytes()
    sound = b"+234" if keyword != "PixelSpacing" else b"1\\2 "
    assert content.count(sound) == 1
    path.write_bytes(content.replace(sound, value))
    with pytest.raises(ImageError, match=f"states {keyword} as .*; expected (a number|2 numbers), mend its header"):
        read_header(path) if keyword == "PixelSpacing" else read_image(path)


def test_other_odd_tags_get_a_sentence(tmp_path: Path) -> None:
    path = slice_file(tmp_path / "x.dcm", GRAY, PixelSpacing=[0, 0])
    with pytest.raises(ImageError, match="states voxels of 0 x 0 mm"):
        read_header(path)
    with pytest.raises(ImageError, match="states a RescaleSlope of 0"):
        read_image(slice_file(tmp_path / "x.dcm", GRAY, RescaleSlope=0, RescaleIntercept=0))
    with pytest.raises(ImageError, match="keeps 12 bits a value, the highest in place 15; expected it in place 11"):
        read_image(slice_file(tmp_path / "x.dcm", GRAY, BitsStored=12, HighBit=15))


SIGNED = GRAY.astype(np.int16) - 300
BITS: dict[str, tuple[np.ndarray, dict[str, Any], np.ndarray]] = {
    "12 of 16, garbage above": (GRAY | 0xA000, {"BitsStored": 12}, GRAY),
    "12 of 16, an overlay above": (GRAY | ((GRAY % 3 == 0) * 0x8000).astype(np.uint16), {"BitsStored": 12}, GRAY),
    "12 of 16, signed": (SIGNED & 0xFFF, {"BitsStored": 12}, SIGNED),
    "8": (GRAY.astype(np.uint8), {}, GRAY.astype(np.uint8)),
    "signed 8": (GRAY.astype(np.int8), {}, GRAY.astype(np.int8)),
    "32": (GRAY.astype(np.uint32) * 4000, {}, GRAY.astype(np.uint32) * 4000),
    "signed 32": (GRAY.astype(np.int32) * -4000, {}, GRAY.astype(np.int32) * -4000),
}


@pytest.mark.parametrize("kind", BITS)
def test_bits(tmp_path: Path, kind: str) -> None:
    stored, tags, expected = BITS[kind]
    path = slice_file(tmp_path / "x.dcm", stored, **tags)
    np.testing.assert_array_equal(read_image(path)[..., 0], expected.astype(np.float32))
    np.testing.assert_array_equal(read_mask(path), expected)


def test_one_bit_a_pixel(tmp_path: Path) -> None:
    mask = GRAY % 48 == 0
    packed = np.packbits(mask.ravel(), bitorder="little")
    tags = {"Rows": 6, "Columns": 10, "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}
    path = slice_file(tmp_path / "x.dcm", packed[None], **tags)
    np.testing.assert_array_equal(read_mask(path), mask)


@pytest.mark.parametrize(("keyword", "kind"), [("FloatPixelData", np.float32), ("DoubleFloatPixelData", np.float64)])
def test_floats(tmp_path: Path, keyword: str, kind: type) -> None:
    values = (GRAY / 7 - 20).astype(kind)
    path = slice_file(tmp_path / "x.dcm", GRAY, BitsAllocated=values.itemsize * 8, **{keyword: values.tobytes()})
    data = pydicom.dcmread(path)
    del data.PixelData, data.BitsStored, data.HighBit, data.PixelRepresentation
    pydicom.dcmwrite(path, data)
    np.testing.assert_array_equal(read_image(path)[..., 0], values.astype(np.float32))
    assert read_header(path).shape == GRAY.shape
    data.PhotometricInterpretation = "MONOCHROME1"
    pydicom.dcmwrite(path, data)
    with pytest.raises(ImageError, match="states BitsStored as None"):
        read_image(path)


def write_more_frames(path: Path, syntax: str, stated: int | None) -> Path:
    """Three frames of which the header states fewer."""
    slice_file(path, np.stack([GRAY, GRAY, GRAY]))
    data = pydicom.dcmread(path)
    if syntax != ExplicitVRLittleEndian:
        data.compress(syntax)
    data.NumberOfFrames = stated
    data.save_as(path)
    return path


@pytest.mark.parametrize("stated", [None, 1, 2])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_more_frames_than_are_stated_are_not_left_out(tmp_path: Path, syntax: str, stated: int | None) -> None:
    path = write_more_frames(tmp_path / "x.dcm", syntax, stated)
    for read in (read_image, read_mask):
        with pytest.raises(ImageError, match=f"holds more frames than the {stated or 1} that its header states"):
            read(path)


@pytest.mark.filterwarnings("ignore:The pixel data is")
def test_padding_is_no_frame(tmp_path: Path) -> None:
    """A value of one byte is padded to two; some writers pad further."""
    for side, more in ((1, b""), (3, bytes(5))):
        stored = np.full((side, side), 7, np.uint8)
        path = slice_file(tmp_path / "x.dcm", stored)
        data = pydicom.dcmread(path)
        data.PixelData = stored.tobytes() + b"\0" + more
        data.save_as(path)
        np.testing.assert_array_equal(read_mask(path), stored)


@pytest.mark.parametrize("stored", [None, b""])
def test_a_file_without_pixels_is_named(tmp_path: Path, stored: bytes | None) -> None:
    path = slice_file(tmp_path / "x.dcm", GRAY)
    data = pydicom.dcmread(path)
    data.PixelData = stored
    if stored is None:
        del data.PixelData
    data.save_as(path)
    with pytest.raises(ImageError, match="holds no pixels, its PixelData is missing or empty"):
        read_image(path)


def palette(entries: int, depth: int, first: int = 0) -> dict[str, Any]:
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for place, name in enumerate(("Red", "Green", "Blue")):
        values = (np.arange(entries) * (3 + place)) % 2**depth
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [entries % 2**16, first, depth]
        tags[f"{name}PaletteColorLookupTableData"] = values.astype(f"u{depth // 8}").tobytes()
    return tags


@pytest.mark.parametrize(("entries", "depth", "first"), [(256, 8, 0), (256, 16, 0), (200, 16, 20), (1024, 16, 0)])
def test_a_palette_gives_colours(tmp_path: Path, entries: int, depth: int, first: int) -> None:
    stored = GRAY if entries > 256 else (GRAY // 4).astype(np.uint8)
    path = slice_file(tmp_path / "x.dcm", stored, **palette(entries, depth, first))
    places = np.clip(stored.astype(int) - first, 0, entries - 1)
    expected = np.stack([(places * factor) % 2**depth for factor in (3, 4, 5)], axis=-1)
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(read_mask(path), stored)  # a label is its place in the palette
    if entries == 256 and depth == 8:
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0], expected)


@pytest.mark.parametrize("tags", [palette(1024, 8), {"PhotometricInterpretation": "PALETTE COLOR"}])
def test_an_unusual_palette_is_refused(tmp_path: Path, tags: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match=r"palette|PaletteColor"):
        read_image(slice_file(tmp_path / "x.dcm", GRAY, **tags))


def test_colour_by_pixel_and_by_plane(tmp_path: Path) -> None:
    path = slice_file(tmp_path / "x.dcm", COLOUR)
    np.testing.assert_array_equal(read_image(path), COLOUR)
    data = pydicom.dcmread(path)
    data.PlanarConfiguration, data.PixelData = 1, np.moveaxis(COLOUR, -1, 0).tobytes()
    pydicom.dcmwrite(path, data)
    np.testing.assert_array_equal(read_image(path), COLOUR)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0], COLOUR)


def test_ycbcr_becomes_rgb(tmp_path: Path) -> None:
    stored = np.array(Image.fromarray(COLOUR).convert("YCbCr"))
    path = slice_file(tmp_path / "x.dcm", stored, PhotometricInterpretation="YBR_FULL")
    assert np.abs(read_image(path) - COLOUR).max() <= 3  # of 256, as conversions round
    # Two neighbours share their colours (PS3.3 C.7.6.3.1.2): Y1 Y2 Cb Cr.
    halved = stored.copy()
    halved[:, 1::2, 1:] = halved[:, ::2, 1:]
    path = slice_file(tmp_path / "y.dcm", stored, PhotometricInterpretation="YBR_FULL_422")
    data = pydicom.dcmread(path)
    pairs = [halved[:, ::2, 0], halved[:, 1::2, 0], halved[:, ::2, 1], halved[:, ::2, 2]]
    data.PixelData = np.stack(pairs, axis=-1).tobytes()
    pydicom.dcmwrite(path, data)
    expected = np.array(Image.fromarray(halved, "YCbCr").convert("RGB"))
    assert np.abs(read_image(path) - expected).max() <= 3


@pytest.mark.parametrize(
    ("syntax", "interpretation", "kind", "keys"),
    [
        ("1.2.840.10008.1.2.4.50", "YBR_FULL_422", "JPEG", {"quality": 95}),
        ("1.2.840.10008.1.2.4.50", "RGB", "JPEG", {"quality": 95, "keep_rgb": True}),
        ("1.2.840.10008.1.2.4.90", "YBR_RCT", "JPEG2000", {"mct": 1, "no_jp2": True}),
        ("1.2.840.10008.1.2.4.90", "RGB", "JPEG2000", {"mct": 0, "no_jp2": True}),
    ],
)
def test_compressed_colour_is_as_pillow_has_it(
    tmp_path: Path, syntax: str, interpretation: str, kind: str, keys: dict[str, Any]
) -> None:
    smooth = np.array(Image.fromarray(COLOUR).resize((40, 24), Image.Resampling.BICUBIC))
    file = io.BytesIO()
    Image.fromarray(smooth).save(file, kind, **keys)
    tags = {"frame": file.getvalue(), "PhotometricInterpretation": interpretation}
    path = slice_file(tmp_path / "x.dcm", smooth, syntax, **tags)
    expected = np.array(Image.open(file).convert("RGB"))
    assert np.abs(read_image(path) - expected).max() <= (3 if kind == "JPEG" else 0)


@pytest.mark.parametrize(
    ("interpretation", "samples"),
    [("HSV", 3), ("ARGB", 4), ("CMYK", 4), ("YBR_PARTIAL_420", 3), ("MONOCHROME2", 3), ("RGB", 1)],
)
def test_unknown_colours_are_refused(tmp_path: Path, interpretation: str, samples: int) -> None:
    path = slice_file(tmp_path / "x.dcm", COLOUR, PhotometricInterpretation=interpretation, SamplesPerPixel=samples)
    with pytest.raises(ImageError, match=f"has {samples} samples a pixel of {interpretation}; expected one of MONO"):
        read_image(path)


MISSING = {
    "JPEG Lossless": ("1.2.840.10008.1.2.4.70", "pip install pylibjpeg pylibjpeg-libjpeg"),
    "JPEG Lossless, any": ("1.2.840.10008.1.2.4.57", "pip install pylibjpeg pylibjpeg-libjpeg"),
    "JPEG of 12 bits": ("1.2.840.10008.1.2.4.51", "pip install pylibjpeg pylibjpeg-libjpeg"),
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", "pip install pyjpegls"),
    "JPEG-LS lossy": ("1.2.840.10008.1.2.4.81", "pip install pyjpegls"),
    "HTJ2K": ("1.2.840.10008.1.2.4.201", "pip install pylibjpeg pylibjpeg-openjpeg"),
}


@pytest.mark.parametrize("kind", MISSING)
def test_what_to_install_for_compressed_pixels(tmp_path: Path, kind: str) -> None:
    syntax, advice = MISSING[kind]
    if set(get_decoder(syntax).available_plugins) - {"pillow"}:
        pytest.skip("a decoder of these pixels is installed")
    path = slice_file(tmp_path / "x.dcm", GRAY, syntax, frame=b"\xff\xd8\xff\xd9", BitsStored=12)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    name = re.escape(pydicom.uid.UID(syntax).name)
    extra = re.escape("pip install 'genseg-betty[dicom]'")
    expected = f"is compressed as {name}, for which no decoder is installed; expected one: {extra}, or alone {advice}"
    assert re.fullmatch(expected, str(caught.value))


def test_the_extra_installs_what_messages_name() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {word for _, advice in MISSING.values() for word in advice.split()[2:]}
    assert named == {requirement.split(">=")[0] for requirement in extras["dicom"]}


def test_a_syntax_that_nothing_reads_is_named(tmp_path: Path) -> None:
    path = slice_file(tmp_path / "x.dcm", GRAY, "1.2.840.10008.1.2.4.100", frame=b"\0\0\1\xb3")
    with pytest.raises(ImageError, match=r"is compressed as MPEG2 Main Profile.*, which is not read; expected another"):
        read_image(path)


def test_a_damaged_frame_is_told_in_full(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(GRAY.astype(np.uint8)).save(file, "JPEG2000", no_jp2=True)
    broken = file.getvalue()[:-40]
    path = slice_file(tmp_path / "x.dcm", GRAY.astype(np.uint8), "1.2.840.10008.1.2.4.90", frame=broken)
    with pytest.raises(ImageError, match=r"plugins: pillow: .*another decoder may read it: pip install pylibjpeg"):
        read_image(path)


def start_of_frame(code: int, width: int, height: int) -> bytes:
    sizes = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return b"\xff\xd8\xff\xe0\0\4xx\xff\xff" + bytes([code]) + b"\0\x0b\x10" + sizes + b"\1\1\x11\0\xff\xd9"


@pytest.mark.parametrize("code", [0xC0, 0xC1, 0xC2, 0xC3, 0xF7])
def test_a_frame_larger_than_its_header_is_refused_before_it_is_decoded(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genseg_betty.data.formats import dicom_stored

    frame = start_of_frame(code, 60000, 50000)
    assert read_frame_size(frame) == (60000, 50000)
    monkeypatch.setattr(dicom_stored, "_require_decoder", lambda syntax, bits: "")  # as if one were installed
    path = slice_file(tmp_path / "x.dcm", GRAY, "1.2.840.10008.1.2.4.70", frame=frame)
    with pytest.raises(ImageError, match="holds a frame of 60000x50000 pixels; expected 10x6, as its header"):
        read_image(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_size_of_a_jpeg_frame(kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(COLOUR).save(file, kind)
    assert read_frame_size(file.getvalue()) == ((10, 6) if kind == "JPEG" else None)
    assert read_frame_size(b"\xff\xd8\xff\xd9") is None
