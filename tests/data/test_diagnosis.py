"""Folders that people bring, each with one cause for all its faults: the cause is told once, with its cure."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genseg_betty.config import load_dataset_config
from genseg_betty.data.cases import describe_findings, open_dataset, scan_dataset
from genseg_betty.errors import UserError

NUMBERS = range(1, 13)


def draw(folder: Path, *templates: str) -> None:
    """Pictures below the folder: one of each template (with a number in it) for each number."""
    for template in templates:
        for number in NUMBERS:
            file = folder / template.format(number)
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.zeros((8, 8), np.uint8)
            pixels[2 : 3 + number % 4, 2:6] = 255
            Image.fromarray(pixels).save(file)


def told(root: Path, *keys: str) -> str:
    dataset, findings = scan_dataset(load_dataset_config("folder", root=root, overrides=keys))
    return describe_findings(dataset, findings)


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        (("images/p{}.png", "masks/p{}_seg.png"), """dataset.masks="['masks/{stem}_seg.*']" pairs 12"""),
        (("images/p{}.png", "masks/mask-p{}.png"), """dataset.masks="['masks/mask-{stem}.*']" pairs 12"""),
        (("images/p{}.png", "images/p{}_mask.png"), """dataset.masks="['images/{stem}_mask.*']" pairs 12"""),
        (("images/p{}_0000.png", "masks/p{}.png"), """dataset.stem="'(.+)_0000'" pairs 12"""),
        (("images/im_{}.png", "masks/gt_{}.png"), """"'im_(.+)'" dataset.masks="['masks/gt_{stem}.*']" pairs 12"""),
        (("images/s{}-t1.png", "masks/s{}-x.png"), """"'s(.+)\\-t1'" dataset.masks="['masks/s{stem}-x.*']" pairs 12"""),
    ],
)
def test_names_by_another_rule(tmp_path: Path, files: tuple[str, ...], rule: str) -> None:
    draw(tmp_path, *files)
    message = told(tmp_path)
    assert message.count(rule) == 1
    assert "Add it or remove the image" not in message
    assert "too_few" not in message
    keys = [word.removeprefix("dataset.") for word in shlex.split(message) if word.startswith("dataset.")]
    assert len(message.splitlines()) <= 4
    dataset, findings = scan_dataset(load_dataset_config("folder", root=tmp_path, overrides=keys))
    assert (len(dataset.cases), findings) == (12, [])


@pytest.mark.parametrize(
    ("files", "root", "advice"),
    [
        (("images/p{}.png", "masks/p{}.png"), "images", "give dataset.root={root}"),
        (("set/images/p{}.png", "set/masks/p{}.png"), "", "give dataset.root={root}/set"),
        (("imgs/p{}.png", "labels/p{}.png"), "", "dataset.images=\"['imgs/*.*']\" dataset.masks=\"['labels/"),
        (("p{}.png",), "", "move the images to images/ and the masks to masks/"),
        (("p{}.png", "p{}_mask.png"), "", "dataset.masks=\"['{{stem}}_mask.*']\" pairs 12"),
        (("notes/p{}.txt.png",), "", "Expected below it: images"),
    ],
)
def test_a_root_that_is_not_quite_it(tmp_path: Path, files: tuple[str, ...], root: str, advice: str) -> None:
    draw(tmp_path, *files)
    message = told(tmp_path / root)
    assert advice.format(root=tmp_path) in message
    assert "too_few" in message


@pytest.mark.parametrize(
    ("files", "groups"),
    [
        (("P{}/images/a.png", "P{}/masks/a.png"), 12),
        (("images/P{}/a.png", "masks/P{}/a.png"), 12),
        (("images/P{0}/a{0}.png", "masks/a{0}.png"), 12),
        (("P{}/image.png", "P{}/mask.png"), 12),
    ],
)
def test_a_folder_for_each_patient(tmp_path: Path, files: tuple[str, ...], groups: int) -> None:
    draw(tmp_path, *files)
    message = told(tmp_path)
    keys = [word.strip(",").removeprefix("dataset.") for word in re.findall(r'dataset\.\w+="[^"]+"', message)]
    dataset, findings = scan_dataset(
        load_dataset_config("folder", root=tmp_path, overrides=[key.replace('"', "") for key in keys])
    )
    assert (len(dataset.cases), findings) == (12, [])
    assert len({case.group for case in dataset.cases}) == groups


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        (("masks/p{}.png",), "there are masks and no image: put the images into images/"),
        (("images/p{}.png",), "there are images and no mask: put the masks into masks/"),
    ],
)
def test_one_half_is_missing(tmp_path: Path, files: tuple[str, ...], advice: str) -> None:
    draw(tmp_path, *files)
    assert told(tmp_path).count(advice) == 1


def test_single_faults_keep_their_own_advice(tmp_path: Path) -> None:
    draw(tmp_path, "images/p{}.png", "masks/p{}.png")
    (tmp_path / "masks" / "p3.png").unlink()
    with pytest.raises(UserError, match=r"missing_mask: images/p3\.png: .* Add it or remove the image"):
        open_dataset(load_dataset_config("folder", root=tmp_path))
