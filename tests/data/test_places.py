"""Where an image lies, in every format and orientation, beside SimpleITK and nibabel; masks are matched by it."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy.spatial.transform import Rotation

from genseg_betty.data.cases import open_dataset
from genseg_betty.data.formats import Header, ImageError, read_header, read_image, read_mask, write_volume
from genseg_betty.data.formats.place import affine_from_orientation, orientation_of, voxels_apart
from genseg_betty.data.formats.turns import turn_to, turned, turned_header, undone
from genseg_betty.data.inspect.check import check_dataset
from genseg_betty.data.source.labels import LabelMap
from genseg_betty.data.source.masks import fit_on_image, read_indices
from genseg_betty.errors import UserError

FORMATS = ("x.nii", "x.nii.gz", "x.mha", "x.mhd", "x.nrrd", "x.nhdr")
ORIENTATIONS = ("RAS", "LPS", "LAS", "PSR", "AIL", "SRP")
SHAPE = (8, 9, 10)  # i, j, k: all different
VALUES = np.arange(8 * 9 * 10, dtype=np.int16).reshape(SHAPE)
BINARY = LabelMap.declared(None, None)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def placed(degrees: float = 0.0) -> nibabel.Nifti1Image:
    """RAS or, rotated about two axes, oblique; 0.7 x 1.5 x 2.5 mm."""
    affine = np.eye(4)
    directions = Rotation.from_euler("zx", [degrees, degrees / 2], degrees=True).as_matrix()
    affine[:3, :3] = directions @ np.diag([0.7, 1.5, 2.5])
    affine[:3, 3] = (-20, 31.5, 7)
    return nibabel.Nifti1Image(VALUES, affine)


def stored(image: nibabel.Nifti1Image, orientation: str) -> nibabel.Nifti1Image:
    return image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(orientation)))


def save(image: nibabel.Nifti1Image, path: Path) -> Path:
    """NIfTI by nibabel; the other formats by SimpleITK, which reads the NIfTI file itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".nii" in path.name:
        nibabel.save(image, path)
        return path
    between = path.with_name("between.nii")
    nibabel.save(image, between)
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(between)), str(path))
    between.unlink()
    return path


def itk(path: Path) -> SimpleITK.Image:
    return SimpleITK.ReadImage(str(path))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_voxel_lies_where_itk_says(tmp_path: Path, name: str, orientation: str) -> None:
    for degrees in (0, 20):
        path = save(stored(placed(degrees), orientation), tmp_path / name)
        header, values, image = read_header(path), read_image(path)[..., 0], itk(path)
        assert header.affine is not None
        assert header.shape == values.shape == image.GetSize()[::-1]
        assert orientation_of(header) == orientation
        assert header.spacing == pytest.approx(image.GetSpacing()[::-1], rel=1e-5)
        for i, j, k in ((0, 0, 0), (1, 2, 3), tuple(side - 1 for side in image.GetSize())):
            place = header.affine @ (i, j, k, 1)
            np.testing.assert_allclose((LPS @ place)[:3], image.TransformIndexToPhysicalPoint((i, j, k)), atol=1e-3)
            assert values[k, j, i] == image.GetPixel(i, j, k)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_masks_are_written_where_their_image_lies(tmp_path: Path, name: str, orientation: str) -> None:
    """The mask of a voxel is where the voxel is, as ITK sees both and as nibabel sees the mask."""
    for degrees in (0, 20):
        path = save(stored(placed(degrees), orientation), tmp_path / name)
        write_volume(tmp_path / "mask.nii.gz", (read_image(path)[..., 0] > 300).astype(np.uint8), path)
        image, mask = itk(path), itk(tmp_path / "mask.nii.gz")
        assert mask.GetSize() == image.GetSize()
        for part in ("GetOrigin", "GetSpacing", "GetDirection"):
            np.testing.assert_allclose(getattr(mask, part)(), getattr(image, part)(), atol=1e-3)
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(mask), SimpleITK.GetArrayFromImage(image) > 300)
        written = nibabel.load(tmp_path / "mask.nii.gz")
        back = stored(written, "RAS")
        np.testing.assert_allclose(back.affine, placed(degrees).affine, atol=1e-3)
        np.testing.assert_array_equal(np.asarray(back.dataobj), VALUES > 300)
        if ".nii" not in name:
            assert written.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("other", ORIENTATIONS)
