"""DICOM volumes lie where ITK puts them, in the order of their positions; what has no place is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK

from data.dicoms import OBLIQUE, ORIENTATIONS, ORIGIN, SPACING, VOLUME, enhanced, place, series, slice_file
from genseg_betty.data.formats import Header, ImageError, read_header, read_image, read_mask

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
N = len(VOLUME)


def read_by_itk(folder: Path) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def affine_of(image: SimpleITK.Image) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ affine


def assert_spacing_is_that_of_the_affine(header: Header) -> None:
    assert header.affine is not None
    np.testing.assert_allclose(np.linalg.norm(header.affine[:3, :3], axis=0)[::-1], header.spacing)


@pytest.mark.parametrize("order", ["in order", "reversed", "shuffled"])
@pytest.mark.parametrize("plane", ORIENTATIONS)
def test_a_series_lies_where_itk_puts_it(tmp_path: Path, plane: str, order: str) -> None:
    indices = {"in order": range(N), "reversed": range(N)[::-1], "shuffled": [3, 0, 5, 1, 4, 2]}[order]
    folder = series(tmp_path / "s", orientation=ORIENTATIONS[plane], names=[f"{index}.dcm" for index in indices])
    header, image = read_header(folder), read_by_itk(folder)
    assert header.shape == VOLUME.shape
    assert header.spacing == pytest.approx(SPACING)
    np.testing.assert_allclose(header.affine, affine_of(image), atol=1e-6)
    assert_spacing_is_that_of_the_affine(header)
    np.testing.assert_array_equal(read_image(folder)[..., 0], SimpleITK.GetArrayFromImage(image))
    np.testing.assert_array_equal(read_mask(folder), VOLUME)
    # The value at a point of the patient is that which ITK finds there.
    k, j, i = 4, 1, 6
    point = (LPS_TO_RAS @ header.affine @ [i, j, k, 1])[:3]
    assert image[image.TransformPhysicalPointToIndex(point)] == VOLUME[k, j, i]


@pytest.mark.parametrize("plane", ORIENTATIONS)
def test_frames_lie_by_their_positions_in_whatever_order_they_come(tmp_path: Path, plane: str) -> None:
    orientation, order = ORIENTATIONS[plane], [0, 2, 4, 1, 3, 5]
    positions = [place(index, orientation) for index in order]
    path = enhanced(tmp_path / "x.dcm", VOLUME[order], orientation, positions)
    folder = series(tmp_path / "s", orientation=orientation)
    header, expected = read_header(path), read_header(folder)
    assert (header.shape, header.spacing) == (expected.shape, pytest.approx(expected.spacing))
    np.testing.assert_allclose(header.affine, expected.affine)
    np.testing.assert_array_equal(read_image(path)[..., 0], VOLUME * 2.0 - 1000)
    np.testing.assert_array_equal(read_mask(path), VOLUME)


def test_itk_reads_an_enhanced_file_as_we_do(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "x.dcm", orientation=OBLIQUE)
    image = SimpleITK.ReadImage(str(path))
    np.testing.assert_allclose(read_header(path).affine, affine_of(image), atol=1e-5)
    np.testing.assert_array_equal(read_image(path)[..., 0], SimpleITK.GetArrayFromImage(image))


def test_each_frame_has_its_own_rescale(tmp_path: Path) -> None:
    rescales = [(1.0 + index, 10.0 * index) for index in range(N)]
    read = read_image(enhanced(tmp_path / "x.dcm", rescales=rescales))[..., 0]
    np.testing.assert_array_equal(read, [VOLUME[i] * (1.0 + i) + 10.0 * i for i in range(N)])


def test_frames_without_the_rescale_of_the_others_are_refused(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "x.dcm", rescales=[(2, -1000)] * N)
    data = pydicom.dcmread(path)
    del data.PerFrameFunctionalGroupsSequence[3].PixelValueTransformationSequence
    pydicom.dcmwrite(path, data)
    with pytest.raises(ImageError, match="holds 1 of 6 frames that state no rescale, as the others do"):
        read_image(path)


def test_a_folder_with_one_file_of_several_frames_is_that_volume(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    path = enhanced(tmp_path / "s" / "IM1")
    alone = enhanced(tmp_path / "x.dcm")
    np.testing.assert_array_equal(read_image(path.parent), read_image(alone))
    np.testing.assert_array_equal(read_mask(path.parent), VOLUME)
    found, expected = read_header(path.parent), read_header(alone)
    assert (found.shape, found.spacing) == (expected.shape, expected.spacing)
    np.testing.assert_array_equal(found.affine, expected.affine)


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({"SpacingBetweenSlices": 3}, (3, 0.75, 0.5)),
        ({"SpacingBetweenSlices": -3}, (3, 0.75, 0.5)),  # as of nuclear medicine
        ({"SliceThickness": 3}, None),  # slices may overlap, or leave gaps
        ({"SpacingBetweenSlices": 3, "PixelSpacing": None}, None),
    ],
)
def test_frames_that_nothing_describes_have_no_place(tmp_path: Path, tags: dict[str, Any], spacing: Any) -> None:
    path = slice_file(tmp_path / "x.dcm", VOLUME, **{"PixelSpacing": [0.75, 0.5], **tags})
    header = read_header(path)
    assert (header.shape, header.spacing, header.affine) == (VOLUME.shape, spacing, None)
    np.testing.assert_array_equal(read_image(path)[..., 0], VOLUME)


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({}, (9, 0.75, 0.5)),
        ({"SliceThickness": ""}, None),
        ({"SliceThickness": None, "SpacingBetweenSlices": 4}, (4, 0.75, 0.5)),
        ({"PixelSpacing": "", "ImagerPixelSpacing": [0.2, 0.3]}, (9, 0.2, 0.3)),
        ({"ImagePositionPatient": None}, (9, 0.75, 0.5)),
    ],
)
def test_a_series_of_one_slice(tmp_path: Path, tags: dict[str, Any], spacing: Any) -> None:
    header = read_header(series(tmp_path / "s", VOLUME[:1], **tags))
    assert (header.shape, header.spacing) == ((1, 5, 7), spacing)
    assert (header.affine is None) == (spacing is None or "ImagePositionPatient" in tags)


def moved(index: int, by: tuple[float, float, float]) -> list[float]:
    return [one + shift for one, shift in zip(place(index, ORIENTATIONS["axial"]), by, strict=True)]


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no positions": (
        lambda path: series(path, ImagePositionPatient=None, SliceLocation=lambda i: 6.0 * i),
        "holds 6 slices of which 6 do not say where they lie (0.dcm, 1.dcm, 2.dcm and 3 more); expected ImagePosition",
    ),
    "empty positions": (
        lambda path: series(path, ImagePositionPatient=""),
        "holds 6 slices of which 6 do not say where they lie",
    ),
    "one without orientation": (
        lambda path: series(path, ImageOrientationPatient=lambda i: [1, 0, 0, 0, 1, 0] if i != 4 else None),
        "of which 1 do not say where they lie (4.dcm)",
    ),
    "a localizer": (
        lambda path: series(path, ImageOrientationPatient=lambda i: [1, 0, 0, 0, 1, 0] if i else [0, 1, 0, 0, 0, -1]),
        "holds 1 of 6 slices that are turned against the others (0.dcm)",
    ),
    "another pixel size": (
        lambda path: series(path, PixelSpacing=lambda i: [0.75, 0.5] if i != 2 else [1, 1]),
        "holds 1 of 6 slices whose pixels have another size (2.dcm)",
    ),
    "no pixel size": (
        lambda path: series(path, PixelSpacing=None),
        "holds 6 slices that say where they lie, and not how large their pixels are; expected PixelSpacing",
    ),
    "a gap": (
        lambda path: series(path, ImagePositionPatient=lambda i: place(i + (i > 3), ORIENTATIONS["axial"])),
        "has slices 2.5 to 5 mm apart; expected equal distances, one is missing between 3.dcm and 4.dcm",
    ),
    "closer in one half": (
        lambda path: series(path, ImagePositionPatient=lambda i: [0, 0, 2.0 * min(i, 4) + max(i - 4, 0)]),
        "has slices 1 to 2 mm apart",
    ),
    "a slice twice": (
        lambda path: series(path, ImagePositionPatient=lambda i: place(min(i, 4), ORIENTATIONS["axial"])),
        "holds 6 slices at 5 places (4.dcm and 5.dcm at one)",
    ),
    "two echoes": (
        lambda path: series(path, ImagePositionPatient=lambda i: place(i // 2, ORIENTATIONS["axial"])),
        "holds 6 slices at 3 places (0.dcm and 1.dcm at one)",
    ),
    "all at one place": (
        lambda path: series(path, ImagePositionPatient=list(ORIGIN)),
        "holds 6 slices at 1 places",
    ),
    "tilted": (
        lambda path: series(path, ImagePositionPatient=lambda i: moved(i, (0, 0.67 * i, 0))),
        "has slices shifted to the side by up to 3.35 mm (a tilt of 15 degrees)",
    ),
    "one to the side": (
        lambda path: series(path, ImagePositionPatient=lambda i: moved(i, (5.0 * (i == 3), 0, 0))),
        "has slices shifted to the side by up to 5 mm",
    ),
    "no directions": (
        lambda path: series(path, ImageOrientationPatient=[0] * 6),
        "states directions (0, 0, 0, 0, 0, 0) in 0.dcm; expected two perpendicular vectors of length 1",
    ),
    "five directions": (
        lambda path: series(path, ImageOrientationPatient=[1, 0, 0, 0, 1]),
        "2.dcm and 3 more): 0.dcm states ImageOrientationPatient as [1.0, 0.0, 0.0, 0.0, 1.0]; expected 6 numbers",
    ),
    "frames without positions": (
        lambda path: enhanced(path, PerFrameFunctionalGroupsSequence=None),
        "holds 6 slices of which 6 do not say where they lie (frame 1, frame 2, frame 3 and 3 more)",
    ),
    "time points": (
        lambda path: enhanced(path, positions=[place(i // 2, OBLIQUE) for i in range(N)], orientation=OBLIQUE),
        "holds 6 slices at 3 places (frame 1 and frame 2 at one); expected one slice at each place",
    ),
    "fewer frames described": (
        lambda path: enhanced(path, positions=[ORIGIN] * 4),
        "describes 4 frames and holds 6",
    ),
    "a concatenation": (
        lambda path: enhanced(path, InConcatenationNumber=2, InConcatenationTotalNumber=3),
        "is part 2 of the 3 of a concatenation; expected a whole image",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_volume_of_parallel_slices_is_refused(tmp_path: Path, kind: str) -> None:
    write, message = REFUSED[kind]
    path = write(tmp_path / "x.dcm")
    for read in (read_header, read_image, read_mask):
        with pytest.raises(ImageError) as caught:
            read(path)
        assert message in str(caught.value)
        assert caught.value.code == "unreadable"


def test_rounded_positions_are_no_tilt_and_no_gap(tmp_path: Path) -> None:
    rounded = [[round(value, 1) for value in place(index, OBLIQUE, (2.53, 1, 1))] for index in range(N)]
    folder = series(tmp_path / "s", orientation=OBLIQUE, ImagePositionPatient=rounded.__getitem__)
    assert read_header(folder).spacing == pytest.approx((2.53, 0.75, 0.5), abs=0.02)
