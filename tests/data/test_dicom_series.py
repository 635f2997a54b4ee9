"""Every slice of a folder is read or named, whatever its file is called; what is no slice does not disturb."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import pytest

from data.dicoms import ENHANCED_CT, SPACING, VOLUME, enhanced, series, slice_file, without_preamble
from genseg_betty.data.formats import ImageError, content_files, holds_series, read_header, read_image, read_mask
from genseg_betty.data.inspect.check import check_dataset
from genseg_betty.data.source.pairing import pair_files

N = len(VOLUME)
SEGMENTATION, STRUCTURES, REPORT, PRESENTATION = (
    f"1.2.840.10008.5.1.4.1.1.{code}" for code in ("66.4", "481.3", "88.11", "11.1")
)

NAMES: dict[str, Callable[[int], str]] = {
    "upper case": lambda index: f"{index}.DCM",
    "Siemens": lambda index: f"P.MR.0001.{index}.IMA",
    "lower case": lambda index: f"{index}.ima",
    "dicom": lambda index: f"{index}.dicom",
    "none": lambda index: f"IM{index:04d}",
    "numbers": lambda index: f"1.2.840.{index}",
    "img": lambda index: f"{index}.img",
    "MR": lambda index: f"MR.{index}.mr",
    "mixed": lambda index: f"slice{index}" + ["", ".dcm", ".IMA", ".7", ".old", ".dicom"][index],
}


@pytest.mark.parametrize("kind", NAMES)
def test_slices_are_known_by_their_content(tmp_path: Path, kind: str) -> None:
    folder = series(tmp_path / "s", names=[NAMES[kind](index) for index in range(N)])
    assert holds_series(folder)
    assert len(content_files(folder)) == N
    np.testing.assert_array_equal(read_image(folder)[..., 0], VOLUME)


@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_slices_without_preamble_are_read(tmp_path: Path, syntax: str, meta: bool) -> None:
    """Implicit and explicit, little and big endian; the file meta information may be gone as well."""
    stored = VOLUME.astype(">i2") if syntax.endswith("1.2.2") else VOLUME
    folder = series(tmp_path / "s", stored, syntax=syntax)
    for path in sorted(folder.iterdir())[N // 2 :]:
        without_preamble(path, meta)
    assert holds_series(folder)
    assert read_header(folder).shape == VOLUME.shape
    np.testing.assert_array_equal(read_image(folder)[..., 0], VOLUME)
    alone = sorted(folder.iterdir())[-1]
    np.testing.assert_array_equal(read_image(alone)[..., 0], VOLUME[-1])


def test_a_compressed_file_without_its_syntax_is_refused(tmp_path: Path) -> None:
    path = slice_file(tmp_path / "x.dcm", VOLUME[0], "1.2.840.10008.1.2.4.70", frame=b"\xff\xd8\xff\xd9")
    without_preamble(path)
    with pytest.raises(ImageError, match="is compressed and does not say how"):
        read_image(path)


def test_litter_is_passed_over(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", names=[f"IM{index}" for index in range(N)])
    for name in ("README", "README.txt", "LICENSE", "Thumbs.db", ".DS_Store", "._IM0", "series.json", "7"):
        (folder / name).write_bytes(b"\0\5\x16\7" * 200 if name[-2:] in ("db", "re", "M0") else b"some text\n" * 90)
    slice_file(folder / "DICOMDIR", VOLUME[0], SeriesInstanceUID="9")
    slice_file(folder / ".hidden.dcm", VOLUME[0], SeriesInstanceUID="9")
    (folder / "zeros.raw").write_bytes(np.array([8, 0] * 400, "<u2").tobytes())
    series(folder / "further", SeriesInstanceUID="9")
    (folder / "all.zip").write_bytes(b"PK\3\4" + bytes(300))
    np.testing.assert_array_equal(read_image(folder)[..., 0], VOLUME)
    assert len(content_files(folder)) == N


def other_object(path: Path, kind: str, modality: str) -> None:
    slice_file(path, VOLUME[0], SOPClassUID=kind, Modality=modality, Rows=None, Columns=None)


def empty(folder: Path, *indices: int) -> None:
    for index in indices:
        (folder / f"{index}.mr").write_bytes(b"")


def move_below(folder: Path, *indices: int) -> None:
    (folder / "more").mkdir()
    for index in indices:
        (folder / f"{index}.dcm").rename(folder / "more" / f"{index}.dcm")


def link(target: str) -> Callable[[Path], None]:
    """Replace a slice by a link; the slice itself is moved to `target`."""

    def replace(folder: Path) -> None:
        (folder / target).parent.mkdir(exist_ok=True)
        (folder / "2.dcm").rename(folder / target)
        (folder / "2.dcm").symlink_to(target)

    return replace


SPOILT: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a link outside": (link("../elsewhere"), "unsafe", "holds 1 links that lead out of it or nowhere (2.dcm)"),
    "a link nowhere": (
        lambda folder: [(folder / f"{i}.dcm").unlink() or (folder / f"{i}.dcm").symlink_to("gone") for i in (1, 3)],
        "unsafe",
        "holds 2 links that lead out of it or nowhere (1.dcm, 3.dcm)",
    ),
    "empty": (
        lambda folder: [(folder / f"{i}.dcm").write_bytes(b"") for i in range(5)],
        "unreadable",
        "holds 5 files that are named as DICOM and do not begin as DICOM does (0.dcm, 1.dcm, 2.dcm and 2 more)",
    ),
    "a pointer to large files": (
        lambda folder: (folder / "2.dcm").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "unreadable",
        "do not begin as DICOM does (2.dcm)",
    ),
    "packed": (
        lambda folder: (folder / "2.dcm").rename(folder / "2.dcm.gz").write_bytes(b"\x1f\x8b" + bytes(99)),
        "unreadable",
        "do not begin as DICOM does (2.dcm.gz)",
    ),
    "data without extension": (
        lambda folder: (folder / "IM7").write_bytes(bytes(2000)),
        "unreadable",
        "do not begin as DICOM does (IM7)",
    ),
    "a report": (
        lambda folder: other_object(folder / "sr.dcm", REPORT, "SR"),
        "unreadable",
        "holds 1 of 7 DICOM files that cannot be used (sr.dcm): sr.dcm is no plain image but a Basic Text SR Storage",
    ),
    "presentations": (
        lambda folder: [other_object(folder / f"p{i}", PRESENTATION, "PR") for i in range(4)],
        "unreadable",
        "holds 4 of 10 DICOM files that cannot be used (p0, p1, p2 and 1 more): p0 is no plain image but a Grayscale",
    ),
    "structures": (
        lambda folder: other_object(folder / "rs.dcm", STRUCTURES, "RTSTRUCT"),
        "unreadable",
        "a RT Structure Set Storage; expected a DICOM image, convert its contours to a NIfTI mask",
    ),
    "a volume": (
        lambda folder: enhanced(folder / "x.dcm"),
        "unreadable",
        "holds 1 files of several frames (x.dcm) among 7",
    ),
    "another series": (
        lambda folder: slice_file(folder / "x.dcm", VOLUME[0], SeriesInstanceUID="9"),
        "unreadable",
        "holds 2 series in 7 files (6 as 0.dcm, 1 as x.dcm); expected one, give each series a folder of its own",
    ),
    "another size": (
        lambda folder: slice_file(folder / "x.dcm", VOLUME[0][:4]),
        "unreadable",
        "holds 2 sizes of slices in 7 files (6 as 0.dcm, 1 as x.dcm)",
    ),
    "two ways to show gray": (
        lambda folder: slice_file(folder / "2.dcm", VOLUME[2], PhotometricInterpretation="MONOCHROME1"),
        "unreadable",
        "holds 2 ways to show gray in 6 files (5 as 0.dcm, 1 as 2.dcm)",
    ),
    "packed without suffix": (
        lambda folder: (folder / "2.dcm").rename(folder / "IM2.gz").write_bytes(b"\x1f\x8b" + bytes(99)),
        "unreadable",
        "do not begin as DICOM does (IM2.gz)",
    ),
    "empty ones that are named as slices": (
        lambda folder: [(folder / f"{i}.dcm").rename(folder / f"{i}.mr") for i in range(N)] + [empty(folder, 0, 5)],
        "unreadable",
        "holds 2 files that are named as DICOM and do not begin as DICOM does (0.mr, 5.mr)",
    ),
    "more below": (
        lambda folder: move_below(folder, 4, 5),
        "unreadable",
        "holds 4 slices, and more of the same series in folders below it (more); expected the whole series in one",
    ),
    "a header cut short": (
        lambda folder: (folder / "2.dcm").write_bytes((folder / "2.dcm").read_bytes()[:400]),
        "unreadable",
        "holds 1 of 6 DICOM files that cannot be used (2.dcm): 2.dcm cannot be read (",
    ),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_folder_that_is_not_one_whole_series_is_refused(tmp_path: Path, kind: str) -> None:
    spoil, code, message = SPOILT[kind]
    folder = series(tmp_path / "s")
    spoil(folder)
    for read in (read_header, read_image, read_mask):
        with pytest.raises(ImageError) as caught:
            read(folder)
        assert message in str(caught.value)
        assert caught.value.code == code


def test_a_slice_without_the_rescale_of_the_others_is_named(tmp_path: Path) -> None:
    own = {2: None, 4: ""}
    folder = series(tmp_path / "s", RescaleIntercept=lambda index: own.get(index, -1024))
    with pytest.raises(ImageError, match=r"holds 2 of 6 slices that state no rescale, as the others do \(2.dcm, 4.dcm"):
        read_image(folder)
    plain = series(tmp_path / "t", RescaleIntercept=lambda index: own.get(index, 0))
    np.testing.assert_array_equal(read_image(plain)[..., 0], VOLUME)


def test_a_slice_whose_pixels_are_cut_is_named(tmp_path: Path) -> None:
    folder = series(tmp_path / "s")
    (folder / "2.dcm").write_bytes((folder / "2.dcm").read_bytes()[:-4])
    with pytest.raises(ImageError, match=r"holds 2\.dcm, which cannot be read \(.*less than expected"):
        read_image(folder)


@pytest.mark.parametrize("target", ["store/2.dcm", "renamed.old"])
def test_links_within_the_folder_are_read_once(tmp_path: Path, target: str) -> None:
    folder = series(tmp_path / "s")
    link(target)(folder)
    np.testing.assert_array_equal(read_image(folder)[..., 0], VOLUME)
    assert len(content_files(folder)) == N


def test_a_folder_of_links_alone_is_named(tmp_path: Path) -> None:
    store = series(tmp_path / "store")
    folder = tmp_path / "s"
    folder.mkdir()
    for path in store.iterdir():
        (folder / path.name).symlink_to(path)
    assert holds_series(folder)
    with pytest.raises(ImageError, match="holds 6 links that lead out of it"):
        read_image(folder)


@pytest.mark.parametrize("name", ["x.png", "x.txt", "x.nii.gz", "README"])
def test_other_folders_hold_no_series(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x89PNG" + bytes(300))
    (tmp_path / "loop.dat").symlink_to("loop.dat")
    os.mkfifo(tmp_path / "pipe")
    assert not holds_series(tmp_path)
    assert not holds_series(tmp_path / "absent")


def test_few_files_are_opened_to_learn_that_there_is_no_series(tmp_path: Path, monkeypatch) -> None:
    for index in range(50):
        (tmp_path / f"{index}.png").write_bytes(b"\x89PNG" + bytes(300))
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *args, **keys: opened.append(path) or real(path, *args, **keys))
    assert not holds_series(tmp_path)
    assert len(opened) <= 3


@pytest.mark.parametrize(
    ("kind", "modality", "advice"),
    [
        (SEGMENTATION, "SEG", "a Segmentation Storage; expected a DICOM image, convert it to NIfTI"),
        (SEGMENTATION, "", "a Segmentation Storage; expected a DICOM image, convert it to NIfTI"),
        (STRUCTURES, "RTSTRUCT", "a RT Structure Set Storage; expected a DICOM image, convert its contours"),
        (ENHANCED_CT, "RTDOSE", "give the images that the dose was planned on"),
    ],
)
def test_objects_that_are_no_plain_image_say_what_to_do(tmp_path: Path, kind: str, modality: str, advice: str) -> None:
    path = slice_file(tmp_path / "x.dcm", VOLUME.astype(np.uint8), SOPClassUID=kind, Modality=modality)
    for read in (read_header, read_image, read_mask):
        with pytest.raises(ImageError, match=advice):
            read(path)


def test_series_of_ima_files_pair_with_their_masks(tmp_path: Path, dataset_yaml) -> None:
    (tmp_path / "masks").mkdir()
    for patient in range(4):
        folder = tmp_path / "images" / f"P{patient}"
        series(folder, VOLUME + patient, names=[f"{index}.IMA" for index in range(N)])
        mask = nibabel.Nifti1Image((VOLUME > 500).T.astype(np.uint8), read_header(folder).affine)
        nibabel.save(mask, tmp_path / f"masks/P{patient}.nii.gz")
    report = check_dataset(dataset_yaml("folder", root=str(tmp_path)))
    assert (report.pairs, report.errors) == (4, [])


def test_series_that_no_pattern_takes_are_told(tmp_path: Path, dataset_yaml) -> None:
    """Masks that are series themselves, series a folder further down, and one below a patient's."""
    for number, name in enumerate(("images/P0", "images/P0/scout", "images/P1/CT", "masks/P0")):
        series(tmp_path / name, VOLUME[:2], SeriesInstanceUID=f"1.{number}")
    (note,) = pair_files(tmp_path, dataset_yaml("folder")).notes
    left = "3 DICOM series in images, masks are no image and no mask by the patterns: images/P0/scout/, images/P1/CT/"
    assert note.startswith(f"{left} and masks/P0/; a pattern that ends in / takes such folders, as dataset.masks=")
    assert note.endswith("['masks/{stem}/']\" does")
    taken = pair_files(tmp_path, dataset_yaml("folder", masks=["masks/{stem}/"], images=["images/*/", "images/*/*/"]))
    assert (taken.masks, len(taken.notes)) == ({"images/P0": ["masks/P0"]}, 0)


