"""Validation and test files never move a weight or a statistic, whatever method trains."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genseg_betty.build import build_named
from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.run import Run
from genseg_betty.tracking import Tracker
from methods.tiny import TINY
from states import different, flat

pytestmark = pytest.mark.usefixtures("pictures_unsaved")

# α is frozen: it alone may learn from validation images. Four steps of two show every one of 7 training cases.
OVERRIDES = [
    *TINY, "dataset=folder", "dataset.n_labelled=9", "dataset.n_test=null", "ood=[]",
    "trainer.warmup_iterations=1", "trainer.iterations=4", "trainer.finetune_iterations=1", "trainer.validate_every=2",
    "trainer.sample_every=1000", "trainer.select=last", "trainer.scheduler=none",
    "trainer.optimizers.architecture.lr=0.0",
]  # fmt: skip
METHODS = [
    ["method=genseg", "hypergradient=exact"],
    ["method=genseg", "hypergradient=exact_full"],
    ["method=genseg", "hypergradient=finite_difference"],
    ["method=genseg", "hypergradient=none"],
    ["method=separate"],
    ["method=vanilla"],
    ["method=combine"],
    ["method=real_twice", "copy_paste=0.5"],
]


def write_case(root: Path, name: str, seed: int, size: int, high: int, foreground: int) -> None:
    """A 16-bit image of random intensities below `high` around a brighter disc, and the disc as its mask."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices((size, size))
    row, column = random.integers(size // 3, 2 * size // 3, 2)
    disc = (rows - row) ** 2 + (columns - column) ** 2 < (size / 5) ** 2
    image = random.integers(high // 2, high, (size, size)) // np.where(disc, 1, 4)
    for folder, array in (("images", image.astype(np.uint16)), ("masks", (disc * foreground).astype(np.uint8))):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(root / folder / f"{name}.png")


def write_folder(root: Path, high: int = 4000) -> None:
    for index in range(14):
        write_case(root, f"case{index:02d}", seed=index, size=36, high=high, foreground=255)


def rewrite(root: Path, names: list[str]) -> None:
    """Other discs at 16 times the intensity, of another size, with masks of 0 and 1."""
    for index, name in enumerate(names):
        write_case(root, name, seed=100 + index, size=44, high=64000, foreground=1)


def paint(root: Path, names: list[str]) -> None:
    """Images in colour."""
    for index, name in enumerate(names):
        colours = np.random.default_rng(index).integers(0, 256, (36, 36, 3), dtype=np.uint8)
        Image.fromarray(colours).save(root / "images" / f"{name}.png")


def train(root: Path, path: Path, overrides: list[str]) -> dict:
    """Every checkpoint that a training of the files as they are leaves behind, and its splits."""
    config = compose([*OVERRIDES, f"dataset.root={root}", f"run_dir={path}", *overrides])
    data = load_data(config)
    with Run.start(config.run_dir, config) as run:
        build_named(config.method).fit(run, data, Tracker(run, config.logger))
        names = ("last", "predictor", "generator", "generator_strongest")
        saved = {name: run.load_checkpoint(name) for name in names}
    return saved | {"splits": data.splits}


def learned(saved: dict) -> dict:
    """Everything in the checkpoints that training images alone may have formed, by its place."""
    levels = saved["last"]["engine"]["levels"]
    if "architecture" in levels:  # what its optimizer remembers is the validation gradient; α itself rests
        levels = levels | {"architecture": levels["architecture"]["module"]}
    return {"levels": levels} | {k: saved[k] for k in ("predictor", "generator", "generator_strongest")}


def held_out(splits) -> list[str]:
    """All cases but the training ones: validation, test, and what is neither."""
    names = sorted({f"case{index:02d}" for index in range(14)} - {*splits.train})
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (7, 2, 4)
    assert {*splits.validation, *splits.test} <= {*names}
    return names


@pytest.mark.parametrize("overrides", METHODS, ids=" ".join)
def test_held_out_files_reach_no_weight(tmp_path, overrides):
    root = tmp_path / "data"
    write_folder(root)
    clean = train(root, tmp_path / "clean", overrides)
    assert clean["predictor"]["preprocessing"]["intensity"] != [0.0, 255.0]  # the range is a fitted one
    rewrite(root, held_out(clean["splits"]))
    spoiled = train(root, tmp_path / "spoiled", overrides)
    assert spoiled["splits"] == clean["splits"]
    assert spoiled["last"]["last"] != clean["last"]["last"]  # the validation scores do see the difference
    expected = learned(clean)
    assert any(place.startswith("/levels/segmenter/module") and "running_mean" in place for place in flat(expected))
    assert not different(learned(spoiled), expected)


def test_held_out_colours_add_no_channel(tmp_path):
    root = tmp_path / "data"
    write_folder(root, high=250)
    for path in (root / "images").iterdir():
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint8)).save(path)
    clean = train(root, tmp_path / "clean", ["method=vanilla"])
    paint(root, held_out(clean["splits"]))
    painted = train(root, tmp_path / "painted", ["method=vanilla"])
    assert painted["predictor"]["preprocessing"]["channels"] == 1
    assert painted["last"]["last"] != clean["last"]["last"]
    assert not different(learned(painted), learned(clean))


@pytest.mark.parametrize("overrides", [METHODS[0], METHODS[5]], ids=" ".join)
def test_a_training_file_does_reach_the_weights(tmp_path, overrides):
    """What the test above would have seen: an image moves weights and intensity range, a mask weights alone."""
    root = tmp_path / "data"
    write_folder(root)
    clean = train(root, tmp_path / "clean", overrides)
    levels = clean["last"]["engine"]["levels"].keys() - {"architecture"}
    for kind in ("masks", "images"):
        path = root / kind / f"{clean['splits'].train[0]}.png"
        kept, pixels = path.read_bytes(), np.asarray(Image.open(path))
        Image.fromarray(pixels * 3 if kind == "images" else 255 - pixels).save(path)
        found = different(learned(train(root, tmp_path / kind, overrides)), learned(clean))
        path.write_bytes(kept)
        for level in levels:
            assert any(place.startswith(f"/levels/{level}/module/") for place in found), (kind, level)
        assert any(place.startswith("/predictor/weights/") for place in found), kind
        rescaled = any(place.startswith("/predictor/preprocessing/intensity") for place in found)
        assert rescaled == (kind == "images")
