"""Sample pictures: right colours, right places, one file that is whole."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from genseg_betty.samples import (
    CELL,
    PREDICTION,
    TRUTH,
    choose_enlargement,
    image_pixels,
    mask_pixels,
    outline_masks,
    save_samples,
)


@pytest.mark.parametrize("channels", [1, 3])
def test_image_range_becomes_eight_bits(channels: int) -> None:
    image = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0]).expand(channels, 2, 5)
    pixels = image_pixels(image)
    assert pixels.shape == (2, 5, 3)
    assert pixels.dtype == np.uint8
    assert pixels[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert (pixels == pixels[..., :1]).all()


def test_colour_channels_keep_their_order() -> None:
    image = torch.tensor([1.0, -1.0, 0.0]).reshape(3, 1, 1)
    assert image_pixels(image)[0, 0].tolist() == [255, 0, 128]


def test_gradients_do_not_stand_in_the_way() -> None:
    assert image_pixels(torch.zeros(1, 2, 2, requires_grad=True)).shape == (2, 2, 3)


def test_each_class_has_its_colour_and_background_is_black() -> None:
    pixels = mask_pixels(torch.arange(7)[None])
    assert pixels.shape == (1, 7, 3)
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert len({tuple(colour) for colour in pixels[0].tolist()}) == 7


def test_more_classes_than_colours_are_never_black() -> None:
    assert mask_pixels(torch.arange(1, 40)[None]).any(axis=2).all()


@pytest.mark.parametrize(("sides", "factor"), [((64, 64), 2), ((100, 300), 2), ((128, 128), 1), ((512, 1), 128)])
def test_enlargement_reaches_the_least_cell(sides: tuple[int, int], factor: int) -> None:
    assert choose_enlargement(*sides) == factor


def test_overlay_draws_both_outlines_and_nothing_else() -> None:
    truth, prediction = torch.zeros(128, 128, dtype=torch.long), torch.zeros(128, 128, dtype=torch.long)
    truth[10:20, 10:20] = 1
    prediction[60:63, 60:63] = 1
    pixels = outline_masks(torch.zeros(1, 128, 128), truth, prediction)
    green, red = (pixels == TRUTH).all(axis=2), (pixels == PREDICTION).all(axis=2)
    assert green.sum() == 4 * 10 - 4
    assert red.sum() == 8
    assert green[10, 10:20].all()
    assert not green[11:19, 11:19].any()
    assert (pixels[~(green | red)] == 128).all()


def test_overlay_shows_the_border_between_two_classes() -> None:
    truth = torch.ones(128, 128, dtype=torch.long)
    truth[:, 64:] = 2
    green = (outline_masks(torch.zeros(3, 128, 128), truth, torch.zeros_like(truth)) == TRUTH).all(axis=2)
    assert green[:, 63:65].all()
    assert green.sum() == 2 * 128


def test_overlay_of_empty_masks_is_the_image() -> None:
    empty = torch.zeros(32, 40, dtype=torch.long)
    pixels = outline_masks(torch.ones(1, 32, 40), empty, empty)
    assert pixels.shape == (128, 160, 3)
    assert (pixels == 255).all()


def test_sheet_holds_every_picture_in_row_and_column(tmp_path: Path) -> None:
    colours = {"image": [(10, 20, 30), (40, 50, 60)], "mask": [(70, 80, 90)]}
    columns = {title: [np.full((16, 16, 3), c, dtype=np.uint8) for c in cells] for title, cells in colours.items()}
    save_samples(tmp_path / "a.png", columns)
    with Image.open(tmp_path / "a.png") as sheet:
        found = {colour: number for number, colour in sheet.getcolors(1 << 20)}
        pixels = np.asarray(sheet)
    for colour in (colour for cells in colours.values() for colour in cells):
        assert found[colour] >= CELL * CELL  # the title may hold a pixel of that colour
    places = [np.argwhere((pixels == c).all(axis=2)).mean(axis=0) for c in (*colours["image"], *colours["mask"])]
    assert places[1][0] > places[0][0] + CELL - 1
    assert places[1][1] == pytest.approx(places[0][1], abs=1)
    assert places[2][1] > places[0][1] + CELL - 1
    assert places[2][0] == pytest.approx(places[0][0], abs=1)


def test_long_titles_do_not_run_into_each_other(tmp_path: Path) -> None:
    title = "a title that is far longer than any cell of 128 pixels"
    save_samples(tmp_path / "a.png", {title: [np.zeros((16, 16, 3), np.uint8)], "b": [np.zeros((16, 16, 3), np.uint8)]})
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.width > 2 * ImageFont.load_default().getlength(title)


def test_writing_replaces_the_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    save_samples(path, {"image": [np.zeros((130, 150, 3), np.uint8)]})
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
    assert list(tmp_path.iterdir()) == [path]
