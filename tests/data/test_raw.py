"""JSRT's raw radiographs: one length, one byte order, bright bones, and clear refusals."""

from pathlib import Path

import numpy as np
import pytest

from genseg_betty.data.formats import ImageError, bit_depth, read_header, read_image, read_mask, split_name
from genseg_betty.data.formats.raw import LENGTH

ROWS, COLUMNS = np.indices((2048, 2048))
VALUES = ((3 * ROWS + COLUMNS) % 4096).astype(np.uint16)


@pytest.fixture(params=["JPCLN001.IMG", "JPCNN012.img"])
def radiograph(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / request.param
    path.write_bytes(VALUES.astype(">u2").tobytes())
    return path


def test_rows_columns_byte_order_and_brightness(radiograph: Path) -> None:
    image = read_image(radiograph)
    assert (image.shape, image.dtype) == ((2048, 2048, 1), np.float32)
    np.testing.assert_array_equal(image[:, :, 0], 4095.0 - VALUES)
    assert image[0, 1, 0] == 4094
    assert image[1, 0, 0] == 4092
    assert read_header(radiograph).shape == (2048, 2048)
    assert read_header(radiograph).spacing is None
    assert bit_depth(radiograph) is None
    assert split_name(radiograph.name)[1].lower() == ".img"


@pytest.mark.parametrize("length", [1, LENGTH - 1, LENGTH + 1, LENGTH // 4])
def test_another_length_is_unreadable(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.IMG"
    path.write_bytes(bytes(length))
    for read in (read_image, read_header):
        with pytest.raises(ImageError, match=f"holds {length} bytes; expected a JSRT .* 8388608 bytes") as caught:
            read(path)
        assert caught.value.code == "unreadable"


def test_more_than_12_bits_are_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "x.IMG"
    for dtype, found in ((">u2", 4096), ("<u2", 65295)):  # 4095 in the other byte order is 65295
        values = np.zeros(2048 * 2048, dtype)
        values[77] = 4096 if dtype == ">u2" else 4095
        path.write_bytes(values.tobytes())
        with pytest.raises(ImageError, match=rf"holds values up to {found}; expected .* within 0\.\.4095") as caught:
            read_image(path)
        assert caught.value.code == "unreadable"


def test_half_of_a_nifti_pair_is_no_radiograph(radiograph: Path, tmp_path: Path) -> None:
    """A volume of 256 x 256 x 64 values has the length of a radiograph."""
    radiograph.with_suffix(".hdr").write_bytes(bytes(348))
    (tmp_path / "short.img").write_bytes(bytes(7))
    (tmp_path / "short.hdr").write_bytes(bytes(348))
    for path in (radiograph, tmp_path / "short.img"):
        for read in (read_image, read_header):
            with pytest.raises(ImageError, match=rf"is one half of .* save both as {path.stem}\.nii\.gz"):
                read(path)


def test_it_is_no_mask_and_may_be_absent(radiograph: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no labels; expected a mask file") as caught:
        read_mask(radiograph)
    assert caught.value.code == "unreadable"
    for read in (read_image, read_header):
        with pytest.raises(ImageError, match="cannot be read"):
            read(tmp_path / "absent.img")
