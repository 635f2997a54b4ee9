"""What `genseg predict` writes: palettes, overlays, probabilities, uncertainty, predict.csv, and what it keeps."""

import csv
import io
import os
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from genseg_betty.cli import main
from genseg_betty.data.formats import nifti, read_mask
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.errors import UserError
from genseg_betty.inference import Predictor, predict, predict_images, predict_paths
from genseg_betty.inference.prediction.palette import choose_palette
from genseg_betty.run import Run

GRAY = np.random.default_rng(1).integers(0, 256, (40, 48), dtype=np.uint8)
BRIGHT = GRAY > 127
EXTRAS = {"overlay": True, "probabilities": True, "uncertainty": True}


def save(path: Path, pixels: np.ndarray = GRAY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def rows(out: Path) -> list[dict[str, str]]:
    text = (out / "predict.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the Runs of these names the given Predictors."""

    def set_runs(**predictors: Predictor) -> None:
        monkeypatch.setattr(predict, "load", lambda run, device, trust: predictors[str(run)])

    return set_runs


@pytest.mark.parametrize(
    "values", [(0, 1), (0, 255), (255, 0), (3, 200), (1, 0), (0, 1, 2), (0, 255, 127), (9, 3, 5, 0, 1, 2, 4, 6, 7)]
)
def test_masks_are_seen_and_read_back_whichever_classes_they_show(
    preprocessing: Preprocessing, tmp_path: Path, values: tuple[int, ...]
) -> None:
    classes = tuple(f"class {value}" for value in values)
    labelled = replace(preprocessing, classes=classes, label_values=values)
    palette = choose_palette(labelled)
    shown = [palette[value] for value in values]
    assert shown[0] == (0, 0, 0)
    assert shown[0] not in shown[1:]
    assert len(set(shown[1:4])) == len(shown[1:4])
    for indices in (
        np.arange(48).reshape(6, 8) % len(values),
        *(np.full((4, 5), index) for index in range(len(values))),
    ):
        expected = np.array(values)[indices]
        predict.write_mask(tmp_path / "x.png", labelled.to_file_values(indices), palette)
        with Image.open(tmp_path / "x.png") as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.asarray(image), expected)
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.array(shown)[indices])
        np.testing.assert_array_equal(read_mask(tmp_path / "x.png"), expected)


def test_large_labels_have_no_palette(preprocessing: Preprocessing) -> None:
    assert choose_palette(replace(preprocessing, label_values=(0, 256))) == ()


def test_a_white_mask_of_black_and_white_is_the_label_to_any_reader(bright_run: Run, tmp_path: Path) -> None:
    (mask,) = predict_paths(bright_run.path, [save(tmp_path / "x.png")], tmp_path / "out")
    with Image.open(mask) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image.convert("L")), BRIGHT * 255)


def test_the_table_has_a_row_for_each_image_and_class(bright_run: Run, tmp_path: Path) -> None:
    save(tmp_path / "in" / "north" / "x.png")
    save(tmp_path / "in" / "dark.png", np.zeros((4, 5), np.uint8))
    flat = nibabel.Nifti1Image(np.full((10, 20, 1), 250, np.uint8), np.diag([0.5, 0.25, 1, 1]))
    nibabel.save(flat, tmp_path / "in" / "flat.nii")
    (tmp_path / "in" / "broken.png").write_text("no image")
    with pytest.raises(UserError, match="1 of 4 images failed"):
        predict_paths(bright_run.path, [tmp_path / "in"], tmp_path / "out")
    broken, dark, flat_row, north = rows(tmp_path / "out")
    assert "is a text" in broken["error"] or "cannot be read" in broken["error"]
    assert (broken["case"], broken["class"], broken["mask"]) == ("broken", "", "")
    assert (dark["size"], dark["unit"], dark["share"], dark["confidence"]) == ("0", "pixels", "0", "")
    assert (flat_row["case"], flat_row["size"], flat_row["unit"]) == ("flat", "25", "mm2")
    assert (north["case"], north["class"], north["mask"]) == ("north/x", "foreground", "north/x.png")
    assert int(north["size"]) == BRIGHT.sum()
    assert float(north["share"]) == pytest.approx(BRIGHT.mean(), rel=1e-5)
    unit = GRAY[BRIGHT] / 127.5 - 1
    assert float(north["confidence"]) == pytest.approx((1 / (1 + np.exp(-10 * unit))).mean(), rel=1e-5)
    assert all(float(row["seconds"]) >= 0 for row in rows(tmp_path / "out"))


