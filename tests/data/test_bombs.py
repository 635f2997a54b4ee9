"""Nothing that a file contains makes it loop or take memory beyond the bound that formats/common.py states."""

import json
import re
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from data import bombs
from data.broken import image_of, picture
from genseg_betty.data.formats import read_image, read_mask


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float]]:
    """What reading each bomb gives within the bound, and the seconds that it takes."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs a bound on the address space")
    folder = tmp_path_factory.mktemp("bombs")
    for name, (write, _) in bombs.BOMBS.items():
        write(folder / name)
    command = [sys.executable, "-W", "ignore", bombs.__file__, *(str(folder / name) for name in bombs.BOMBS)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    shutil.rmtree(folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return {name: (outcome, seconds) for name, outcome, seconds in map(json.loads, ran.stdout.splitlines())}


@pytest.mark.parametrize("name", bombs.BOMBS)
def test_no_file_takes_more_than_the_bound(outcomes: dict[str, tuple[str, float]], name: str) -> None:
    outcome, seconds = outcomes[name]
    assert re.fullmatch(bombs.pattern(bombs.BOMBS[name][1]), outcome), outcome
    assert seconds < bombs.SECONDS


def volume_writers() -> dict[str, Callable[[Path, np.ndarray], object]]:
    """[D, H, W] int16 to a file, in each format that takes much memory a value."""
    scaled = {"RescaleSlope": 2.5, "RescaleIntercept": 1.0, "WindowCenter": 2048, "WindowWidth": 1024}
    tags = {"Modality": "DX", "PhotometricInterpretation": "MONOCHROME1", **scaled}
    bits = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}

    def nifti_scaled(path: Path, array: np.ndarray) -> None:
        image = nibabel.Nifti1Image(array.T, np.eye(4))
        image.header.set_slope_inter(2, -1000)
        nibabel.save(image, path)

    def metaimage(path: Path, array: np.ndarray) -> None:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array.astype(np.float64)), str(path), True)

    def dicom(path: Path, array: np.ndarray) -> None:
        sides = dict(zip(("NumberOfFrames", "Rows", "Columns"), array.shape, strict=True))
        bombs.dicom(path, array.tobytes(), **sides, **tags, **bits)

    def pages(path: Path, array: np.ndarray) -> None:
        first, *others = (Image.fromarray(page.astype(np.float32)) for page in array)
        first.save(path, save_all=True, append_images=others)

    return {
        "x.npy": lambda path, array: np.save(path, array.astype(">f8")),
        "x.npz": lambda path, array: np.savez_compressed(path, array.astype(np.float64)),
        "x.nii.gz": nifti_scaled,
        "x.mha": metaimage,
        "x.nrrd": metaimage,
        "x.dcm": dicom,
        "x.tif": pages,
    }


@pytest.mark.parametrize("name", volume_writers())
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_memory_a_value(tmp_path: Path, name: str, read: Callable[[Path], np.ndarray]) -> None:
    """What formats/common.py promises of a file that is read."""
    array = (np.arange(2**18) % 4000).astype(np.int16).reshape(16, 128, 128)
    volume_writers()[name](tmp_path / name, array)
    read(tmp_path / name)  # libraries are imported
    tracemalloc.start()
    try:
        assert read(tmp_path / name).size == array.size
        assert tracemalloc.get_traced_memory()[1] < 32 * array.size
    finally:
        tracemalloc.stop()


TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_values_are_read_as_itk_writes_them(tmp_path: Path, kind: str, packed: bool) -> None:
    array = (np.arange(2 * 3 * 5) % 100).astype(kind).reshape(2, 3, 5)
    for name in ("x.mha", "x.mhd", "x.nrrd", "x.nhdr"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / name), packed)
        np.testing.assert_array_equal(read_image(tmp_path / name)[..., 0], array)
        assert read_mask(tmp_path / name).dtype == (np.dtype(kind) if kind[0] != "f" else np.int64)


def test_metaimage_byte_order_channels_and_offset(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 3, dtype=">i2").reshape(2, 3, 3)
    keys = {"DimSize": "3 2", "ElementType": "MET_SHORT", "ElementNumberOfChannels": "3"}
    path = tmp_path / "x.mha"
    for start, skipped in ((b"", "0"), (b"before", "-1")):
        content = start + values.tobytes()
        path.write_bytes(bombs.metaimage(content, BinaryDataByteOrderMSB="True", HeaderSize=skipped, **keys))
        np.testing.assert_array_equal(read_image(path), values)
        read = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        np.testing.assert_array_equal(read, values)


def test_a_jpeg_of_ordinary_scans_is_read(tmp_path: Path) -> None:
    for name, keys in (("x.jpg", {"progressive": True}), ("y.jpg", {"restart_marker_rows": 1})):
        picture(tmp_path / name, image_of("x"), quality=95, **keys)
        assert np.abs(read_image(tmp_path / name)[..., 0] - image_of("x")).mean() < 8
