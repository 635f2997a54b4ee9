"""The quality figures of synthetic pairs, what is dropped for them, and the files that tell of it."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor, nn

from genseg_betty.augment import Augmentation
from genseg_betty.config import conf_dir, load_dataset_config
from genseg_betty.data.inspect.check import check_dataset
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.errors import UserError
from genseg_betty.inference import Predictor, generate, load
from genseg_betty.inference.nearest_real import COPY
from genseg_betty.inference.pair_draws import PairDraws
from genseg_betty.inference.pair_gate import Judge, PairGate
from genseg_betty.run import Run
from inference.conftest import segmenter_state

TRAIN = ("case_0", "case_3", "case_4")


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "pairs.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def plain_run(config: DictConfig, make_run: Callable[..., Run]) -> Run:
    """A Run whose augmentation leaves masks as they are."""
    config.augment = OmegaConf.load(conf_dir() / "augment" / "none.yaml")
    return make_run()


@pytest.fixture
def memorise(monkeypatch: pytest.MonkeyPatch, data_root: Path) -> Callable[..., None]:
    """Makes the generator draw the training image of a mask for these cases, and noise for all others."""

    def patch(*cases: str) -> None:
        known = {}
        for case in cases:
            mask = np.asarray(Image.open(data_root / "masks" / f"{case}.png")) > 0
            image = np.asarray(Image.open(data_root / "images" / f"{case}.png"))
            known[mask.tobytes()] = torch.from_numpy(image / 127.5 - 1).float()[None]

        def render(self: Any, mask: Tensor) -> tuple[Tensor, Tensor]:
            noise = torch.rand(1, *mask.shape[1:]) * 2 - 1
            return known.get((mask[0].numpy() > 0).tobytes(), noise), mask[0]

        monkeypatch.setattr("genseg_betty.inference.renderer.Renderer.__call__", render)

    return patch


def test_each_pair_is_told_with_its_source_and_quality(run: Run, tmp_path: Path) -> None:
    """The agreement is that of the files: what the segmenter finds in the image, against the mask."""
    made = generate(run.path, 4, tmp_path / "out", seed=7)
    rows = read_rows(made.out)
    assert [row["file"] for row in rows] == ["0000", "0001", "0002", "0003"]
    segmenter = load(run.path)
    for row in rows:
        assert (row["kept"], row["reason"], row["run"], row["seed"]) == ("yes", "", "run", "7")
        assert row["source"] in TRAIN
        assert row["nearest"] in TRAIN
        assert -15 <= float(row["rotation"]) <= 15
        assert abs(float(row["shift_down"])) < 10
        image, mask = (
            np.asarray(Image.open(made.out / folder / f"{row['file']}.png")) for folder in ("images", "masks")
        )
        found, truth = segmenter(image) > 0, mask > 0
        dice = 2 * (found & truth).sum() / max(1, found.sum() + truth.sum())
        assert float(row["agreement"]) == pytest.approx(dice, abs=1e-6)
    assert (made.is_complete, made.judge, len(made.dropped)) == (True, "the Run's own segmenter", 0)
    assert made.sheet == made.out / "sheet.png"
    lines = made.describe()
    assert len(lines) == 2
    assert "the Run's own segmenter" in lines[0]


def test_the_same_command_makes_the_same_bytes(run: Run, tmp_path: Path) -> None:
    one, two = (generate(run.path, 3, tmp_path / name).out for name in ("one", "two"))
    files = read_files(one)
    assert files == read_files(two)
    assert sorted(files)[-2:] == ["pairs.csv", "sheet.png"]
    with Image.open(one / "sheet.png") as sheet:
        assert sheet.width > 1000


def test_copies_are_dropped_and_drawn_anew(
    plain_run: Run, memorise: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memorise("case_3")
    made = generate(plain_run.path, 6, tmp_path / "out")
    assert "is no independent judge; --judge RUN names one" in capsys.readouterr().err
    rows = read_rows(made.out)
    dropped = [row for row in rows if row["kept"] == "no"]
    assert {(row["reason"], row["file"], row["source"], row["nearest"]) for row in dropped} == {
        ("copy", "", "case_3", "case_3")
    }
    assert all(float(row["distance"]) < COPY for row in dropped)
    kept = [row for row in rows if row["kept"] == "yes"]
    assert [row["file"] for row in kept] == [f"{number:04}" for number in range(6)]
    assert {row["source"] for row in kept} == {"case_0", "case_4"}
    assert made.describe()[-1] == "dropped 3 of 9 draws: 3 as copies of a real image (1 of them)"

    # What is kept is what is drawn without a gate.
    free = generate(plain_run.path, 9, tmp_path / "free", gate=False)
    for row in kept:
        for folder in ("images", "masks"):
            file = free.out / folder / f"{int(row['draw']):04}.png"
            assert (made.out / folder / f"{row['file']}.png").read_bytes() == file.read_bytes()


def test_where_all_are_copies_nothing_is_written(plain_run: Run, memorise: Callable[..., None], tmp_path: Path) -> None:
    memorise(*TRAIN)
    for format in ("folder", "nnunet"):
        with pytest.raises(UserError, match=r"dropped 100 of 100 draws: 100 as copies of a real image \(3 of them\)"):
            generate(plain_run.path, 2, tmp_path / "out", format)
        assert not (tmp_path / "out").exists()
    made = generate(plain_run.path, 3, tmp_path / "out", min_distance=0)
    assert all(record.quality is not None and record.quality.distance < COPY for record in made.kept)
    assert [record.nearest for record in made.kept] == [record.source for record in made.kept]


def test_a_search_for_better_pairs_ends(
    plain_run: Run, memorise: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memorise("case_0", "case_3")
    monkeypatch.setattr("genseg_betty.inference.pair_selection.MOST_IN_A_ROW", 3)
    made = generate(plain_run.path, 30, tmp_path / "out")
    assert not made.is_complete
    assert 0 < len(made.kept) < 30
    assert len(list((made.out / "images").iterdir())) == len(made.kept)
    assert [record.reason for record in made.records[-3:]] == ["copy"] * 3


@pytest.fixture
def bright_judge(threshold: Any, preprocessing: Preprocessing, make_run: Callable[..., Run]) -> Run:
    """A Run whose segmenter is "brighter than 127.5", and which learned from one of the same images."""
    digests = {"case_0": "a", "case_1": "z"}
    return make_run("judge", {"predictor": segmenter_state(threshold(), preprocessing)}, sha256=digests)


def test_an_independent_judge_decides(
    make_run: Callable[..., Run],
    threshold: Any,
    preprocessing: Preprocessing,
    bright_judge: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    states = {"predictor": segmenter_state(threshold(), preprocessing)}
    run = make_run("own", states, sha256={"case_0": "a", "case_3": "b"})
    made = generate(run.path, 3, tmp_path / "out", judge=bright_judge.path)
    expected = "judge: the segmenter of judge, which learned from 1 of the Run's 2 labelled images\n"
    assert expected in capsys.readouterr().err
    for record in made.kept:
        image, mask = (np.asarray(Image.open(made.out / one / f"{record.file}.png")) for one in ("images", "masks"))
        both = ((image > 127) & (mask > 0)).sum()
        assert record.quality is not None
        assert record.quality.agreement == pytest.approx(2 * both / ((image > 127).sum() + (mask > 0).sum()), abs=1e-6)
    best = max(record.quality.agreement for record in made.kept if record.quality)
    with pytest.raises(UserError, match=r"100 as the judge finds something else.*The largest agreement was 0\.\d+"):
        generate(run.path, 3, tmp_path / "none", judge=bright_judge.path, min_agreement=min(1.0, best + 0.3))


def test_a_judge_of_other_classes_is_refused(
    run: Run, make_run: Callable[..., Run], preprocessing: Preprocessing, tmp_path: Path
) -> None:
    classes = ("background", "scar", "ulcer")
    other = replace(preprocessing, classes=classes, label_values=(0, 1, 2))
    judge = make_run("judge", {"predictor": segmenter_state(nn.Conv2d(1, 3, 1), other, 3)})
    with pytest.raises(UserError, match=r"cannot judge|segmenter saved"):
        generate(run.path, 1, tmp_path / "out", judge=judge.path)
    with pytest.raises(UserError, match=r"min_agreement is 1.5.*\n.*min_distance is -1"):
        generate(run.path, 1, tmp_path / "out", min_agreement=1.5, min_distance=-1)
    assert not (tmp_path / "out").exists()


def test_without_a_gate_nothing_is_measured(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gated = generate(run.path, 2, tmp_path / "gated").out

    def refuse(*arguments: Any) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr("genseg_betty.inference.pair_gate.load", refuse)
    monkeypatch.setattr("genseg_betty.inference.pair_gate.find_nearest", refuse)
    made = generate(run.path, 2, tmp_path / "free", gate=False)
    assert (made.sheet, made.describe()) == (None, [])
    assert "agreement" not in read_rows(made.out)[0]
    pairs = {name: content for name, content in read_files(gated).items() if "/" in name}
    assert pairs == {name: content for name, content in read_files(made.out).items() if "/" in name}


def test_table_and_sheet_do_not_disturb_the_dataset(run: Run, tmp_path: Path) -> None:
    out = generate(run.path, 6, tmp_path / "out").out
    report = check_dataset(load_dataset_config("folder", root=out))
    assert (report.pairs, report.errors, list(report.notes)) == (6, [], [])
    nnunet = generate(run.path, 2, tmp_path / "nnunet", format="nnunet").out
    assert [row["file"] for row in read_rows(nnunet)] == ["synthetic_0000", "synthetic_0001"]
    assert sorted(path.name for path in nnunet.iterdir()) == [
        "README.md", "nnUNet_preprocessed", "nnUNet_raw", "pairs.csv", "sheet.png",
    ]  # fmt: skip


def test_parts_of_volumes_are_compared_with_the_part_that_they_come_from() -> None:
    """A generator that draws the training volume where the mask was taken from is found out, whatever was moved."""
    random = np.random.default_rng(0)
    volumes = [torch.from_numpy(random.uniform(-1, 1, (1, 14, 40, 30))).float() for _ in range(3)]
    volumes = [torch.nn.functional.avg_pool3d(volume, 3, 1, 1) * 3 for volume in volumes]
    masks = [(volume[0] > 0.3).long() for volume in volumes]
    size = (8, 24, 36)
    draws = PairDraws(masks, size, 0, None, Augmentation())  # type: ignore[arg-type]
    settings = Preprocessing(size, 1, (0.0, 255.0), ("background", "foreground"), (0, 1), None, (2.0, 1.0, 1.0), "LPS")
    network = nn.Conv3d(1, 1, 1)
    gate = PairGate(Judge(Predictor(network, settings), "", settings), volumes, 0.0, COPY)

    class Copying:
        number = 0

        def __call__(self, mask: Tensor) -> tuple[Tensor, Tensor]:
            source = int(draws.order.indices(self.number))
            cut = draws.find_cut(source, self.number)
            assert cut is not None
            return cut.take_part(volumes[source], fill=-1), mask[0]

    copying = Copying()
    copier = replace(draws, renderer=copying, augment=Augmentation(rotate=0.0, flip=(), translate=0.0))  # type: ignore[arg-type]
    for copying.number in range(3):
        drawn = copier.draw_pair(copying.number)
        quality = gate.measure_pair(drawn, copier)
        assert (quality.nearest, gate.find_reason(quality)) == (drawn.source, "copy")
        assert drawn.cut is not None
        assert drawn.cut.start[2] == -3  # 30 pixels in the middle of 36
        noise = replace(drawn, image=torch.from_numpy(random.uniform(-1, 1, (1, *size))).float())
        assert gate.measure_pair(noise, copier).distance > 0.5
