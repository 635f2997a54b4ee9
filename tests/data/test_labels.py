"""What mask files mean: colours, names of values, thresholds; and what a prediction is written with."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import bombs
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.formats import ImageError, read_colours, read_mask, write_mask
from genseg_betty.data.formats.common import whole_numbers
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.data.source.labels import LabelMap
from genseg_betty.errors import UserError

COLOURS = {"background": [0, 0, 0], "vessel": [255, 0, 0], "tool": [0, 128, 255]}
INDICES = np.random.default_rng(0).integers(0, 3, (12, 17))
BY_INDEX = np.array([[0, 0, 0], [0, 128, 255], [255, 0, 0]], dtype=np.uint8)  # background, then by r, g, b
PICTURE = BY_INDEX[INDICES]


def save(path: Path, array: np.ndarray, **keys: object) -> Path:
    Image.fromarray(array).save(path, **keys)
    return path


def test_colours_are_ordered_background_first_then_by_red_green_blue() -> None:
    labels = LabelMap.declared(COLOURS, None)
    assert labels.in_colour
    assert labels.classes == ("background", "tool", "vessel")
    assert labels.values == ((0, 0, 0), (0, 128, 255), (255, 0, 0))
    assert labels.lookup == {0: 0, 128 * 256 + 255: 1, 255 * 65536: 2}
    assert not LabelMap.declared({"background": 0, "a": 1}, None).in_colour


@pytest.mark.parametrize("kind", ["rgb", "rgba", "palette", "gif", "bmp", "tiff", "webp"])
def test_colours_are_read_from_every_kind_of_picture(tmp_path: Path, kind: str) -> None:
    image = Image.fromarray(PICTURE)
    if kind == "rgba":
        image = Image.fromarray(np.dstack([PICTURE, 50 * (INDICES > 0) + 7]).astype(np.uint8))
    if kind == "palette":
        image = image.quantize(8)
        assert image.mode == "P"
    ending = {"rgb": "png", "rgba": "png", "palette": "png"}.get(kind, kind)
    image.save(tmp_path / f"x.{ending}", **({"lossless": True} if kind == "webp" else {}))
    decoded, blurred = LabelMap.declared(COLOURS, None).decode(read_colours(tmp_path / f"x.{ending}"))
    np.testing.assert_array_equal(decoded, INDICES)
    assert decoded.dtype == np.int64
    assert not blurred


@pytest.mark.parametrize("array", [INDICES.astype(np.uint8) * 100, INDICES > 0])
def test_gray_and_one_bit_pictures_are_colours_of_three_equal_parts(tmp_path: Path, array: np.ndarray) -> None:
    high = 255 if array.dtype == bool else 200
    labels = {"background": [0, 0, 0], "a": [100, 100, 100], "b": [high, high, high]}
    decoded, _ = LabelMap.declared(labels, None).decode(read_colours(save(tmp_path / "x.png", array)))
    np.testing.assert_array_equal(decoded, 2 * array if array.dtype == bool else INDICES)


@pytest.mark.parametrize("kind", ["sixteen", "volume", "array"])
def test_files_without_colours_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.npy"
    if kind == "array":
        np.save(path, INDICES)
    elif kind == "sixteen":
        path = save(tmp_path / "x.png", INDICES.astype(np.uint16) * 1000)
    else:
        path = tmp_path / "x.nii"
        path.write_bytes(bombs.nifti())
    with pytest.raises(ImageError, match="not colours; expected") as caught:
        read_colours(path)
    assert caught.value.code == "unexpected_label"


def test_unexpected_colours_are_named_with_their_pixels() -> None:
    values = np.zeros((10, 10), dtype=np.int32)
    values[0], values[1, :3], values[2] = 255 * 65536, 1 * 65536 + 2 * 256 + 3, 9
    with pytest.raises(ImageError) as caught:
        LabelMap.declared(COLOURS, None).decode(values)
    assert caught.value.code == "unexpected_label"
    assert "stand for no label: (0, 0, 9) in 10, (1, 2, 3) in 3, 13 of 100 pixels in all" in str(caught.value)
    assert "expected (0, 0, 0), (0, 128, 255), (255, 0, 0)." in str(caught.value)


@pytest.mark.parametrize("kind", ["jpeg", "resized"])
def test_mixed_colours_are_never_guessed(tmp_path: Path, kind: str) -> None:
    disc = np.add.outer((np.arange(64) - 30) ** 2, (np.arange(64) - 30) ** 2) < 300
    image = Image.fromarray(BY_INDEX[2 * disc])
    if kind == "jpeg":
        image.save(tmp_path / "x.jpeg", quality=95)
    else:
        image.resize((50, 50), Image.Resampling.BILINEAR).save(tmp_path / "x.jpeg", format="PNG")
    with pytest.raises(ImageError, match=r"further colours, \d+ of \d+ pixels in all.*JPEG or resizing has mixed it"):
        LabelMap.declared(COLOURS, None).decode(read_colours(tmp_path / "x.jpeg"))


def test_foreground_merges_colours() -> None:
    labels = LabelMap.declared(COLOURS, ["vessel", "tool"])
    assert (labels.classes, labels.values) == (("background", "foreground"), ((0, 0, 0), (0, 128, 255)))
    np.testing.assert_array_equal(labels.decode(np.array([[0, 255 * 65536, 128 * 256 + 255]]))[0], [[0, 1, 1]])


def test_classes_are_the_names_of_0_1_2() -> None:
    short = LabelMap.declared(None, None, ["background", "anterior", "posterior"])
    assert short == LabelMap.declared({"background": 0, "anterior": 1, "posterior": 2}, None)
    merged = LabelMap.declared(None, ["anterior", "posterior"], ["background", "anterior", "posterior"])
    np.testing.assert_array_equal(merged.decode(np.array([[0, 1, 2]]))[0], [[0, 1, 1]])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"labels": {"a": [0, 0, 0], "b": [0, 0, 0]}}, "two labels share one value"),
        ({"labels": {"a": [0, 0, 0], "b": [0, 0, 256]}}, "values of b are not colours"),
        ({"labels": {"a": [0, 0, 0], "b": [0, 0]}}, "values of b are not colours"),
        ({"labels": {"a": 0, "b": [0, 0, 1]}}, "values of a are not colours .*numbers or colours, all of them"),
        ({"labels": {"a": [0, 0, 0], "b": "red"}}, "values of b are not colours"),
        ({"labels": {f"c{i}": [i // 256, i % 256, 9] for i in range(257)}}, "found 257 colours; expected at most 256"),
        ({"labels": {"a": [0, 0, 0]}, "foreground": ["b"]}, "at least one more; foreground names b; expected names"),
        ({"classes": ["a", "a"]}, "dataset.classes: found a, a; expected every name once"),
        ({"classes": ["a"]}, "dataset.classes: found one label"),
    ],
)
def test_faulty_declarations(keys: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        LabelMap.declared(**({"labels": None, "foreground": None} | keys))


DISC = np.add.outer((np.arange(96) - 40) ** 2, (np.arange(96) - 50) ** 2) < 25**2


@pytest.mark.parametrize(
    ("values", "blurred"),
    [
        (DISC, False),
        (DISC.astype(np.uint8), False),
        (DISC.astype(np.uint8) * 255, False),
        (DISC.astype(np.uint16) * 65535, False),
        (np.where(DISC, 250, 7).astype(np.uint8), True),
        (np.where(DISC, 128, 127), True),
        (np.where(DISC, 300.0, -4.0).astype(np.int64), True),
    ],
)
def test_what_lies_above_the_threshold_is_foreground(values: np.ndarray, blurred: bool) -> None:
    indices, found = LabelMap.declared(None, None, threshold=127).decode(values)
    np.testing.assert_array_equal(indices, DISC)
    assert indices.dtype == np.int64
    assert found == blurred


def test_a_threshold_reads_lossy_rgb_masks_and_labels_that_are_no_blur(tmp_path: Path) -> None:
    image = np.stack([DISC * 255] * 3, axis=2).astype(np.uint8)
    labels = LabelMap.declared(None, None, threshold=127)
    indices, blurred = labels.decode(read_mask(save(tmp_path / "x.jpg", image, quality=40)))
    assert np.logical_xor(indices, DISC).mean() < 0.005
    assert blurred
    third = np.where(DISC, 255, 0)
    third[:6, :6] = 32  # a flat patch, which without a threshold is an unexpected label
    np.testing.assert_array_equal(labels.decode(third)[0], DISC)
    with pytest.raises(ImageError):
        LabelMap.declared(None, None).decode(third)
    np.testing.assert_array_equal(LabelMap.declared(None, None, threshold=31).decode(third)[0], third > 0)


def made(labels: LabelMap) -> Preprocessing:
    return Preprocessing((32, 32), 1, (0.0, 255.0), labels.classes, labels.values)


def test_a_prediction_in_colour_reads_back_by_index_and_by_colour(tmp_path: Path) -> None:
    labels = LabelMap.declared(COLOURS, None)
    preprocessing = made(labels)
    assert preprocessing.colours == tuple(map(tuple, BY_INDEX.tolist()))
    write_mask(tmp_path / "x.png", preprocessing.to_file_values(INDICES), preprocessing.colours)
    with Image.open(tmp_path / "x.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), INDICES)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), PICTURE)
    np.testing.assert_array_equal(read_mask(tmp_path / "x.png"), INDICES)
    np.testing.assert_array_equal(labels.decode(read_colours(tmp_path / "x.png"))[0], INDICES)


def test_a_prediction_in_values_is_gray_as_before(tmp_path: Path) -> None:
    preprocessing = made(LabelMap.declared({"background": 0, "a": 7, "b": 300}, None))
    assert preprocessing.colours == ()
    write_mask(tmp_path / "x.png", preprocessing.to_file_values(INDICES), preprocessing.colours)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "x.png")), np.array([0, 7, 300])[INDICES])


def test_a_palette_holds_no_more_than_its_colours(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"values 0\.\.1"):
        write_mask(tmp_path / "x.png", INDICES, [(0, 0, 0), (255, 0, 0)])
    assert not (tmp_path / "x.png").exists()


def test_a_folder_of_colour_masks_is_a_dataset(folder: Path, dataset_yaml) -> None:
    truth = {}
    for path in (folder / "masks").iterdir():
        truth[path.stem] = np.asarray(Image.open(path)) // 255
        truth[path.stem][:3] = 2
        save(path, BY_INDEX[[0, 2, 1]][truth[path.stem]])
    dataset = open_dataset(dataset_yaml("folder", root=str(folder), labels=COLOURS))
    assert dataset.label_values == ((0, 0, 0), (0, 128, 255), (255, 0, 0))
    for case in dataset.cases:
        np.testing.assert_array_equal(dataset.load(case).mask, np.array([0, 2, 1])[truth[case.id]])
    save(folder / "masks" / "case07.png", np.zeros((40, 40, 3), np.uint8) + np.uint8(1))
    with pytest.raises(UserError, match=r"case07\.png: holds colours that stand for no label: \(1, 1, 1\) in 1600"):
        dataset.load(dataset.cases[7])


def test_classes_and_threshold_of_a_yaml(folder: Path, dataset_yaml) -> None:
    dataset = open_dataset(dataset_yaml("folder", root=str(folder), threshold=127))
    assert (dataset.labels.threshold, dataset.label_values) == (127, (0, 255))
    named = open_dataset(dataset_yaml("folder", root=str(folder), classes=["background", "cyst"]))
    assert named.classes == ("background", "cyst")
    with pytest.raises(UserError, match=r"case00\.png: holds the values 255; expected 0, 1"):
        named.load(named.cases[0])


def test_lossy_masks_with_a_threshold_are_written_with_0_and_255(folder: Path, dataset_yaml) -> None:
    for path in (folder / "masks").iterdir():
        save(path, np.where(np.asarray(Image.open(path)) > 0, 249, 6).astype(np.uint8))
    dataset = open_dataset(dataset_yaml("folder", root=str(folder), threshold=127))
    assert dataset.label_values == (0, 255)
    assert dataset.load(dataset.cases[0]).mask.max() == 1


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "npy"])
@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"background": 0, "ulcer": 255}, 1),
        ({"background": 0, "ulcer": 65535}, 1),
        ({"background": 255, "ulcer": 0}, 0),
        ({"background": 0, "ulcer": 1}, 1),
        ({"background": 0, "ulcer": 1, "necrosis": 255}, 1),
        ({"background": 0, "necrosis": 7, "ulcer": 255}, 2),
        ({"background": 0, "ulcer": 7}, None),
    ],
)
def test_the_1_of_a_bit_is_white(tmp_path: Path, ending: str, declared: dict, expected: int | None) -> None:
    path = tmp_path / f"x.{ending}"
    if ending == "npy":
        np.save(path, DISC)
    else:
        save(path, DISC)
    labels = LabelMap.declared(declared, None)
    if expected is None:
        with pytest.raises(ImageError, match=r"holds the values 1; expected 0, 7\."):
            labels.decode(read_mask(path))
        return
    indices, _ = labels.decode(read_mask(path))
    np.testing.assert_array_equal(indices, np.where(DISC, expected, labels.lookup[0]))
    assert indices.dtype == np.int64


@pytest.mark.parametrize(("declared", "stored"), [(255, 1), (1, 255), (65535, 1), (1, 65535)])
def test_0_and_1_declared_as_0_and_255_is_told_not_guessed(declared: int, stored: int) -> None:
    values = (DISC * stored).astype(np.uint16)
    with pytest.raises(ImageError, match=r"leave dataset\.labels out: 0 and 1 are read then as well as 0 and 255"):
        LabelMap.declared({"background": 0, "ulcer": declared}, None).decode(values)
    with pytest.raises(ImageError) as caught:
        LabelMap.declared({"background": 0, "ulcer": declared, "b": 7}, None).decode(values)
    assert "leave" not in str(caught.value)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    "values",
    [
        np.arange(2) * np.float32(1.00000006),  # what nibabel stores of a float array in a header of uint8
        np.arange(256) * 1.0000001,
        np.array([0, 255]) * np.float32(0.00392157),
        np.arange(0, 65536, 5) * np.float32(1 / 65535) * 65535,
        np.array([0.9995, 2.0004, -0.0004]),
    ],
)
def test_what_a_header_scales_is_whole(values: np.ndarray, kind: type) -> None:
    whole = whole_numbers(values.astype(kind))
    np.testing.assert_array_equal(whole, np.rint(values))
    assert whole.dtype == np.int64


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        *[(value, "holds fractions") for value in (0.5, 0.01, 0.998, 254.97, 65534.9, 1e9 + 0.5)],
        *[(value, "holds NaN or infinite values.*write 0 in their place") for value in (np.nan, np.inf, -np.inf)],
        *[(value, "holds complex numbers") for value in (1j, 1 + 0j)],
    ],
)
def test_what_is_no_whole_number(value: complex, fault: str) -> None:
    with pytest.raises(ImageError, match=f"{fault}.*expected whole|{fault}") as caught:
        whole_numbers(np.array([0, 1, value]))
    assert caught.value.code == "unexpected_label"


@pytest.mark.parametrize(
    ("stored", "declared", "advice"),
    [
        ([0, 254], None, "as in 'dataset.labels={background: 0, ulcer: 254}'"),
        ([1, 2], None, "as in 'dataset.labels={background: 1, ulcer: 2}'"),
        ([7], None, "as in 'dataset.labels={background: 0, ulcer: 7}'"),
        ([0, 1, 2, 3], None, "as in 'dataset.labels={background: 0, label1: 1, label2: 2, label3: 3}'"),
        ([-1, 0, 1], None, "Mend the mask: labels are whole numbers within 0..65535"),
        ([0, 1, 2], {"background": 0, "ulcer": 1}, "or add them to dataset.labels, as label2: 2"),
        ([0, 1, 70000], {"background": 0, "ulcer": 1}, "Mend the mask: labels are whole numbers within 0..65535"),
    ],
)
def test_the_advice_declares_what_the_mask_holds(stored: list[int], declared: dict | None, advice: str) -> None:
    with pytest.raises(ImageError) as caught:
        LabelMap.declared(declared, None).decode(np.repeat(stored, 25).reshape(-1, 5))
    assert str(caught.value).endswith(advice)
