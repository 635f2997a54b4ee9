"""Volumes and arrays: one axis order whatever the format, spacing, scaling, and nothing trusted."""

import gzip
import hashlib
import io
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, generate_uid

from genseg_betty.data import formats
from genseg_betty.data.formats import ImageError, content_digest, read_header, read_image, read_mask, split_name
from genseg_betty.data.inspect.check import check_dataset

VOLUME = np.arange(5 * 7 * 11, dtype=np.int16).reshape(5, 7, 11)  # D, H, W: all different
SPACING = (3.0, 2.0, 0.5)


def nifti(path: Path, array: np.ndarray = VOLUME, spacing: tuple[float, ...] = SPACING) -> Path:
    """Written from [D, H, W], as a tool that keeps x fastest would."""
    image = nibabel.Nifti1Image(np.ascontiguousarray(array.T), np.diag((*spacing[::-1], 1.0)))
    nibabel.save(image, path)
    return path


def metaimage(path: Path, array: np.ndarray = VOLUME, spacing: tuple[float, ...] = SPACING) -> Path:
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1])
    SimpleITK.WriteImage(image, str(path))
    return path


def slice_(path: Path, array: np.ndarray, position: float = 0.0, series: str = "1.2.3", **tags: Any) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality, data.SeriesInstanceUID = "CT", series
    data.Rows, data.Columns = array.shape[-2:]
    if array.ndim == 3:
        data.NumberOfFrames = len(array)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation = 0
    data.PixelSpacing = list(SPACING[1:])
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, position], [1, 0, 0, 0, 1, 0]
    data.PixelData = array.astype(np.uint16).tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    pydicom.dcmwrite(path, data)
    return path


def series(folder: Path) -> Path:
    folder.mkdir()
    for index in (3, 0, 4, 1, 2):  # neither names nor the order of writing say where a slice lies
        slice_(folder / f"{(index * 2) % 5}.dcm", VOLUME[index], position=3.0 * index)
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "x.nii": nifti,
    "x.nii.gz": nifti,
    "x.mha": metaimage,
    "x.mhd": metaimage,
    "series": series,
    "x.dcm": lambda path: slice_(path, VOLUME, SpacingBetweenSlices=3.0),
    "x.npy": lambda path: np.save(path, VOLUME) or path,
    "x.npz": lambda path: np.savez_compressed(path, VOLUME) or path,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_axes(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name)
    image, mask, header = read_image(path), read_mask(path), read_header(path)
    np.testing.assert_array_equal(image, VOLUME[..., None].astype(np.float32))
    assert image.dtype == np.float32
    np.testing.assert_array_equal(mask, VOLUME)
    assert np.issubdtype(mask.dtype, np.integer)
    assert header.shape == VOLUME.shape
    assert header.spacing == (None if ".np" in name else pytest.approx(SPACING))


@pytest.mark.parametrize("name", ["x.nii.gz", "x.mhd", "x.npy"])
def test_one_slice_is_an_image(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "x.npy":
        np.save(path, VOLUME[0])
    else:
        (nifti if "nii" in name else metaimage)(path, VOLUME[:1])
    assert read_image(path).shape == (7, 11, 1)
    np.testing.assert_array_equal(read_mask(path), VOLUME[0])
    header = read_header(path)
    assert header.shape == (7, 11)
    assert header.spacing is None or header.spacing == pytest.approx(SPACING[1:])


def test_channels_come_last(tmp_path: Path) -> None:
    colour = np.stack([VOLUME, VOLUME + 1, VOLUME + 2], axis=-1).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(np.transpose(colour, (2, 1, 0, 3)), np.eye(4)), tmp_path / "x.nii")
    np.save(tmp_path / "x.npy", colour)
    for name in ("x.nii", "x.npy"):
        np.testing.assert_array_equal(read_image(tmp_path / name), colour)
        assert read_header(tmp_path / name).shape == VOLUME.shape


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_of_another_number_are_refused(tmp_path: Path, channels: int) -> None:
    """None of them is transparency: of MRI they are sequences, and none may be lost in silence."""
    several = np.stack([VOLUME] * channels, axis=-1).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(np.transpose(several, (2, 1, 0, 3)), np.eye(4)), tmp_path / "x.nii")
    image = SimpleITK.GetImageFromArray(several, isVector=True)
    SimpleITK.WriteImage(image, str(tmp_path / "x.mha"))
    for name in ("x.nii", "x.mha"):
        with pytest.raises(ImageError, match="1 or 3") as caught:
            read_image(tmp_path / name)
        assert caught.value.code == "unreadable"


def test_nifti_scaling_and_units(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.ascontiguousarray(VOLUME.T), np.diag((0.5e-3, 2e-3, 3e-3, 1)))
    image.header.set_xyzt_units("meter")
    image.header.set_slope_inter(2, -1000)
    nibabel.save(image, tmp_path / "x.nii")
    assert read_header(tmp_path / "x.nii").spacing == pytest.approx(SPACING)
    stored = nibabel.load(tmp_path / "x.nii").get_fdata()
    np.testing.assert_allclose(read_image(tmp_path / "x.nii")[..., 0], stored.T)


