"""What a training says of itself before its first step, and the name that it takes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genseg_betty import train
from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.run import Run
from genseg_betty.training.console import announce_run
from genseg_betty.training.run_training import set_count
from methods.tiny import TINY

SHORT = [
    *(word for word in TINY if not word.startswith("dataset")), "method=vanilla", "trainer.iterations=1",
    "trainer.validate_every=1",
]  # fmt: skip


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty pairs in a folder: six are the test part."""
    monkeypatch.chdir(tmp_path)
    for index in range(20):
        random = np.random.default_rng(index)
        for folder in ("images", "masks"):
            values = 255 * random.integers(0, 2, (36, 36)) if folder == "masks" else random.integers(0, 255, (36, 36))
            (tmp_path / "scans" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / "scans" / folder / f"p{index}.png")
    return tmp_path / "scans"


def screen(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, *overrides: str, generator: bool = True, learned: bool = True
) -> str:
    config = compose(["device=cpu", "ood=[]", *overrides])
    with Run.start(tmp_path / "run", config, "restart") as run:
        announce_run(run, load_data(run.config), generator, learned and generator)
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([], "7 train, 2 validation, 36 test, 75 unused (dataset.n_labelled=9; all: dataset.n_labelled=84)"),
        (["dataset.n_labelled=84"], "120 labelled cases: 67 train, 17 validation, 36 test\n"),
        (
            ["dataset.n_test=4", "dataset.n_labelled=84"],
            "120 labelled cases: 67 train, 17 validation, 4 test, 32 unused (dataset.n_test=4)",
        ),
        (["dataset.n_test=0", "dataset.n_labelled=120"], "120 labelled cases: 96 train, 24 validation, 0 test\n"),
    ],
)
def test_unused_images_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], line: str
) -> None:
    assert line in screen(capsys, tmp_path, *overrides)


@pytest.mark.parametrize("has_generator", [True, False])
def test_a_preset_says_what_it_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str], has_generator: bool) -> None:
    told = screen(capsys, tmp_path, "trainer=quick", "backbone=unet_classic", generator=has_generator)
    assert "unet_classic (base_channels 16)" in told.splitlines()[0]
    assert "(trainer=quick)" in told.splitlines()[0]
    assert "other networks than usual: backbone.base_channels 16 (usually 64)" in told
    assert ("generator.base_channels 16 (usually 64)" in told) == has_generator
    assert ("pix2pix" in told.replace(str(tmp_path), "")) == has_generator
    assert "image_size 64×64 (as trainer=quick has it; 96×96 would suit)" in told
    assert "as set" not in told


def test_what_the_user_set_is_told_as_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ("image_size=32", "trainer.batch_size=2", "backbone.base_channels=8")
    told = screen(capsys, tmp_path, "trainer=quick", *own)
    assert "image_size 32×32 (as set; 96×96 would suit), batch 2 (as set; 4 would suit)" in told
    assert "backbone.base_channels" not in told.split("note:")[1]  # no preset made it so


@pytest.mark.parametrize(
    ("generator", "learned", "told"),
    [
        (True, True, None),
        (True, False, "note:  not used, as genseg has no learned architecture: arch_every\n"),
        (False, False, "note:  not used, as genseg has no generator: arch_every, generator, generator.alpha\n"),
    ],
)
def test_keys_that_have_no_part_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], generator: bool, learned: bool, told: str | None
) -> None:
    own = ("arch_every=4", "generator=spade", "generator.alpha=sigmoid", "hypergradient=none", "seed=3")
    found = screen(capsys, tmp_path, *own, generator=generator, learned=learned)
    assert ("not used" in found) == (told is not None)
    assert (told or "") in found


def test_an_augmentation_without_a_part_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "not used, as supervised has no generator and no augmentation: augment.rotate\n"
    words = ["method=supervised", "augment.rotate=3"]
    assert line in screen(capsys, tmp_path, *words, "method.augment=false", generator=False)
    assert "not used" not in screen(capsys, tmp_path, *words, generator=False)


def test_a_run_is_named_by_the_images_in_force(scans: Path) -> None:
    words = [*SHORT, "dataset=folder", f"dataset.root={scans}"]
    first = train(words)
    assert "-n14-s0-" in first.path.name
    assert first.config.dataset.n_labelled == 14
    assert first.path.name.startswith("folder-unet_classic-pix2pix-vanilla-n14-s0-")  # as every Run is named
    assert first.read_json("results.json")["name"] == first.path.name.replace("-pix2pix-", "-")
    assert train(words).path == first.path
    assert train([*words, "dataset.n_labelled=14"]).path == first.path  # the same training


def test_a_run_under_its_old_name_is_found_first(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["dataset=folder", f"dataset.root={scans}", *SHORT]
    old = Path(compose(words).run_dir)
    assert "-nauto-" in old.name
    with Run.start(old, compose(words)):
        pass
    run = train([*words, "resume=restart"])
    assert run.path == old.resolve()
    assert run.config.dataset.n_labelled is None
    assert "an earlier version gave this Run its name" in capsys.readouterr().err
    assert [path.name for path in Path("outputs").iterdir()] == [old.name]


def test_a_directory_of_the_users_own_keeps_its_name(scans: Path) -> None:
    config: Any = compose(["dataset=folder", f"dataset.root={scans}", *SHORT, "run_dir=a-nauto-b"])
    assert set_count(config, load_data(config)).run_dir == "a-nauto-b"
