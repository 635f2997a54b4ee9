"""Headers that contradict themselves or are written in a rare way: read as their standard says, or refused by name."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from nibabel.nifti1 import header_dtype

from genseg_betty.data.formats import ImageError, read_header, read_image, read_mask, write_volume
from genseg_betty.data.formats.place import orientation_of

VALUES = np.arange(24, dtype=np.int16).reshape(2, 3, 4)  # i, j, k
AFFINE = np.array([[1.0, 0, 0, 10], [0, 2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])
NAN = float("nan")
SFORM = "an sform whose axes span no space, which is passed over"
QFORM = "a qform whose axes span no space, which is passed over"
NOWHERE = {"sform_code": 0, "qform_code": 0}
IN_ONE_FILE = "expected values in the file itself, or in one beside it that it names"

# Fields of a header that states one place twice; the orientation and the doubt that are read from it.
ODD_NIFTI: dict[str, tuple[dict[str, object], str | None, str]] = {
    "an sform of NaN": ({"srow_x": NAN}, "RAS", SFORM),
    "an sform of NaN alone": ({"srow_x": NAN, "qform_code": 0}, None, SFORM),
    "a qform that is no rotation": ({"quatern_b": 2, "sform_code": 0}, None, QFORM),
    "a qform that is not asked for": ({"quatern_b": 2}, "RAS", QFORM),
    "a qform of NaN": ({"qoffset_x": NAN, "sform_code": 0}, None, QFORM),
    "a qform with a rounded rotation": ({"quatern_b": 1.0001, "sform_code": 0}, "RPI", ""),
    "two places": ({"quatern_b": 1}, "RAS", "a place by the qform and another by the sform, which counts"),
    "two places half a voxel apart": ({"qoffset_x": 10.5}, "RAS", ""),
    "a negative step": (
        {"pixdim": [1, -1, 2, 3, 1, 1, 1, 1], "qform_code": 0},
        "RAS",
        "voxels of -1 x 2 x 3 mm by pixdim and of 1 x 2 x 3 mm by the sform, which counts",
    ),
    "steps of 0 and no place": (
        {"pixdim": 0, **NOWHERE},
        None,
        "voxels of 0 x 0 x 0 mm by pixdim, which are taken for 1 x 1 x 1 mm",
    ),
    "a unit of no name": ({"xyzt_units": 255}, "RAS", ""),
    "a code of no name": ({"sform_code": 77, "qform_code": 0}, "RAS", ""),
    "neither handedness": ({"pixdim": [0, 1, 2, 3, 1, 1, 1, 1], "sform_code": 0}, "RAS", ""),
}


def nifti(path: Path, **fields: object) -> Path:
    image = nibabel.Nifti1Image(VALUES, AFFINE)
    image.header.set_qform(AFFINE, 1)
    nibabel.save(image, path)
    content = bytearray(path.read_bytes())
    header = np.frombuffer(content, header_dtype, 1)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ODD_NIFTI)
def test_the_place_by_an_odd_nifti_header(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    fields, orientation, doubt = ODD_NIFTI[kind]
    path = nifti(tmp_path / "x.nii", **fields)
    header = read_header(path)
    assert (orientation_of(header), header.doubt) == (orientation, doubt)
    assert header.spacing == ((1, 1, 1) if "steps of 0" in kind else (3, 2, 1))
    np.testing.assert_array_equal(read_mask(path), VALUES.T)
    write_volume(tmp_path / "mask.nii", np.zeros((4, 3, 2), np.uint8), path)
    written = read_header(tmp_path / "mask.nii")
    nibabel.load(tmp_path / "mask.nii").get_fdata()  # what was odd is not handed on
    assert written.spacing == header.spacing
    if header.affine is None:
        assert written.affine is None
    else:
        np.testing.assert_allclose(written.affine, header.affine, atol=1e-5)
        if orientation == "RAS":
            np.testing.assert_allclose(header.affine, AFFINE)
    assert not caplog.records  # nibabel's own words, which name no file


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pixdim": [1, NAN, 2, 3, 1, 1, 1, 1], **NOWHERE}, "states voxels of nan x 2 x 3 mm"),
        ({"vox_offset": 0}, "begins its values at byte 0, within its header; save it anew"),
        ({"dim": [4, 2, 3, 2, 2, 1, 1, 1]}, "holds 2 x 3 x 2 x 2 values; .* save each volume as a file of its own"),
    ],
)
def test_a_nifti_header_that_cannot_be_meant(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    path = nifti(tmp_path / "x.nii", **fields)
    with pytest.raises(ImageError, match=message):
        read_header(path)


def test_a_volume_too_long_for_nifti_1(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti2Image(np.zeros((33000, 2, 2), np.uint8), AFFINE), tmp_path / "x.nii")
    write_volume(tmp_path / "mask.nii", np.ones((2, 2, 33000), np.uint8), tmp_path / "x.nii")
    mask = read_header(tmp_path / "mask.nii")
    assert mask.shape == (2, 2, 33000)
    np.testing.assert_allclose(mask.affine, AFFINE)


PLACE = "Offset = 1 2 3\nTransformMatrix = 0 1 0 -1 0 0 0 0 1\n"
UNIT_MATRIX = "1 0 0 0 1 0 0 0 1"
TURNED = "0 1 0 -1 0 0 0 0 1"
# Lines of a header, which ITK reads as well.
RARE_METAIMAGE = {
    "all names of a direction": f"Orientation = {UNIT_MATRIX}\nTransformMatrix = {TURNED}\nRotation = {UNIT_MATRIX}\n",
    "two names of a direction": f"Orientation = {UNIT_MATRIX}\nRotation = {TURNED}\n",
    "all names of an origin": "Position = 7 7 7\nOrigin = 1 2 3\nOffset = 8 8 8\n",
    "two names of an origin": "Position = 7 7 7\nOffset = 1 2 3\n",
    "two byte orders": f"{PLACE}ElementByteOrderMSB = True\n",
    "a negative step": f"{PLACE}ElementSpacing = -1 2 3\n",
    "two names of a step": f"{PLACE}ElementSize = 9 9 9\n",
    "an orientation in letters": f"{PLACE}AnatomicalOrientation = LPI\n",
}


def metaimage(path: Path, lines: str, data_file: str = "LOCAL", dimensions: int = 3) -> Path:
    """[4, 3, 2] int16; values in x.raw and in the file itself."""
    start = f"ObjectType = Image\nNDims = {dimensions}\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    step = "" if "ElementSpacing" in lines else "ElementSpacing = 1 2 3\n"
    end = f"DimSize = 2 3 4\nElementType = MET_SHORT\nElementDataFile = {data_file}\n"
    content = np.ascontiguousarray(VALUES.T).tobytes()
    path.write_bytes((start + lines + step + end).encode() + content)
    path.with_name("x.raw").write_bytes(content)
    return path


@pytest.mark.parametrize("kind", RARE_METAIMAGE)
def test_a_rare_metaimage_header_is_read_as_itk_does(tmp_path: Path, kind: str) -> None:
    path = metaimage(tmp_path / "x.mha", RARE_METAIMAGE[kind])
    header, image = read_header(path), SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(read_image(path)[..., 0], SimpleITK.GetArrayFromImage(image))
    assert header.spacing == image.GetSpacing()[::-1]
    for voxel in ((0, 0, 0), (1, 2, 3)):
        place = np.diag([-1, -1, 1, 1]) @ header.affine @ (*voxel, 1)
        np.testing.assert_allclose(place[:3], image.TransformIndexToPhysicalPoint(voxel))


@pytest.mark.parametrize("data_file", ["Local", "local", "./x.raw"])
def test_the_ways_to_name_the_values_of_a_metaimage(tmp_path: Path, data_file: str) -> None:
    path = metaimage(tmp_path / "x.mhd", PLACE, data_file)
    np.testing.assert_array_equal(read_mask(path), VALUES.T)


def test_a_metaimage_in_micrometres(tmp_path: Path) -> None:
    header = read_header(metaimage(tmp_path / "x.mha", f"{PLACE}DistanceUnits = um\n"))
    assert header.spacing == pytest.approx((0.003, 0.002, 0.001))
    np.testing.assert_allclose(header.affine[:3, 3], (-0.001, -0.002, 0.003))


@pytest.mark.parametrize(
    ("lines", "dimensions", "message"),
    [
        (PLACE, 2, "3 sizes for 2 dimensions"),
        ("TransformMatrix = 1 0 0 1\n", 3, "TransformMatrix has 4 numbers, not 9"),
        ("ElementSpacing = 1 2\n", 3, "ElementSpacing has 2 numbers, not 3"),
        ("Origin = 1 2\n", 3, "Origin has 2 numbers, not 3"),
    ],
)
def test_a_metaimage_header_of_other_counts(tmp_path: Path, lines: str, dimensions: int, message: str) -> None:
    path = metaimage(tmp_path / "x.mha", lines, dimensions=dimensions)
    with pytest.raises(ImageError, match=message):
        read_header(path)


def nrrd(path: Path, *lines: str, values: bytes = VALUES.T.tobytes()) -> Path:
    start = ["NRRD0004", "type: short", "endian: little", "encoding: raw", "dimension: 3", "sizes: 2 3 4"]
    path.write_bytes("\n".join([*start, *lines, "", ""]).encode() + values)
    return path


DIRECTIONS = "space directions: (1,0,0) (0,2,0) (0,0,3)"
IN_TIME = "space directions: (1,0,0,0) (0,2,0,0) (0,0,3,0)"


@pytest.mark.parametrize(
    ("lines", "orientation"),
    [
        (["space: RAST", IN_TIME], "RAS"),
        (["space: left-anterior-superior-time", IN_TIME], "LAS"),
        (["space: LPST", IN_TIME], "LPS"),
        (["space: scanner-xyz", DIRECTIONS], "LPS"),
        (["space dimension: 3", DIRECTIONS, "space origin: (nan,nan,nan)"], "LPS"),
        (["space: RAS", "space directions: none none none"], None),
    ],
)
def test_the_spaces_of_nrrd(tmp_path: Path, lines: list[str], orientation: str | None) -> None:
    path = nrrd(tmp_path / "x.nrrd", *lines)
    header = read_header(path)
    assert orientation_of(header) == orientation
    assert header.spacing == (None if orientation is None else (3, 2, 1))
    assert read_mask(path).shape == header.shape == (4, 3, 2)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["space: RSA", DIRECTIONS], "the space RSA, which NRRD does not know"),
        (["space: RAS", "space directions: (1,0,0) (0,2,0) none"], r"4 \(none, without a direction\)"),
        (["data file: LIST", "x.raw"], f"keeps its values in 'LIST'; {IN_ONE_FILE}"),
        (["data file: x%d.raw 1 4 1"], f"keeps its values in 'x%d.raw 1 4 1'; {IN_ONE_FILE}"),
        (["spacings: -1 2 3"], "states voxels of -1 x 2 x 3 mm"),
    ],
)
def test_an_nrrd_header_that_cannot_be_meant(tmp_path: Path, lines: list[str], message: str) -> None:
    path = nrrd(tmp_path / "x.nhdr", *lines)
    with pytest.raises(ImageError, match=message):
        read_header(path)


def test_nrrd_steps_in_micrometres_and_values_beside(tmp_path: Path) -> None:
    units = 'units: "um" "um" "mm"'
    path = nrrd(tmp_path / "x.nhdr", "spacings: 1000 2000 3", units, "data file: ./x.raw", values=b"")
    (tmp_path / "x.raw").write_bytes(VALUES.T.tobytes())
    assert read_header(path).spacing == pytest.approx((3, 2, 1))
    np.testing.assert_array_equal(read_mask(path), VALUES.T)
