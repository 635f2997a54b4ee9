"""`genseg predict`: names, folders, refusals before the work, and images that cannot be read."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

from data.dicoms import VOLUME, enhanced, series, slice_file
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.errors import UserError
from genseg_betty.inference import predict, predict_paths
from genseg_betty.inference.prediction_jobs import note_of_files_beside_slices, plan_jobs
from genseg_betty.run import Run

GRAY = np.random.default_rng(1).integers(0, 256, (40, 48), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray = GRAY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_masks_have_the_stem_size_and_label_values(
    bright_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "masks"
    image = save(tmp_path / "a.b.tif")
    large = save(tmp_path / "large.JPG", np.full((120, 75, 3), 250, dtype=np.uint8))
    assert predict_paths(bright_run.path, [image, large], out) == [out / "a.b.png", out / "large.png"]
    with Image.open(out / "a.b.png") as mask:
        assert mask.format == "PNG"
        np.testing.assert_array_equal(np.asarray(mask), np.where(GRAY > 127, 255, 0))
    with Image.open(out / "large.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), np.full((120, 75), 255))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "predict" in printed.err


def test_other_label_values(
    threshold: Callable[..., nn.Module],
    make_run: Callable[..., Run],
    preprocessing: Preprocessing,
    tmp_path: Path,
) -> None:
    values = replace(preprocessing, label_values=(3, 700))
    state = {"preprocessing": values.to_dict(), "num_outputs": 1, "weights": threshold().state_dict()}
    run = make_run(states={"predictor": state})
    (written,) = predict_paths(run.path, [save(tmp_path / "x.png")], tmp_path / "out")
    with Image.open(written) as mask:
        np.testing.assert_array_equal(np.asarray(mask), np.where(GRAY > 127, 700, 3))


def test_labels_in_colour_are_written_with_a_palette(
    threshold: Callable[..., nn.Module],
    make_run: Callable[..., Run],
    preprocessing: Preprocessing,
    tmp_path: Path,
) -> None:
    colours = replace(preprocessing, label_values=((10, 20, 30), (255, 0, 9)))
    state = {"preprocessing": colours.to_dict(), "num_outputs": 1, "weights": threshold().state_dict()}
    run = make_run(states={"predictor": state})
    (written,) = predict_paths(run.path, [save(tmp_path / "x.png")], tmp_path / "out")
    with Image.open(written) as mask:
        np.testing.assert_array_equal(np.asarray(mask), GRAY > 127)
        found = np.asarray(mask.convert("RGB"))
    np.testing.assert_array_equal(found, np.where(GRAY[:, :, None] > 127, (255, 0, 9), (10, 20, 30)))


def test_folders_keep_their_structure(bright_run: Run, tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    for name in ("x.png", "north/x.png", "north/deep/y.bmp", ".hidden/z.png", "__MACOSX/._x.png"):
        save(images / name)
    (images / "notes.txt").write_text("no image")
    single = save(tmp_path / "single.png")
    written = predict_paths(bright_run.path, [images, single, single, images], out)
    assert files(out) == {"x.png", "north/x.png", "north/deep/y.png", "single.png", "predict.csv"}
    assert len(written) == 4


def test_every_series_below_a_folder_is_predicted(tmp_path: Path) -> None:
    """Also where a stray slice lies beside the folders of the patients."""
    for name in ("P1", "P1/other", "P2/CT", ".hidden"):
        series(tmp_path / "in" / name, VOLUME[:2])
    out = tmp_path / "out"
    planned = [job.mask.relative_to(out).as_posix() for job in plan_jobs([tmp_path / "in"], out, volumes=True)]
    assert planned == ["P1.nii.gz", "P1/other.nii.gz", "P2/CT.nii.gz"]
    slice_file(tmp_path / "in" / "stray", VOLUME[0])
    planned = [job.mask.relative_to(out).as_posix() for job in plan_jobs([tmp_path / "in"], out, volumes=True)]
    assert planned == ["in.nii.gz", "in/P1.nii.gz", "in/P1/other.nii.gz", "in/P2/CT.nii.gz"]


def test_a_series_has_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = series(tmp_path / "data" / "P1", VOLUME[:2])
    monkeypatch.chdir(folder)
    for named, out in ((".", "../masks"), ("../P1", ".."), (folder, tmp_path)):
        (job,) = plan_jobs([Path(named)], Path(out), volumes=True)
        assert job.mask == Path(out) / "P1.nii.gz"


def test_files_that_are_volumes_are_predicted_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("A.dcm", "B"):
        enhanced(tmp_path / "in" / name, VOLUME[:2])
    out = tmp_path / "out"
    assert [job.mask for job in plan_jobs([tmp_path / "in"], out, volumes=True)] == [out / "A.nii.gz", out / "B.nii.gz"]
    slice_file(tmp_path / "in" / "slice", VOLUME[0])
    jobs = plan_jobs([tmp_path / "in"], out, volumes=True)
    assert [job.mask for job in jobs] == [out / "in.nii.gz"]  # refused when read


def test_images_beside_slices_are_told(tmp_path: Path) -> None:
    folder = series(tmp_path / "P1", VOLUME[:2])
    jobs = plan_jobs([folder], tmp_path / "out", volumes=True)
    (folder / "README.txt").write_text("litter")
    assert note_of_files_beside_slices(jobs) == []
    save(folder / "x.png")
    found = f"1 images that lie among the slices of a DICOM series are not predicted: {folder / 'x.png'}"
    assert note_of_files_beside_slices(jobs) == [found]


def test_dicom_images_of_any_name_are_predicted(bright_run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    slice_file(tmp_path / "in" / "IM1", GRAY.astype(np.uint16))
    (tmp_path / "in" / "README").write_text("litter")
    (written,) = predict_paths(bright_run.path, [tmp_path / "in"], tmp_path / "out")
    assert written == tmp_path / "out" / "IM1.png"


def test_an_output_folder_inside_the_input_is_not_read(bright_run: Run, tmp_path: Path) -> None:
    images = tmp_path / "images"
    save(images / "x.png")
    for _ in range(2):
        predict_paths(bright_run.path, [images], images / "masks")
    assert files(images) == {"x.png", "masks/x.png", "masks/predict.csv"}


def test_masks_of_an_earlier_call_are_kept_unless_they_were_changed_and_others_are_named(
    bright_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    for name in ("x.png", "y.png", "north/x.png"):
        save(images / name)
    predict_paths(bright_run.path, [images], out)
    assert "note" not in capsys.readouterr().err
    (out / "y.png").unlink()
    (out / "x.png").write_text("older")
    save(out / "north" / "z.png")
    predict_paths(bright_run.path, [images], out)
    told = capsys.readouterr().err
    assert f"note: 1 of 3 masks are in {out} already, made of the same images, and are kept\n" in told
    assert f"note: 1 of 3 masks are in {out} already and are made again\n" in told
    assert f"note: {out} keeps files that are no masks of this call: north/z.png\n" in told
    with Image.open(out / "x.png") as mask:
        assert mask.size == (48, 40)


def test_a_full_disk_ends_the_work_at_the_first_mask_that_does_not_fit(
    bright_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        save(tmp_path / "images" / f"{name}.png")
    write = predict.write_mask

    def fill(path: Path, *values: Any) -> None:
        if (tmp_path / "out" / "a.png").exists():
            raise OSError(28, "No space left on device")
        write(path, *values)

    monkeypatch.setattr(predict, "write_mask", fill)
    with pytest.raises(UserError, match=r"out \(No space left on device\): 1 of 3 are there, each of them whole"):
        predict_paths(bright_run.path, [tmp_path / "images"], tmp_path / "out")
    assert files(tmp_path / "out") == {"a.png", "predict.csv"}


def test_all_refusals_come_at_once_and_before_any_work(bright_run: Run, tmp_path: Path) -> None:
    one, two, three = (save(tmp_path / name) for name in ("a/x.png", "b/x.jpg", "a/y.png"))
    also = save(tmp_path / "b/y.png")
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    with pytest.raises(UserError) as caught:
        predict_paths(bright_run.path, [one, two, three, also, tmp_path / "empty", tmp_path / "gone"], out)
    message = str(caught.value)
    for said in (f"{one} and {two}", f"{three} and {also}", "no image in this folder", "gone: no such file"):
        assert said in message
    assert not out.exists()


def test_two_formats_of_one_stem_in_a_folder_are_refused(bright_run: Run, tmp_path: Path) -> None:
    save(tmp_path / "images" / "x.png")
    save(tmp_path / "images" / "x.jpg")
    with pytest.raises(UserError, match=r"x\.jpg and .*x\.png would share"):
        predict_paths(bright_run.path, [tmp_path / "images"], tmp_path / "out")


def test_nothing_to_do_and_a_file_for_out(bright_run: Run, tmp_path: Path) -> None:
    image = save(tmp_path / "x.png")
    with pytest.raises(UserError, match="no image or folder was named"):
        predict_paths(bright_run.path, [], tmp_path / "out")
    with pytest.raises(UserError, match="is a file"):
        predict_paths(bright_run.path, [image], image)


@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_no_input_is_overwritten_under_any_name(
    bright_run: Run, tmp_path: Path, link: Callable[[Path, Path], None] | None
) -> None:
    image = save(tmp_path / "images" / "x.png")
    before = image.read_bytes()
    out = image.parent
    if link is not None:
        out = tmp_path / "out"
        out.mkdir()
        link(image, out / "x.png")
    with pytest.raises(UserError, match="overwrite an input"):
        predict_paths(bright_run.path, [image], out)
    assert image.read_bytes() == before


def test_nothing_is_written_through_a_link_out_of_the_output(bright_run: Run, tmp_path: Path) -> None:
    save(tmp_path / "images" / "north" / "x.png")
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    out.mkdir()
    (out / "north").symlink_to(elsewhere)
    with pytest.raises(UserError, match="leads out"):
        predict_paths(bright_run.path, [tmp_path / "images"], out)
    assert files(elsewhere) == set()


def test_unreadable_images_stop_no_other(bright_run: Run, tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    for name in ("a.png", "c.png"):
        save(images / name)
    (images / "b.png").write_bytes(save(tmp_path / "whole.png").read_bytes()[:60])
    (images / "d.png").write_text("no image")
    with pytest.raises(UserError) as caught:
        predict_paths(bright_run.path, [images], out)
    message = str(caught.value)
    assert f"2 of 4 images failed; the other 2 masks are in {out}" in message
    assert str(images / "b.png") in message
    assert str(images / "d.png") in message
    assert files(out) == {"a.png", "c.png", "predict.csv"}


def test_failures_of_one_kind_are_one_line(bright_run: Run, tmp_path: Path) -> None:
    for number in range(40):
        save(tmp_path / "images" / f"a{number}.png").write_text("no image")
    with pytest.raises(UserError, match="40 of 40 images failed") as caught:
        predict_paths(bright_run.path, [tmp_path / "images"], tmp_path / "out")
    [_, line] = str(caught.value).splitlines()
    assert "40 images (" in line
    assert line.count(".png") < 8
    with pytest.raises(UserError) as caught:
        predict_paths(bright_run.path, [tmp_path / f"gone{number}.png" for number in range(40)], tmp_path / "out")
    assert "40 names (" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2