def test_results_tell_of_each_image(bright_run: Run, tmp_path: Path) -> None:
    one = save(tmp_path / "in" / "one.png")
    (tmp_path / "in" / "two.png").write_text("no image")
    good, bad = predict_images(bright_run.path, [tmp_path / "in"], tmp_path / "out", overlay=True)
    assert (good.image, good.mask, good.failure, good.kept) == (one, tmp_path / "out" / "one.png", None, False)
    assert good.files == {"overlays": tmp_path / "out" / "overlays" / "one.png"}
    assert good.classes["foreground"].size == BRIGHT.sum()
    assert good.classes["foreground"].unit == "pixels"
    assert bad.mask is None
    assert bad.failure
    again, _ = predict_images([bright_run], str(tmp_path / "in"), tmp_path / "out", overlay=True)
    assert again == replace(good, kept=True)


def test_extras_of_an_image(bright_run: Run, tmp_path: Path) -> None:
    image, out = save(tmp_path / "x.png"), tmp_path / "out"
    predict_paths(bright_run.path, [image], out, **EXTRAS)
    chances = np.load(out / "probabilities" / "x.npy")
    assert chances.dtype == np.float16
    assert chances.shape == (2, 40, 48)
    foreground = 1 / (1 + np.exp(-10 * (GRAY / 127.5 - 1)))
    np.testing.assert_allclose(chances, [1 - foreground, foreground], atol=1e-3)
    with Image.open(out / "uncertainty" / "x.png") as found:
        assert found.mode == "L"
        p = np.clip(foreground, 1e-12, 1 - 1e-12)
        entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
        np.testing.assert_allclose(np.asarray(found), entropy * 255, atol=1)
    with Image.open(out / "overlays" / "x.png") as found:
        assert (found.mode, found.size) == ("RGB", (48, 40))
        pixels = np.asarray(found).astype(int)
    np.testing.assert_array_equal(pixels[~BRIGHT], np.repeat(GRAY[~BRIGHT][:, None], 3, axis=1))
    assert (pixels[BRIGHT][:, 0] > pixels[BRIGHT][:, 1]).all()


def test_extras_of_a_volume_lie_where_it_lies(use: Callable[..., None], tmp_path: Path) -> None:
    network = nn.Conv3d(1, 1, 1)
    nn.init.constant_(network.weight, 10)
    nn.init.zeros_(network.bias)
    volumes = Preprocessing((4, 6, 8), 1, (0.0, 255.0), ("background", "liver"), (0, 7), (0.0, 255.0), (3.0, 1.0, 2.0))
    use(run=Predictor(network, replace(volumes, scale=None, orientation="RAS")))
    values = np.random.default_rng(2).integers(0, 256, (5, 6, 7)).astype(np.float32)  # x, y, z
    values[..., 3] = 250
    affine = np.array([[-2.0, 0, 0, 9], [0, 1, 0, -4], [0, 0, -3, 2], [0, 0, 0, 1]])
    stored = nibabel.Nifti1Image(values, affine)
    nibabel.save(stored, tmp_path / "x.nii.gz")
    out = tmp_path / "out"
    (result,) = predict_images("run", [tmp_path / "x.nii.gz"], out, **EXTRAS)
    mask = nibabel.load(out / "x.nii.gz")
    np.testing.assert_array_equal(mask.get_fdata(), (values > 127.5) * 7)
    chances = nibabel.load(out / "probabilities" / "x.nii.gz")
    assert chances.shape == (5, 6, 7, 2)
    assert chances.get_data_dtype() == np.float32
    np.testing.assert_allclose(chances.get_fdata().sum(axis=-1), 1, atol=2e-3)
    np.testing.assert_array_equal(chances.get_fdata()[..., 1] > 0.5, values > 127.5)
    uncertainty = nibabel.load(out / "uncertainty" / "x.nii.gz")
    assert uncertainty.get_data_dtype() == np.uint8
    p = np.clip(chances.get_fdata()[..., 1], 1e-12, 1 - 1e-7)
    np.testing.assert_allclose(uncertainty.get_fdata(), -(p * np.log2(p) + (1 - p) * np.log2(1 - p)), atol=8e-3)
    for image in (mask, chances, uncertainty):
        np.testing.assert_allclose(image.affine, affine)
    liver = result.classes["liver"]
    assert liver.unit == "mm3"
    assert liver.size == pytest.approx((values > 127.5).sum() * 6)
    with Image.open(out / "overlays" / "x.png") as sheet:
        assert sheet.mode == "RGB"
        assert max(sheet.size) <= 3 * 384 + 2 * 4