def test_dicom_rescale_and_inversion(tmp_path: Path) -> None:
    ramp = np.arange(64).reshape(8, 8) * 64
    ct = slice_(tmp_path / "ct.dcm", ramp, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=80)
    np.testing.assert_array_equal(read_image(ct)[..., 0], ramp * 2 - 1024)  # Hounsfield units, whatever the window
    plain = slice_(tmp_path / "dx.dcm", ramp, Modality="DX")
    inverted = slice_(tmp_path / "inv.dcm", ramp, Modality="DX", PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_image(inverted), 4095 - read_image(plain))
    windowed = slice_(tmp_path / "w.dcm", ramp, Modality="DX", WindowCenter=2048, WindowWidth=1024)
    np.testing.assert_array_equal(read_image(windowed)[..., 0], ramp)  # the display's alone


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b.nii.gz", ("a/b", ".nii.gz")),
        ("B.NII.GZ", ("B", ".NII.GZ")),
        ("x.y.png", ("x.y", ".png")),
        ("P01", ("P01", "")),
    ],
)
def test_split_name(name: str, expected: tuple[str, str]) -> None:
    assert split_name(name) == expected


def test_a_digest_covers_every_file_of_an_image(tmp_path: Path) -> None:
    path = metaimage(tmp_path / "x.mhd")
    before = content_digest(path)
    raw = path.with_suffix(".raw")
    raw.write_bytes(b"\1" + raw.read_bytes()[1:])
    assert content_digest(path) != before
    folder = series(tmp_path / "series")
    before = content_digest(folder)
    (folder / "0.dcm").unlink()
    assert content_digest(folder) != before


def test_a_digest_tells_sets_of_files_apart(tmp_path: Path) -> None:
    folder = series(tmp_path / "series")
    several = content_digest(folder)
    slices = sorted(folder.iterdir())
    contents = [path.read_bytes() for path in slices]
    for path in slices[1:]:
        path.unlink()
    assert content_digest(folder) == content_digest(slices[0]) == hashlib.sha256(contents[0]).digest()
    joined = tmp_path / "x.npy"
    joined.write_bytes(b"".join(hashlib.sha256(content).digest() for content in contents))
    assert content_digest(joined) != several
    for path, content in zip(slices, [contents[1], contents[0], *contents[2:]], strict=True):
        path.write_bytes(content)
    assert content_digest(folder) != several
    slices[0].unlink()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.png").touch()
    assert content_digest(tmp_path / "empty") != content_digest(tmp_path / "empty.png")


def test_a_digest_takes_no_memory_for_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    with path.open("wb") as file:
        file.truncate(2**25)
    expected = hashlib.sha256(bytes(2**25)).digest()
    tracemalloc.start()
    try:
        assert content_digest(path) == expected
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