@pytest.mark.parametrize("name", ["m.nii.gz", "m.mha", "m.nrrd"])
def test_masks_are_turned_to_their_image(tmp_path: Path, name: str, other: str) -> None:
    for degrees, orientation in itertools.product((0, 20), ("RAS", "LPS", "PSR")):
        image = stored(placed(degrees), orientation)
        truth = np.asarray(image.dataobj) > 300
        own = nibabel.Nifti1Image(truth.astype(np.uint8), image.affine)
        path = save(stored(own, other), tmp_path / name)
        header = read_header(save(image, tmp_path / "x.mha"))
        found, _ = read_indices(path, BINARY, header, False)
        np.testing.assert_array_equal(found, truth.T)
        turn = fit_on_image(read_header(path), header, False)
        assert (turn is None) is (orientation == other)


def moved(matrix: np.ndarray) -> nibabel.Nifti1Image:
    """Elsewhere by a [4, 4] matrix that acts on voxels."""
    return nibabel.Nifti1Image((VALUES > 300).astype(np.uint8), placed(20).affine @ matrix)


def shift(*voxels: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = voxels
    return matrix


def rotation(degrees: float) -> np.ndarray:
    """About the centre of the grid, in mm."""
    scales, about = np.diag([0.7, 1.5, 2.5, 1]), shift(*(side / 2 for side in SHAPE))
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    return about @ np.linalg.inv(scales) @ matrix @ scales @ np.linalg.inv(about)


# What was done to the mask's place; a word of the message, or None where it still counts as the image's.
DISTURBED: dict[str, tuple[np.ndarray, str | None]] = {
    "digits": (shift(1e-4, 0, 0) @ np.diag([1.0002, 1, 1, 1]), None),
    "beside by less than half a voxel": (shift(0.4, -0.4, 0.4), None),
    "beside by more": (shift(0, 0.6, 0), "lies elsewhere in space"),
    "in another place": (shift(40, 0, 0), "lies elsewhere in space"),
    "rotated a little": (rotation(1), None),
    "rotated": (rotation(15), "lies elsewhere in space"),
    "upside down": (np.diag([1.0, 1, -1, 1]), "lies elsewhere in space"),
    "of other voxels": (np.diag([1.0, 1.1, 1, 1]), "its voxels are 0.7 x 1.65 x 2.5 mm"),
    "with the affine of no image": (np.linalg.inv(placed(20).affine), "mm"),
}


@pytest.mark.parametrize("kind", DISTURBED)
@pytest.mark.parametrize("name", ["m.nii", "m.mha", "m.nrrd"])
def test_masks_elsewhere_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    matrix, told = DISTURBED[kind]
    image = read_header(save(placed(20), tmp_path / "x.nii"))
    path = save(moved(matrix), tmp_path / name)
    if told is None:
        np.testing.assert_array_equal(read_indices(path, BINARY, image, False)[0], VALUES.T > 300)
        return
    with pytest.raises(ImageError) as caught:
        read_indices(path, BINARY, image, False)
    assert caught.value.code == "spacing_mismatch"
    assert told in str(caught.value)


def test_the_message_names_both_places_and_what_to_do(tmp_path: Path) -> None:
    image, mask = (Header((4, 4, 4), (1, 1, 2), affine_from_orientation(axes, (2, 1, 1))) for axes in ("LPS", "RAS"))
    with pytest.raises(ImageError) as caught:
        fit_on_image(mask, image, False)
    assert str(caught.value) == (
        "lies elsewhere in space than its image: RAS, from (0, 0, 0) to (3, 3, 6) mm, the image LPS, from (0, 0, 0) to "
        "(-3, -3, 6) mm (axes; first and last voxel, x to the right, y to the front, z up); expected one place up to "
        "half a voxel. If their voxels belong together one by one, copy the image's header (affine, origin and "
        "direction) to the mask; if not, resample it"
    )


def test_axes_that_are_named_otherwise_are_no_question_of_size() -> None:
    """A mask of the image's size whose header was lost fits as it is stored, but not as it says that it lies."""
    image = Header((4, 6, 6), (1.0, 1.0, 1.0), affine_from_orientation("PSR", (1, 1, 1)))
    with pytest.raises(ImageError, match="lies elsewhere in space") as caught:
        fit_on_image(Header((4, 6, 6), (1.0, 1.0, 1.0), np.eye(4)), image, False)
    assert caught.value.code == "spacing_mismatch"
    with pytest.raises(ImageError, match="mask is 6x6x5 voxels") as caught:
        fit_on_image(Header((5, 6, 6), (1.0, 1.0, 1.0), np.eye(4)), image, False)
    assert caught.value.code == "size_mismatch"


def test_without_a_place_sizes_and_spacings_are_compared(tmp_path: Path) -> None:
    image = read_header(save(placed(), tmp_path / "x.nii"))
    np.save(tmp_path / "m.npy", VALUES.T > 300)
    np.testing.assert_array_equal(read_indices(tmp_path / "m.npy", BINARY, image, False)[0], VALUES.T > 300)
    unplaced = nibabel.Nifti1Image((VALUES > 300).astype(np.uint8), None)
    for zooms in ((0.7, 1.5, 2.5), (0.7, 1.5, 2.6)):
        unplaced.header.set_zooms(zooms)
        nibabel.save(unplaced, tmp_path / "m.nii")
        assert read_header(tmp_path / "m.nii").affine is None
        if zooms[2] == 2.5:
            np.testing.assert_array_equal(read_indices(tmp_path / "m.nii", BINARY, image, False)[0], VALUES.T > 300)
        else:
            with pytest.raises(ImageError, match=r"its voxels are 0.7 x 1.5 x 2.6 mm"):
                read_indices(tmp_path / "m.nii", BINARY, image, False)


@pytest.mark.parametrize("name", ["m.nii.gz", "m.mha", "m.nrrd"])
def test_slices_are_turned_within_their_plane(tmp_path: Path, name: str) -> None:
    whole = stored(placed(20), "LPS").slicer[:, :, 4:5]
    truth = np.asarray(whole.dataobj)[..., 0] > 300
    image = read_header(save(whole, tmp_path / "x.nii"))
    assert image.shape == truth.T.shape
    own = nibabel.Nifti1Image(truth[..., None].astype(np.uint8), whole.affine)
    for axes in ("LPS", "RPS", "LAS", "RAS", "PLS", "ALS", "LPI"):
        path = save(stored(own, axes), tmp_path / name)
        np.testing.assert_array_equal(read_indices(path, BINARY, image, False)[0], truth.T)
    own.affine[:3, 3] += (0, 0, 40)
    with pytest.raises(ImageError, match="lies elsewhere"):
        read_indices(save(nibabel.Nifti1Image(own.dataobj, own.affine), tmp_path / name), BINARY, image, False)
    crossing = placed(20).slicer[3:4].as_reoriented(axcodes2ornt("SRA"))
    crossing = nibabel.Nifti1Image(np.zeros((8, 9, 1), np.uint8), crossing.affine)
    with pytest.raises(ImageError, match=r"lies elsewhere|its voxels are"):
        read_indices(save(crossing, tmp_path / name), BINARY, image, False)


def plane(path: Path, size: tuple[int, int], step: float, origin: float, flipped: bool = False) -> Path:
    """A slice with one bright quarter, as ITK writes it."""
    values = np.zeros(size[::-1], np.uint8)
    values[: size[1] // 2, : size[0] // 2] = 1
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing((step, step))
    image.SetOrigin((origin, origin))
    SimpleITK.WriteImage(SimpleITK.Flip(image, (flipped, False)) if flipped else image, str(path))
    return path


def test_scaled_masks_lie_on_their_image_too(tmp_path: Path) -> None:
    """Half as many pixels of twice the size: the outer edges, not the first pixels' centres, lie together."""
    image = read_header(plane(tmp_path / "x.mha", (12, 8), 1.0, 5.0))
    expected = read_image(tmp_path / "x.mha")[..., 0]
    for name, origin, flipped in (("m.mha", 5.5, False), ("m.nrrd", 5.5, True), ("m.nii", 5.0, False)):
        path = plane(tmp_path / name, (6, 4), 2.0, origin, flipped)
        np.testing.assert_array_equal(read_indices(path, BINARY, image, True)[0], expected)
        with pytest.raises(ImageError, match=r"dataset\.scaled_masks=true"):
            read_indices(path, BINARY, image, False)
    with pytest.raises(ImageError, match="lies elsewhere"):
        read_indices(plane(tmp_path / "m.mha", (6, 4), 2.0, 7.0), BINARY, image, True)
    with pytest.raises(ImageError, match="its voxels are 3 x 3 mm"):
        read_indices(plane(tmp_path / "m.mha", (6, 4), 3.0, 6.0), BINARY, image, True)


def test_turns_lead_there_and_back() -> None:
    """Every orientation to every other, beside nibabel's own."""
    signs = itertools.product("RL", "AP", "SI")
    every = ["".join(axes) for letters in signs for axes in itertools.permutations(letters)]
    array = VALUES.T[..., None]
    header = Header(array.shape[:3], (2.5, 1.5, 0.7), placed().affine)
    for wanted in every:
        turn = turn_to("RAS", wanted)
        found, there = turned(array, turn), turned_header(header, turn)
        expected = stored(placed(), wanted)
        np.testing.assert_array_equal(found[..., 0], np.asarray(expected.dataobj).T)
        np.testing.assert_allclose(there.affine, expected.affine, atol=1e-6)
        assert (there.shape, orientation_of(there)) == (found.shape[:3], wanted)
        assert there.spacing == pytest.approx(expected.header.get_zooms()[::-1])
        np.testing.assert_array_equal(turned(found, undone(turn)), array)
        assert voxels_apart(turned_header(there, turn_to(wanted, "RAS")), header) == pytest.approx(0, abs=1e-9)
        assert orientation_of(Header(SHAPE, None, affine_from_orientation(wanted, (1, 2, 3)))) == wanted


@pytest.mark.parametrize(("unit", "size"), [("mm", 1.0), ("meter", 1000.0), ("micron", 0.001), ("unknown", 1.0)])
def test_the_units_of_nifti(tmp_path: Path, unit: str, size: float) -> None:
    image = placed(20)
    image.header.set_xyzt_units(unit)
    header = read_header(save(image, tmp_path / "x.nii"))
    np.testing.assert_allclose(header.affine[:3], size * image.affine[:3], rtol=1e-5)
    assert header.spacing == pytest.approx([2.5 * size, 1.5 * size, 0.7 * size], rel=1e-5)


def test_the_place_that_counts_in_nifti(tmp_path: Path) -> None:
    """The sform, else the qform, as nibabel has it; one that is none is passed over, and doubts are told."""
    one, other = placed(20).affine, stored(placed(20), "LPS").affine @ np.diag([2, 2, 2, 1])
    doubt = "voxels of 0.7 x 1.5 x 2.5 mm by pixdim and of 1.4 x 3 x 5 mm by the sform, which counts"
    flat = "an sform whose axes span no space, which is passed over"
    for sform, qform, expected, told in (
        (one, one, one, ""),
        (one, None, one, ""),
        (None, one, one, ""),
        (other, one, other, doubt),
        (np.zeros((4, 4)), one, one, flat),
        (None, None, None, ""),
    ):
        image = nibabel.Nifti1Image(VALUES, None)
        image.header.set_zooms((0.7, 1.5, 2.5))
        image.header.set_qform(qform, int(qform is not None), strip_shears=False)
        image.header.set_sform(sform, int(sform is not None))
        nibabel.save(image, tmp_path / "x.nii")
        header = read_header(tmp_path / "x.nii")
        assert header.doubt == told
        if expected is None:
            assert header.affine is None
            assert header.spacing == pytest.approx((2.5, 1.5, 0.7))
        else:
            np.testing.assert_allclose(header.affine, expected, atol=1e-4)
            assert header.spacing == pytest.approx(nibabel.affines.voxel_sizes(expected)[::-1], rel=1e-5)


SYNONYMS = {
    "TransformMatrix": "TransformMatrix = 0 1 0 -1 0 0 0 0 1\nOffset = 1 2 3\n",
    "Orientation": "Orientation = 0 1 0 -1 0 0 0 0 1\nPosition = 1 2 3\n",
    "Rotation": "Rotation = 0 1 0 -1 0 0 0 0 1\nOrigin = 1 2 3\n",
    "origin alone": "Origin = 1 2 3\n",
    "direction alone": "TransformMatrix = 0 1 0 -1 0 0 0 0 1\n",
}


@pytest.mark.parametrize("kind", SYNONYMS)
def test_the_names_of_a_place_in_metaimage(tmp_path: Path, kind: str) -> None:
    start = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    end = "ElementSpacing = 1 2 3\nDimSize = 2 3 4\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (tmp_path / "x.mha").write_bytes((start + SYNONYMS[kind] + end).encode() + bytes(24))
    header, image = read_header(tmp_path / "x.mha"), itk(tmp_path / "x.mha")
    for voxel in ((0, 0, 0), (1, 2, 3)):
        place = LPS @ header.affine @ (*voxel, 1)
        np.testing.assert_allclose(place[:3], image.TransformIndexToPhysicalPoint(voxel))
    write_volume(tmp_path / "m.nii", np.zeros((4, 3, 2), np.uint8), tmp_path / "x.mha")
    assert itk(tmp_path / "m.nii").GetDirection() == pytest.approx(image.GetDirection())


@pytest.mark.parametrize("name", ["x.mha", "x.nrrd", "x.npy"])
def test_what_states_no_place_lies_as_itk_takes_it(tmp_path: Path, name: str) -> None:
    mha = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nElementSpacing = 1 2 3\n"
    mha += "DimSize = 2 3 4\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    plain = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 3 4\nspacings: 1 2 3\nencoding: raw\n\n"
    (tmp_path / "x.mha").write_bytes(mha.encode() + bytes(24))
    (tmp_path / "x.nrrd").write_bytes(plain.encode() + bytes(24))
    np.save(tmp_path / "x.npy", np.zeros((4, 3, 2), np.uint8))
    header = read_header(tmp_path / name)
    assert header.affine is None
    assert header.spacing == (None if name == "x.npy" else (3.0, 2.0, 1.0))
    write_volume(tmp_path / "m.nii", np.zeros((4, 3, 2), np.uint8), tmp_path / name)
    if name == "x.npy":
        np.testing.assert_array_equal(nibabel.load(tmp_path / "m.nii").affine, np.eye(4))
        return
    for part in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(itk(tmp_path / "m.nii"), part)() == pytest.approx(getattr(itk(tmp_path / name), part)())


SPACES = {
    "right-anterior-superior": np.eye(4),
    "LAS": np.diag([-1.0, 1, 1, 1]),
    "left-posterior-superior": LPS,
    "LPS": LPS,
    None: LPS,
}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_nrrd_as_pynrrd_writes_it(tmp_path: Path, space: str | None, encoding: str) -> None:
    affine = placed(20).affine
    named = {"space": space} if space else {"space dimension": 3}
    header = {**named, "space directions": affine[:3, :3].T, "space origin": affine[:3, 3], "encoding": encoding}
    for name in ("x.nrrd", "x.nhdr"):
        nrrd.write(str(tmp_path / name), VALUES, header, detached_header=name == "x.nhdr")
        found = read_header(tmp_path / name)
        np.testing.assert_array_equal(read_mask(tmp_path / name), VALUES.T)
        np.testing.assert_allclose(found.affine, SPACES[space] @ affine, atol=1e-9)
        if encoding != "bzip2":  # ITK reads none
            image = itk(tmp_path / name)
            place = LPS @ found.affine @ (1, 2, 3, 1)
            np.testing.assert_allclose(place[:3], image.TransformIndexToPhysicalPoint((1, 2, 3)), atol=1e-6)


def test_nrrd_in_micrometres(tmp_path: Path) -> None:
    header = {"space": "RAS", "space directions": np.eye(3) * 500, "space origin": [1000, 0, 0]}
    nrrd.write(str(tmp_path / "x.nrrd"), VALUES, {**header, "space units": ["um", "um", "um"]})
    found = read_header(tmp_path / "x.nrrd")
    assert found.spacing == pytest.approx((0.5, 0.5, 0.5))
    assert found.affine[:3, 3] == pytest.approx((1, 0, 0))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("count", [2, 3])
def test_colour_in_nrrd(tmp_path: Path, first: bool, count: int) -> None:
    """The axis of the channels is found by its kind, or because it has no direction, wherever it stands."""
    values = VALUES[..., 0] if count == 2 else VALUES
    colour = np.stack([values, values + 1, values + 2], axis=0 if first else -1)
    expected = np.stack([values.T, values.T + 1, values.T + 2], axis=-1)
    directions = np.eye(3)[:count] * 2
    missing = np.full((1, 3), np.nan)
    rows = np.concatenate([missing, directions] if first else [directions, missing])
    kinds = ["domain"] * count
    kinds.insert(0 if first else count, "RGB-color")
    for more in ({"kinds": kinds}, {"space": "RAS", "space directions": rows, "space origin": [1.0, 2.0, 3.0]}):
        nrrd.write(str(tmp_path / "x.nrrd"), colour, more)
        np.testing.assert_array_equal(read_image(tmp_path / "x.nrrd"), expected)
        header = read_header(tmp_path / "x.nrrd")
        assert header.shape == expected.shape[:-1]
        if "space" in more:
            np.testing.assert_allclose(header.affine @ (0, 0, 0, 1), (1, 2, 3, 1))
            assert header.spacing == (2.0,) * count


def test_nrrd_with_bytes_before_and_values_at_the_end(tmp_path: Path) -> None:
    head = b"NRRD0004\ntype: short\nendian: big\ndimension: 2\nsizes: 3 2\nencoding: raw\n"
    values = np.arange(6, dtype=">i2").reshape(2, 3)
    for skip, before in (("byte skip: -1", b"text"), ("line skip: 1\nbyte skip: 2", b"a line\nab")):
        (tmp_path / "x.nhdr").write_bytes(head + skip.encode() + b"\ndata file: x.dat\n")
        (tmp_path / "x.dat").write_bytes(before + values.tobytes())
        np.testing.assert_array_equal(read_mask(tmp_path / "x.nhdr"), values)
    (tmp_path / "x.nrrd").write_bytes(head + b"\n" + values.tobytes())
    np.testing.assert_array_equal(read_mask(tmp_path / "x.nrrd"), values)


@pytest.fixture
def turned_masks(tmp_path: Path) -> Path:
    """Six volumes; a mask in three is stored otherwise, in another format too, and one file contradicts itself."""
    for index in range(6):
        image = stored(placed(), "LPS")
        values = np.asarray(image.dataobj) + 7 * index
        image = nibabel.Nifti1Image(values, image.affine)
        mask = nibabel.Nifti1Image((values % 3 == 0).astype(np.uint8), image.affine)
        if index == 5:
            image.header["pixdim"][1:4] = 1
            image.header["qform_code"] = 0
        save(image, tmp_path / "images" / f"v{index}.nii")
        mask = stored(mask, "PSR") if index % 2 else mask
        save(mask, tmp_path / "masks" / f"v{index}.{'nrrd' if index % 3 else 'nii'}")
    return tmp_path


def test_the_check_tells_what_it_turns(turned_masks: Path, dataset_yaml: Callable) -> None:
    config = dataset_yaml("folder", root=str(turned_masks))
    report = check_dataset(config)
    assert (report.pairs, report.errors) == (6, [])
    assert list(report.notes) == [
        "3 masks are stored in another orientation than their images (PSR, not LPS) and were turned",
        "1 files contradict themselves about their voxels: images/v5.nii: voxels of 1 x 1 x 1 mm by pixdim and of "
        "0.7 x 1.5 x 2.5 mm by the sform, which counts",
    ]
    dataset = open_dataset(config)
    for case in dataset.cases:
        sample = dataset.load(case)
        np.testing.assert_array_equal(sample.mask, sample.image[..., 0] % 3 == 0)


def test_the_check_names_a_mask_that_lies_elsewhere_once(turned_masks: Path, dataset_yaml: Callable) -> None:
    path = turned_masks / "masks" / "v0.nii"
    mask = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(mask.dataobj), np.diag([0.7, 1.5, 2.5, 1])), path)
    config = dataset_yaml("folder", root=str(turned_masks))
    report = check_dataset(config)
    assert [(fault.code, fault.file) for fault in report.errors] == [("spacing_mismatch", "masks/v0.nii")]
    assert json.loads(json.dumps(report.to_dict()))["pairs"] == 5
    dataset = open_dataset(config)
    with pytest.raises(UserError, match=r"masks/v0\.nii: lies elsewhere"):
        dataset.load(dataset.cases[0])