def test_a_map_is_scaled_by_its_header(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    nifti.write_map(tmp_path / "x.nii.gz", values, 0.5, np.eye(4))
    np.testing.assert_array_equal(nibabel.load(tmp_path / "x.nii.gz").get_fdata(), values.T * 0.5)
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "x.nii.gz").dataobj.get_unscaled()), values.T)


def test_a_repeated_command_keeps_what_is_the_same(
    bright_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, out = tmp_path / "in", tmp_path / "out"
    for name in "abc":
        save(images / f"{name}.png")
    predict_paths(bright_run.path, [images], out, **EXTRAS)
    first, times = contents(out), {file: file.stat().st_mtime_ns for file in out.rglob("*.png")}
    predict_paths(bright_run.path, [images], out, **EXTRAS)
    assert contents(out) == first
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*.png")} == times

    # Another image, a file that is gone, and a mask that was edited are made again, and nothing else.
    save(images / "a.png", 255 - GRAY)
    (out / "probabilities" / "b.npy").unlink()
    kept = [result.kept for result in predict_images(bright_run.path, [images], out, **EXTRAS)]
    assert kept == [False, False, True]
    save(images / "a.png")
    save(out / "c.png", np.zeros((40, 48), np.uint8))
    kept = [result.kept for result in predict_images(bright_run.path, [images], out, **EXTRAS)]
    assert kept == [False, True, False]
    again = contents(out)
    assert {name: again[name] for name in again if name != "predict.csv"} == {
        name: first[name] for name in first if name != "predict.csv"
    }


def test_other_options_and_other_weights_make_masks_again(
    use: Callable[..., None], threshold: Callable[..., nn.Module], preprocessing: Preprocessing, tmp_path: Path
) -> None:
    one, other = Predictor(threshold(), preprocessing), Predictor(threshold(), preprocessing)
    use(run=one, other=other)
    image, out = save(tmp_path / "x.png"), tmp_path / "out"

    def is_kept(run: Any = "run", **options: bool) -> bool:
        (result,) = predict_images(run, [image], out, **options)
        return result.kept

    assert [is_kept(), is_kept(), is_kept("other")] == [False, True, True]
    assert [is_kept(tta=True), is_kept(tta=True), is_kept(["run", "other"], tta=True)] == [False, True, False]
    assert [is_kept(), is_kept(overlay=True)] == [False, False]
    with torch.no_grad():
        one.network.bias += 1e-3
    assert not is_kept(overlay=True)


def test_a_killed_command_goes_on(bright_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = tmp_path / "in", tmp_path / "out"
    for name in "abc":
        save(images / f"{name}.png")
    write = predict.write_mask

    def interrupt(path: Path, *values: Any) -> None:
        if (out / "b.png").exists():
            raise KeyboardInterrupt
        write(path, *values)

    with monkeypatch.context() as patch:
        patch.setattr(predict, "write_mask", interrupt)
        with pytest.raises(KeyboardInterrupt):
            predict_paths(bright_run.path, [images], out)
    assert [row["case"] for row in rows(out)] == ["a", "b"]
    assert [result.kept for result in predict_images(bright_run.path, [images], out)] == [True, True, False]


def test_rows_of_other_masks_stay_as_long_as_these(bright_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in "cab":
        predict_paths(bright_run.path, [save(tmp_path / f"{name}.png")], out)
    assert [row["case"] for row in rows(out)] == ["a", "b", "c"]
    (out / "a.png").unlink()
    predict_paths(bright_run.path, [tmp_path / "b.png"], out)
    assert [row["case"] for row in rows(out)] == ["b", "c"]


def test_an_edited_table_makes_masks_again(bright_run: Run, tmp_path: Path) -> None:
    image, out = save(tmp_path / "x.png"), tmp_path / "out"
    (first,) = predict_images(bright_run, image, out)
    text = (out / "predict.csv").read_text()
    (out / "predict.csv").write_text(text.replace(",pixels,", ",pixels,much "))
    assert predict_images(bright_run, image, out)[0].kept is False
    assert predict_images(bright_run, image, out) == [replace(first, kept=True, seconds=pytest.approx(0, abs=99))]


def test_a_foreign_table_is_not_replaced(bright_run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predict.csv").write_text("mine\n1\n")
    with pytest.raises(UserError, match=r"predict\.csv is no table that `genseg predict` has written"):
        predict_paths(bright_run.path, [save(tmp_path / "x.png")], tmp_path / "out")
    assert contents(tmp_path / "out") == {"predict.csv": b"mine\n1\n"}


def test_a_folder_named_as_one_of_the_outputs_is_refused(bright_run: Run, tmp_path: Path) -> None:
    save(tmp_path / "in" / "x.png")
    save(tmp_path / "in" / "overlays" / "x.png")
    with pytest.raises(UserError, match="would be a mask and one of the overlays at once"):
        predict_paths(bright_run.path, [tmp_path / "in"], tmp_path / "out", overlay=True)
    assert len(predict_paths(bright_run.path, [tmp_path / "in"], tmp_path / "out")) == 2


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """Broken, large, tiny, deep, transparent, oddly named and nested files."""
    folder = tmp_path / "in"
    random = np.random.default_rng(3)
    save(folder / "large.png", random.integers(0, 256, (3000, 2500), dtype=np.uint8))
    save(folder / "tiny.png", np.full((1, 1), 200, np.uint8))
    save(folder / "deep.png", random.integers(0, 65536, (30, 20)).astype(np.uint16))
    save(folder / "alpha.png", random.integers(0, 256, (30, 20, 4), dtype=np.uint8))
    save(folder / "two words.png")
    save(folder / 'quo"te, comma.png')
    save(folder / "line\nbreak\rreturn.png")
    save(folder / "=1+1.png")
    save(folder / "Überblick 肺.JPG")
    save(folder / "one" / "two" / "nested.tif")
    save(folder / "one" / "two words.png")
    os.makedirs(os.fsencode(folder) + b"/caf\xe9")
    save(Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9/x.png")))
    whole = save(tmp_path / "whole.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[:60])
    (folder / "empty.png").touch()
    (folder / "page.png").write_text("<html>")
    (folder / "enormous.png").write_bytes(png_header(20_000, 20_000))
    return folder


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims so many gray pixels, and holds few."""
    content = b"\x89PNG\r\n\x1a\n"
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(9))), (b"IEND", b"")):
        content += len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    return content


def test_an_odd_folder_gives_masks_for_all_that_can_be_read(
    bright_run: Run, odd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["predict", str(bright_run.path), str(odd_folder), "--out", str(out), "--overlay", "--uncertainty"]
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 1
        told = capsys.readouterr().err
        assert "4 of 16 images failed; the other 12 masks are in" in told
        assert "Traceback" not in told
        if "already" not in told:
            assert re.search(r"note: \S+/deep\.png: the image holds values from \d+ to \d+, but this Run", told)
    found = {row["case"]: row for row in rows(out)}
    failed = {case: row["error"] for case, row in found.items() if row["error"]}
    assert failed.keys() == {"cut", "empty", "page", "enormous"}
    assert "million pixels" in failed["enormous"]
    masks = sorted(
        path for path in out.rglob("*.png") if path.relative_to(out).parts[0] not in ("overlays", "uncertainty")
    )
    assert len(masks) == len(found) - len(failed) == 12
    for mask in masks:
        assert read_mask(mask).size
        assert (out / "overlays" / mask.relative_to(out)).is_file()
        assert (out / "uncertainty" / mask.relative_to(out)).is_file()
    assert read_mask(out / "large.png").shape == (3000, 2500)
    assert r"line\nbreak\rreturn".replace(r"\n", "\n") in found
    assert r"caf\udce9/x" in found