def test_a_single_ima_file_is_an_image(tmp_path: Path) -> None:
    path = slice_file(tmp_path / "x.IMA", VOLUME[0], PixelSpacing=list(SPACING[1:]))
    assert read_header(path).spacing == SPACING[1:]
    np.testing.assert_array_equal(read_image(path)[..., 0], VOLUME[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["series", "enhanced", "implicit"])
def test_whatever_is_damaged_the_fault_is_an_image_error(tmp_path: Path, kind: str) -> None:
    """Seeded damage of a sound slice or of a file of several frames."""
    random = np.random.default_rng(0)
    if kind == "series":
        path = series(tmp_path / "s", VOLUME[:3])
        file = path / "1.dcm"
    else:
        syntax = "1.2.840.10008.1.2" if kind == "implicit" else "1.2.840.10008.1.2.1"
        file = path = enhanced(tmp_path / "x.dcm", VOLUME[:3], rescales=[(1, 2), (3, 4), (5, 6)], syntax=syntax)
    content = file.read_bytes()
    for _ in range(60):
        damaged = bytearray(content)
        for place in random.integers(132, len(content), random.integers(1, 5)):
            damaged[place] = random.choice([0, 32, 92, 127, 255, random.integers(256)])
        file.write_bytes(damaged[: random.choice([len(damaged), random.integers(1, len(damaged))], p=[0.8, 0.2])])
        for read in (read_header, read_image, read_mask):
            with suppress(ImageError):
                read(path)
