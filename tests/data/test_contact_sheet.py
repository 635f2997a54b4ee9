"""The contact sheet, looked at pixel by pixel."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from genseg_betty.data import formats
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.inspect import tiles as tile_drawing
from genseg_betty.data.inspect.contact_sheet import draw_contact_sheet
from genseg_betty.data.inspect.tiles import BOX, FRAME, class_colours
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.errors import UserError
from genseg_betty.samples import PALETTE, TRUTH, mask_pixels, outline_masks

Colour = Sequence[int]


def save(root: Path, name: str, image: np.ndarray, mask: np.ndarray, suffix: str = ".png") -> None:
    for folder, array in (("images", image), ("masks", mask)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        ending = suffix if folder == "images" else ".png"
        Image.fromarray(array).save(root / folder / f"{name}{ending}")


def square(size: int = 192, half: int = 48, value: int = 255) -> np.ndarray:
    """A mask [size, size] with a square of 2 * half pixels in its middle."""
    mask = np.zeros((size, size), np.uint8)
    middle = slice(size // 2 - half, size // 2 + half)
    mask[middle, middle] = value
    return mask


def gray(height: int = 192, width: int = 192, value: int = 100) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


@pytest.fixture
def show(tmp_path: Path, dataset_yaml) -> Callable[..., tuple[np.ndarray, list[str]]]:
    """Draw the sheet of tmp_path/data: its pixels, and the ids shown."""

    def draw(count: int = 24, seed: int = 0, **keys: object) -> tuple[np.ndarray, list[str]]:
        dataset = open_dataset(dataset_yaml("folder", root=str(tmp_path / "data"), **keys))
        ids = draw_contact_sheet(dataset, tmp_path / "new" / "sheet.png", count, seed, title="A title")
        return np.asarray(Image.open(tmp_path / "new" / "sheet.png")).astype(int), ids

    return draw


def first_box(sheet: np.ndarray) -> np.ndarray:
    """The first tile: the topmost patch that is as large as one and holds no paper but within."""
    paper = (sheet == sheet[0, 0]).all(axis=2)
    parts, _ = ndimage.label(ndimage.binary_fill_holes(~paper))
    for rows, columns in ndimage.find_objects(parts):
        if rows.stop - rows.start == BOX and columns.stop - columns.start == BOX:
            return sheet[rows, columns]
    raise AssertionError("no tile on the sheet")


def tiles(sheet: np.ndarray) -> int:
    parts, _ = ndimage.label((sheet != sheet[0, 0]).any(axis=2))
    return sum(all(side.stop - side.start == BOX for side in found) for found in ndimage.find_objects(parts))


def where(box: np.ndarray, colour: Colour) -> list[tuple[int, int]]:
    """First and last row, first and last column of a colour."""
    found = np.argwhere((box == colour).all(axis=2))
    return list(zip(found.min(axis=0).tolist(), found.max(axis=0).tolist(), strict=True))


def test_the_outline_lies_on_the_border_of_the_mask(tmp_path: Path, show) -> None:
    save(tmp_path / "data", "a", gray(), square())
    sheet, ids = show()
    box = first_box(sheet)
    assert ids == ["a"]
    assert where(box, TRUTH) == [(48, 143), (48, 143)]
    assert (box[48:50, 48:144] == TRUTH).all()
    assert (box[48:144, 142:144] == TRUTH).all()
    assert (box[50:142, 50:142] == 100).all()  # the picture itself within it
    assert (box[47, 48:144] == 0).all()  # dark around it, for bright pictures
    assert (box[:46] == 100).all()
    assert (sheet == TRUTH).all(axis=2).sum() > (box == TRUTH).all(axis=2).sum()  # the legend


def test_every_case_has_a_tile_and_count_caps_them(folder: Path, show) -> None:
    sheet, ids = show()
    assert tiles(sheet) == len(ids) == 20
    sheet, ids = show(count=7)
    assert tiles(sheet) == len(ids) == len(set(ids)) == 7
    sheet, ids = show(count=1)
    assert tiles(sheet) == 1


def test_the_seed_decides(folder: Path, show) -> None:
    sheet, ids = show(count=6)
    again, same = show(count=6)
    others = show(count=6, seed=1)[1]
    assert ids == same
    assert (sheet == again).all()
    assert set(ids) != set(others)


def test_cases_are_spread_over_foreground_and_groups(tmp_path: Path, show) -> None:
    for index in range(40):
        half = (4, 70)[index // 20]
        random = np.random.default_rng(index)  # a ragged mask: its file grows with it, as drawn ones do
        mask = square(half=half) * (random.random((192, 192)) > 0.1)
        save(tmp_path / "data", f"{'ab'[index % 2]}_{index:02d}", gray(value=index), mask.astype(np.uint8))
    _, ids = show(count=8, group="/([ab])_")
    numbers = [int(id[2:]) for id in ids]
    assert [number // 20 for number in numbers] == [0] * 4 + [1] * 4  # the smaller ones come first
    assert sorted(id[0] for id in ids) == ["a"] * 4 + ["b"] * 4


def noted(opened: list[str], read: Callable[[Path], object], path: Path) -> object:
    opened.append(path.stem)
    return read(path)


def test_nothing_but_the_cases_shown_is_read(folder: Path, show, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    for room, names in ((formats.pictures, ("read_image", "read_mask")), (tile_drawing, ("bit_depth",))):
        for name in names:
            spy = partial(noted, opened, getattr(room, name))
            monkeypatch.setattr(room, name, spy)
    _, ids = show(count=5)
    assert set(opened) == set(ids)


def test_an_unreadable_case_becomes_a_tile(folder: Path, show) -> None:
    (folder / "images" / "case03.png").write_bytes((folder / "images" / "case03.png").read_bytes()[:200])
    save(folder, "case05", gray(40, 40), np.zeros((30, 30), np.uint8))
    sheet, ids = show()
    assert tiles(sheet) == 20
    assert set(ids[:2]) == {"case03", "case05"}
    box = first_box(sheet)
    assert (box == FRAME).all(axis=2).mean() > 0.7
    assert (box.sum(axis=2) < 200).mean() > 0.02  # the fault, in dark letters


def test_whatever_goes_wrong_is_told_in_the_tile(folder: Path, show, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Dataset, case: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Dataset, "load", fail)
    sheet, ids = show()
    assert tiles(sheet) == len(ids) == 20


@pytest.mark.parametrize(("height", "width"), [(96, 192), (192, 64)])
def test_pictures_keep_their_proportions(tmp_path: Path, show, height: int, width: int) -> None:
    image = gray(height, width)
    image[: height // 4, : width // 4] = 250  # a mark at the upper left
    save(tmp_path / "data", "a", image, np.zeros_like(image))
    box = first_box(show()[0])
    down, right = (BOX - height) // 2, (BOX - width) // 2
    assert where(box, (250,) * 3)[0][0] == down
    assert where(box, (250,) * 3)[1][0] == right
    frame = (box == FRAME).all(axis=2)
    assert frame.sum() == BOX * BOX - height * width
    assert not frame[down : down + height, right : right + width].any()
    assert not (box == TRUTH).all(axis=2).any()  # no foreground, no outline


def test_large_and_small_pictures_fill_the_tile(tmp_path: Path, show) -> None:
    save(tmp_path / "data", "large", gray(768, 384), np.pad(np.full((384, 192), 255, np.uint8), ((192,), (96,))))
    assert where(first_box(show()[0]), TRUTH) == [(48, 143), (72, 119)]


def test_a_mask_smaller_than_a_pixel_still_shows(tmp_path: Path, show) -> None:
    mask = np.zeros((1920, 1920), np.uint8)
    mask[1005:1008, 305:308] = 255
    save(tmp_path / "data", "a", gray(1920, 1920), mask)
    assert where(first_box(show()[0]), TRUTH) == [(100, 100), (30, 30)]


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_deep_images_are_windowed(tmp_path: Path, show, kind: type) -> None:
    """From the 0.5th to the 99.5th percentile: a ramp becomes black to white, an outlier does not matter."""
    image = np.tile(np.linspace(3000, 5000, 192), (192, 1)).astype(kind)
    image[:2] = image[-2:] = 3000
    image[0, 0] = 60000
    save(tmp_path / "data", "a", image, square(half=0), ".png" if kind is np.uint16 else ".tif")
    box = first_box(show()[0])[100, :, 0]
    assert box[0] < 3
    assert box[-1] > 252
    assert box[96] == pytest.approx(128, abs=3)


def test_dark_8_bit_images_stay_dark(tmp_path: Path, show) -> None:
    save(tmp_path / "data", "a", gray(value=20) + square(half=10, value=15), square(half=0))
    box = first_box(show()[0])
    assert (box[:80] == 20).all()
    assert (box[94:98, 94:98] == 35).all()


def test_several_classes_have_the_colours_of_the_samples(tmp_path: Path, show) -> None:
    mask = np.zeros((192, 192), np.uint8)
    mask[20:60, 20:60], mask[100:160, 30:90], mask[100:160, 90:150] = 1, 2, 3
    save(tmp_path / "data", "a", gray(), mask)
    sheet, _ = show(classes=["background", "disc", "cup", "vessel"])
    box = first_box(sheet)
    torch_mask = pytest.importorskip("torch").from_numpy(mask.astype(np.int64))
    own = {label: mask_pixels(torch_mask)[mask == label][0].tolist() for label in (1, 2, 3)}
    assert where(box, own[1]) == [(20, 59), (20, 59)]
    assert where(box, own[2]) == [(100, 159), (30, 89)]
    assert where(box, own[3]) == [(100, 159), (90, 149)]
    above = sheet[: tile_top(sheet)]
    for label in (1, 2, 3):  # squares in the legend
        swatch = (above == own[label]).all(axis=2)
        assert swatch.sum() >= 90


def test_binary_masks_have_the_colour_of_the_truth_in_samples() -> None:
    torch = pytest.importorskip("torch")
    mask = torch.from_numpy(square(size=128, half=30, value=1).astype(np.int64))
    drawn = outline_masks(torch.zeros(1, 128, 128), mask, torch.zeros_like(mask))
    assert class_colours(2) == [tuple(drawn[34, 34])] == [TRUTH]
    assert class_colours(4) == list(PALETTE[1:4])
    assert class_colours(9)[6:] == list(PALETTE[1:3])


def test_of_a_volume_the_slice_with_the_most_foreground(tmp_path: Path, dataset_yaml) -> None:
    volume = np.repeat(np.arange(12, dtype=np.float32) * 20, 48 * 48).reshape(12, 48, 48)  # a slice of one gray each
    volume[7, :, 24:] += 50  # but for one
    mask = np.zeros(volume.shape, np.uint8)
    mask[3, 4:10, 4:10] = mask[7, 8:40, 16:32] = mask[9, 30:35, 30:40] = 1
    for name, array in (("images", volume), ("masks", mask)):
        (tmp_path / "data" / name).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4)), tmp_path / "data" / name / "a.nii.gz")
    dataset = open_dataset(dataset_yaml("folder", root=str(tmp_path / "data")))
    draw_contact_sheet(dataset, tmp_path / "sheet.png")
    box = first_box(np.asarray(Image.open(tmp_path / "sheet.png")).astype(int))
    assert where(box, TRUTH) == [(32, 159), (64, 127)]
    assert box[180, 10].tolist() == [0, 0, 0]
    assert box[180, 180].tolist() == [255, 255, 255]


def test_phantoms_are_drawn(tmp_path: Path, dataset_yaml) -> None:
    dataset = open_dataset({**dataset_yaml("phantom", ood=[]), "count": 30})
    ids = draw_contact_sheet(dataset, tmp_path / "sheet.png", count=5)
    assert len(set(ids)) == 5
    assert tiles(np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)) == 5


def lettering(sheet: np.ndarray) -> np.ndarray:
    """The line beneath the first tile."""
    paper = (sheet == sheet[0, 0]).all(axis=2)
    rows = slice(*(first + BOX + 2 for first in (tile_top(sheet), tile_top(sheet) + 16)))
    return ~paper[rows]


def tile_top(sheet: np.ndarray) -> int:
    parts, _ = ndimage.label((sheet != sheet[0, 0]).any(axis=2))
    return next(rows.start for rows, _ in ndimage.find_objects(parts) if rows.stop - rows.start == BOX)


@pytest.mark.parametrize("names", [("écho", "echo"), ("Жук", "Жуп"), ("患者", "患者1"), ("患", "者")])
def test_ids_in_any_script_can_be_told_apart(folder: Path, show, names: tuple[str, str]) -> None:
    drawn = []
    for name in names:
        for part in ("images", "masks"):
            next((folder / part).iterdir()).rename(folder / part / "moved.png")
            for other in (folder / part).iterdir():
                if other.name != "moved.png":
                    other.unlink()
            (folder / part / "moved.png").rename(folder / part / f"{name}.png")
        sheet, ids = show()
        assert ids == [name]
        drawn.append(lettering(sheet))
        assert drawn[-1].sum() > 20
    assert (drawn[0] != drawn[1]).any()


def test_long_ids_are_cut_in_the_middle(tmp_path: Path, show) -> None:
    drawn = {}
    for name in ("scan_" + "0" * 90 + "_left", "scan_" + "0" * 80 + "_left", "scan_" + "0" * 90 + "_right"):
        for old in tmp_path.glob("data/*/*"):
            old.unlink()
        save(tmp_path / "data", name, gray(), square())
        sheet, _ = show()
        drawn[name] = lettering(sheet)
        assert not drawn[name][:, 12 + BOX + 1 :].any()  # it stays beneath its own tile
    same, shorter, other = drawn.values()
    assert (same == shorter).all()
    assert (same != other).any()  # the end is still there


def test_nothing_to_show_is_an_error(tmp_path: Path, folder: Path, dataset_yaml) -> None:
    dataset = open_dataset(dataset_yaml("folder", root=str(folder)))
    with pytest.raises(UserError, match="expected 1 or more"):
        draw_contact_sheet(dataset, tmp_path / "sheet.png", count=0)
    with pytest.raises(UserError, match="has no labelled case to show"):
        draw_contact_sheet(replace(dataset, cases=[]), tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize("name", ["nlm_mc", "buid", "hippocampus"])
def test_real_data(genseg_data: Path, tmp_path: Path, dataset_yaml, name: str) -> None:
    dataset = open_dataset(dataset_yaml(name, root=str(genseg_data / name)))
    ids = draw_contact_sheet(dataset, tmp_path / "sheet.png", count=8)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    assert len(set(ids)) == 8
    assert (sheet == TRUTH).all(axis=2).sum() > 1000


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_no_file_of_the_dataset_is_written_over(folder: str, tmp_path: Path, dataset_yaml) -> None:
    save(tmp_path / "data", "a", gray(), square())
    file = tmp_path / "data" / folder / "a.png"
    before = file.read_bytes()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    dataset = open_dataset(dataset_yaml("folder", root=str(tmp_path / "data")))
    with pytest.raises(UserError, match=rf"{folder}/a\.png is a file of folder and would be overwritten"):
        draw_contact_sheet(dataset, tmp_path / "link" / folder / "a.png")
    assert file.read_bytes() == before