def broken(kind: str, path: Path) -> Path:
    if kind == "truncated nifti":
        path = nifti(path / "x.nii")
        path.write_bytes(path.read_bytes()[:400])
        return path
    if kind == "nifti bomb":
        header = nibabel.Nifti1Header()
        header.set_data_shape((30000, 30000, 3000))
        header.set_data_dtype(np.uint8)
        path = path / "x.nii.gz"
        path.write_bytes(gzip.compress(header.binaryblock + b"\0" * 1000))
        return path
    if kind == "many channels":
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 9), np.uint8), np.eye(4)), path / "x.nii")
        return path / "x.nii"
    if kind == "cifti":
        brain = nibabel.cifti2.BrainModelAxis.from_mask(np.ones((2, 2, 2), bool), affine=np.eye(4))
        axes = (nibabel.cifti2.ScalarAxis(["a"]), brain)
        nibabel.Cifti2Image(np.zeros((1, 8), np.float32), axes).to_filename(path / "x.nii")
        return path / "x.nii"
    if kind in ("metaimage elsewhere", "metaimage link"):
        metaimage(path / "x.mhd")
        (path.parent / "secret.raw").write_bytes((path / "x.raw").read_bytes())
        name = "../secret.raw" if kind == "metaimage elsewhere" else "x.raw"
        (path / "x.raw").unlink()
        (path / "x.raw").symlink_to(path.parent / "secret.raw")
        text = (path / "x.mhd").read_text().replace("ElementDataFile = x.raw", f"ElementDataFile = {name}")
        (path / "x.mhd").write_text(text)
        return path / "x.mhd"
    if kind == "metaimage bomb":
        path = metaimage(path / "x.mha")
        path.write_bytes(path.read_bytes().replace(b"DimSize = 11 7 5", b"DimSize = 99999 9999 5"))
        return path
    if kind == "pickle":
        np.save(path / "x.npy", np.array([{"a": 1}]), allow_pickle=True)
        return path / "x.npy"
    if kind == "raw pickle":
        (path / "x.npy").write_bytes(pickle.dumps({"a": 1}))
        return path / "x.npy"
    if kind == "npy bomb":
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            file, {"shape": (1 << 20, 1 << 20), "fortran_order": False, "descr": "<f4"}
        )
        (path / "x.npy").write_bytes(file.getvalue())
        return path / "x.npy"
    if kind == "two arrays":
        np.savez(path / "x.npz", a=VOLUME, b=VOLUME)
        return path / "x.npz"
    if kind == "not a zip":
        (path / "x.npz").write_bytes(b"PK nothing")
        return path / "x.npz"
    if kind == "text":
        np.save(path / "x.npy", np.array(["a", "b"]))
        return path / "x.npy"
    if kind == "two series":
        (path / "s").mkdir()
        slice_(path / "s/a.dcm", VOLUME[0], 0, series="1.2")
        slice_(path / "s/b.dcm", VOLUME[1], 3, series="1.3")
        return path / "s"
    if kind == "missing slice":
        folder = series(path / "s")
        next(file for file in folder.iterdir() if pydicom.dcmread(file).ImagePositionPatient[2] == 6).unlink()
        return folder
    if kind == "no slices":
        (path / "s").mkdir()
        return path / "s"
    if kind == "deflated":
        path = slice_(path / "x.dcm", VOLUME[0])
        data = pydicom.dcmread(path)
        data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        pydicom.dcmwrite(path, data)
        return path
    assert kind == "dicom bomb"
    return slice_(path / "x.dcm", VOLUME[0], Rows=60000, Columns=60000)


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("truncated nifti", "unreadable", "cannot be read"),
        ("nifti bomb", "too_large", "holds 30000 x 30000 x 3000 values"),
        ("many channels", "unreadable", "holds 4 x 4 x 4 x 9 values; expected an image or a volume of 1 or 3"),
        ("cifti", "unreadable", "holds a Cifti2Image; expected an image or a volume"),
        ("metaimage elsewhere", "unsafe", "keeps its values in '../secret.raw'"),
        ("metaimage link", "unsafe", "a link to another folder"),
        ("metaimage bomb", "too_large", "holds 99999 x 9999 x 5 x 1 values"),
        ("pickle", "unsafe", "holds object; expected numbers"),
        ("raw pickle", "unreadable", "cannot be read"),
        ("npy bomb", "too_large", "holds 1048576 x 1048576 values"),
        ("two arrays", "unreadable", "holds 2 arrays (a.npy, b.npy); expected one"),
        ("not a zip", "unreadable", "cannot be read"),
        ("text", "unreadable", "expected numbers"),
        ("two series", "unreadable", "holds 2 series"),
        ("missing slice", "unreadable", "has slices 3 to 6 mm apart"),
        ("no slices", "unreadable", "is a folder without DICOM files"),
        ("deflated", "unsafe", "is a deflated DICOM file"),
        ("dicom bomb", "too_large", "holds 1 x 60000 x 60000 x 1 values"),
    ],
)
def test_broken_files_are_told(tmp_path: Path, kind: str, code: str, message: str) -> None:
    (tmp_path / "data").mkdir()
    path = broken(kind, tmp_path / "data")
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert message in str(caught.value)
    assert caught.value.code == code


def test_a_zip_that_claims_little_and_holds_much_is_not_unpacked(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": (4, 4), "fortran_order": False, "descr": "|u1"})
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header.getvalue() + b"\0" * 10_000_000)
    assert read_image(tmp_path / "x.npz").shape == (4, 4, 1)  # what follows the array is not read


def test_unknown_extensions_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.eps").write_bytes(b"%!PS")
    with pytest.raises(ImageError, match=r"has the extension '\.eps'"):
        formats.read_image(tmp_path / "x.eps")


def test_series_in_a_plain_folder(tmp_path: Path, dataset_yaml) -> None:
    """images/PATIENT/*.dcm beside masks/PATIENT.nii.gz, and a medium's index among the slices."""
    (tmp_path / "masks").mkdir()
    for patient in range(4):
        folder = tmp_path / "images" / f"P{patient}"
        folder.mkdir(parents=True)
        for position, array in enumerate(VOLUME):
            slice_(folder / f"IM{position:03d}", array + patient, SPACING[0] * position)
        slice_(folder / "DICOMDIR", VOLUME[0], series="9.9")
        mask = np.ascontiguousarray((VOLUME > 100).astype(np.uint8).T)  # x and y of DICOM lead to the left and the back
        nibabel.save(nibabel.Nifti1Image(mask, np.diag((-0.5, -2, 3, 1))), tmp_path / "masks" / f"P{patient}.nii.gz")
    report = check_dataset(dataset_yaml("folder", root=str(tmp_path)))
    assert (report.pairs, report.errors) == (4, [])
