"""Whole trainings at the smallest size: what a Run holds afterwards, for every method, backbone and kind of mask."""

import json
import os
import signal
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import genseg_betty as gs
from genseg_betty.errors import Interrupted, UserError
from genseg_betty.inference import evaluate_folders
from genseg_betty.levels.segmentation import SupervisedSegmentation
from genseg_betty.reporting import build_report
from genseg_betty.run.checksums import SUMS
from genseg_betty.training import run_training as training
from genseg_betty.training.loop import TrainingLoop
from methods.tiny import TINY
from states import different
from surroundings import call, with_streams

OVERRIDES = [
    *TINY,
    "trainer.warmup_iterations=2", "trainer.iterations=4", "trainer.finetune_iterations=1", "trainer.validate_every=2",
    "trainer.sample_every=4", "resume=restart",
]  # fmt: skip
PROMISED = {
    "schema", "name", "method", "dataset", "backbone", "generator", "seed", "image_size", "n_labelled", "n_train",
    "n_validation", "iterations", "warmup_iterations", "metric", "validation", "test", "seconds",
    "seconds_per_iteration", "peak_memory_bytes", "device", "parameters", "versions", "data_sha256", "finished",
}  # fmt: skip


def results(run) -> dict:
    return json.loads((run.path / "results.json").read_text())


@pytest.mark.parametrize("method", ["genseg", "separate", "vanilla", "combine"])
def test_every_method_leaves_a_whole_run(method, tmp_path):
    run = gs.train([*OVERRIDES, f"method={method}", f"run_dir={tmp_path / 'run'}"])
    found = results(run)
    assert found.keys() >= PROMISED
    assert (found["n_labelled"], found["n_train"], found["n_validation"]) == (9, 7, 2)
    assert found["iterations"] == 4
    assert found["test"].keys() == {"phantom", "phantom_shifted"}
    assert all(0 <= scores["dice"] <= 1 and scores["cases"] == 2 for scores in found["test"].values())
    assert run.read_status()["state"] == "finished"
    for name in ("config.yaml", "splits.json", "metrics.csv", "report.html", "test-phantom.csv"):
        assert (run.path / name).stat().st_size > 0, name
    assert list(run.samples_dir.glob("*.png"))
    with torch.no_grad():
        mask = gs.load(run.path)(np.zeros((40, 50), np.uint8))
    assert mask.shape == (40, 50)
    assert set(np.unique(mask)) <= {0, 1}


def test_all_images_may_be_labelled_and_none_tested_on(tmp_path, capsys):
    labelled = [*OVERRIDES, "dataset.count=10", "dataset.n_labelled=10", "dataset.n_test=0", "method=vanilla"]
    run = gs.train([*labelled, "ood=[]", f"run_dir={tmp_path / 'run'}"])
    found = results(run)
    assert (found["n_train"], found["n_validation"], found["test"]) == (8, 2, {})
    assert 0 <= found["validation"]["best"] <= 1
    assert "no test scores: there are no test images" in capsys.readouterr().err
    assert "No test scores" in (run.path / "report.html").read_text()


def test_a_finished_run_is_left_as_it_is(tmp_path, capsys):
    command = [*OVERRIDES, "method=vanilla", "resume=auto", f"run_dir={tmp_path / 'run'}"]
    run = gs.train(command)
    printed = capsys.readouterr().err
    assert "Dice" in printed
    assert str(run.path / "report.html") in printed.replace("\n", "")
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*.*") if path.name != "config.yaml"}
    gs.train(command)
    assert "is finished" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_results_that_are_lost_are_made_again_from_the_checkpoint(tmp_path):
    command = [*OVERRIDES, "method=vanilla", "resume=auto", f"run_dir={tmp_path / 'run'}"]
    first = results(gs.train(command))
    for lost in ("results.json", "checkpoints/predictor.pt"):
        (tmp_path / "run" / lost).unlink()
        again = results(gs.train(command))
        assert (again["test"], again["validation"]) == (first["test"], first["validation"])
        assert (tmp_path / "run" / lost).exists()


@pytest.mark.parametrize("streams", ["closed", "full", "broken"])
def test_streams_that_take_nothing_end_no_training(streams, tmp_path):
    path = tmp_path / "run"
    assert call(with_streams, streams, [*OVERRIDES, "method=vanilla", "ood=[]", f"run_dir={path}"]) == 0
    assert json.loads((path / "status.json").read_text())["state"] == "finished"
    assert (path / "metrics.csv").read_text().startswith("step,phase,name,value\n2,")


def test_a_disk_that_is_full_in_the_middle_is_told_and_the_training_goes_on_later(tmp_path, monkeypatch):
    command = [
        *OVERRIDES, "method=vanilla", "trainer.checkpoint_every=2", "trainer.select=best", "resume=auto",
        f"run_dir={tmp_path / 'run'}",
    ]  # fmt: skip

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("genseg_betty.training.loop.draw_samples", full)
        with pytest.raises(UserError, match=r"the disk is full .*No space left.*goes on from its last checkpoint"):
            gs.train(command)
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"
    require_what_it_goes_on_from(tmp_path / "run", command)
    assert results(gs.train(command))["iterations"] == 4


def require_what_it_goes_on_from(path, command):
    """A training that is to go on without its best segmenter, or from a checkpoint of something else, is refused."""
    last, best = (path / "checkpoints" / f"{name}.pt" for name in ("last", "best"))
    content = {file: file.read_bytes() for file in (last, best, path / SUMS)}
    best.unlink()
    with pytest.raises(UserError, match=r"best\.pt .* is gone, .*Put back a copy of it"):
        gs.train(command)
    last.write_bytes(content[best])
    with pytest.raises(UserError, match=r"last\.pt cannot be read .*does not hold what was written"):
        gs.train(command)
    (path / SUMS).unlink()
    with pytest.raises(UserError, match=r"last\.pt of .* is no checkpoint of this training .*KeyError: 'engine'"):
        gs.train(command)
    for file, was in content.items():
        file.write_bytes(was)


def test_a_best_segmenter_younger_than_the_checkpoint_is_known_by_what_it_says(tmp_path):
    command = [*OVERRIDES, "method=vanilla", "trainer.select=best", "resume=auto", f"run_dir={tmp_path / 'run'}"]
    run = gs.train(command)
    younger = {**run.load_checkpoint("best"), "validation": {"score": 2.0, "step": 5}}
    run.save_checkpoint("best", younger)  # a kill came before the checkpoint of that step
    found = results(gs.train([*command, "trainer.iterations=6"]))
    assert (found["validation"]["best"], found["validation"]["step"]) == (2.0, 5)
    assert not different(run.load_checkpoint("predictor"), younger)


def test_skipped_steps_are_counted_on_the_screen_in_the_status_and_in_the_report(tmp_path, capsys, monkeypatch):
    step = SupervisedSegmentation.training_step
    monkeypatch.setattr(SupervisedSegmentation, "training_step", lambda level, batch: step(level, batch) * torch.nan)
    command = [*OVERRIDES, "method=vanilla", "ood=[]"]
    with pytest.raises(UserError, match=r"level 'segmenter' was not finite in 2 steps in a row"):
        gs.train([*command, "trainer.max_nonfinite=2", f"run_dir={tmp_path / 'failed'}"])
    assert json.loads((tmp_path / "failed" / "status.json").read_text())["skipped"] == {"segmenter": 2}
    run = gs.train([*command, f"run_dir={tmp_path / 'run'}"])
    assert run.read_status()["skipped"] == results(run)["skipped"] == {"segmenter": 4}
    assert "not finite: 4 of segmenter" in capsys.readouterr().err
    assert "Not finite: 4 segmenter steps skipped" in (run.path / "report.html").read_text()


def test_alpha_starts_uniform_and_moves_only_with_a_hypergradient(tmp_path):
    learned = results(gs.train([*OVERRIDES, f"run_dir={tmp_path / 'exact'}"]))["architecture"]
    rested = results(gs.train([*OVERRIDES, "hypergradient=none", f"run_dir={tmp_path / 'none'}"]))["architecture"]
    for half in ("down", "up"):
        assert np.allclose(rested[half], 1 / 3)
        assert not np.allclose(learned[half], 1 / 3)
        assert np.allclose(np.sum(learned[half], axis=1), 1)
    assert len(learned["kept"]) == len(learned["down"]) + len(learned["up"])


@pytest.mark.parametrize(
    "backbone",
    [
        ["backbone=unet", "backbone.encoder=resnet18", "backbone.base_channels=4", "image_size=64"],
        ["backbone=deeplab", "backbone.encoder=resnet18", "backbone.base_channels=2"],
    ],
    ids=["unet", "deeplab"],
)
def test_smp_backbones_learn_in_the_joint_phase(backbone, tmp_path):
    without = [override for override in OVERRIDES if not override.startswith("backbone")]
    run = gs.train([*without, *backbone, "trainer.iterations=2", f"run_dir={tmp_path / 'run'}"])
    found = results(run)
    assert not np.allclose(found["architecture"]["down"], 1 / 3)
    assert not any(found["skipped"].values())


@pytest.fixture
def three_classes(tmp_path):
    """A folder of RGB images with the label values 0, 3 and 7, not square, of two sizes."""
    source = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for index in range(14):
        height, width = (40, 48) if index % 2 else (44, 36)
        mask = np.zeros((height, width), np.uint8)
        mask[5:20, 5:20], mask[22:36, 10:30] = 3, 7
        noise = source.integers(0, 60, (height, width, 3))
        image = (noise + mask[..., None].astype(int) * 25).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "data" / "images" / f"case-{index:02}.png")
        Image.fromarray(mask).save(tmp_path / "data" / "masks" / f"case-{index:02}.png")
    return tmp_path / "data"


def test_several_classes_from_a_folder(three_classes, tmp_path, capsys):
    own = ["dataset=folder", f"dataset.root={three_classes}", "dataset.labels={background: 0, edge: 3, core: 7}"]
    run = gs.train([*OVERRIDES, *own, "ood=[]", f"run_dir={tmp_path / 'run'}"])
    row = (run.path / "test-folder.csv").read_text().splitlines()[0]
    assert row.startswith("id,dice,jaccard,precision,recall,hd95,assd,surface_dice,distance_unit,dice_edge,dice_core,")
    mask = gs.load(run.path)(np.zeros((40, 48, 3), np.uint8))
    assert set(np.unique(mask)) <= {0, 1, 2}

    # The screen tells what results.json says, class by class.
    found = results(run)["test"]["folder"]
    edge, core = found["classes"]["edge"], found["classes"]["core"]
    assert found["dice"] == pytest.approx((edge["dice"] + core["dice"]) / 2)
    screen = capsys.readouterr().err
    for line in (
        f"  folder: Dice {found['dice']:.3f}, Jaccard {found['jaccard']:.3f} (2 cases)\n",
        f"    precision {found['precision']:.3f}, recall {found['recall']:.3f}, surface Dice ",
        f"    edge: Dice {edge['dice']:.3f}, Jaccard {edge['jaccard']:.3f}\n",
        f"    core: Dice {core['dice']:.3f}, Jaccard {core['jaccard']:.3f}\n",
    ):
        assert line in screen


def test_a_run_with_numbered_classes_is_reported_and_scored_anew(three_classes, tmp_path):
    """As earlier versions wrote it: Dice and Jaccard alone, columns by number."""
    own = ["dataset=folder", f"dataset.root={three_classes}", "dataset.labels={background: 0, edge: 3, core: 7}"]
    run = gs.train([*OVERRIDES, *own, "ood=[]", f"run_dir={tmp_path / 'run'}"])
    now = results(run)
    then = {"folder": {"dice": 0.25, "jaccard": 0.125, "cases": 2}}
    run.write_json("results.json", {**now, "test": then})
    ids = [line.split(",")[0] for line in (run.path / "test-folder.csv").read_text().splitlines()[1:]]
    rows = [f"{name},0.25,0.125,0.3,0.2,0.15,0.1\n" for name in ids]
    (run.path / "test-folder.csv").write_text("id,dice,jaccard,dice_1,dice_2,jaccard_1,jaccard_2\n" + "".join(rows))

    page = build_report([run.path], tmp_path / "page.html").read_text()
    assert '<th scope="row">1</th><td>0.300</td><td>0.150</td>' in page
    anew = evaluate_folders(run.path, three_classes / "images", three_classes / "masks")
    assert (anew.dice, anew.classes) == (now["test"]["folder"]["dice"], now["test"]["folder"]["classes"])
    assert "dice_edge" in anew.per_case.read_text()
    assert results(run)["test"] == then


def test_data_faults_leave_no_run_behind(three_classes, tmp_path):
    (three_classes / "masks" / "case-00.png").unlink()
    (three_classes / "images" / "case-01.png").write_bytes(b"no image")
    own = ["dataset=folder", f"dataset.root={three_classes}", "dataset.labels={background: 0, edge: 3, core: 7}"]
    with pytest.raises(UserError) as caught:
        gs.train([*OVERRIDES, *own, "ood=[]", f"run_dir={tmp_path / 'run'}"])
    assert "case-00" in str(caught.value)
    assert "case-01" in str(caught.value)
    assert not (tmp_path / "run").exists()


OTHER_SIGNALS = [pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGINT, signal.SIGHUP)]


@pytest.mark.parametrize("number", [signal.SIGTERM, *OTHER_SIGNALS])
def test_a_signal_outside_the_steps_interrupts_too(number, tmp_path, monkeypatch):
    command = [*OVERRIDES, "resume=auto", f"run_dir={tmp_path / 'run'}"]

    def stopped(*_):
        os.kill(os.getpid(), number)
        raise AssertionError("the signal did nothing")

    with monkeypatch.context() as patch:
        patch.setattr(training, "score_test_sets", stopped)
        with pytest.raises(Interrupted) as caught:
            gs.train(command)
    assert caught.value.signal_number == number
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "interrupted"
    assert not (tmp_path / "run" / "results.json").exists()
    assert results(gs.train(command))["iterations"] == 4
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("ends", [True, False])
def test_a_launchers_handler_is_called_once_the_checkpoint_is_written(ends, tmp_path, monkeypatch):
    """submitit's handler of SIGUSR2 queues the job anew and exits, that of SIGTERM returns: the training goes on."""
    command = [*OVERRIDES, "resume=auto", f"run_dir={tmp_path / 'run'}"]
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    found = []

    def handler(number, frame):
        found.append(last.exists())
        if ends:
            sys.exit(1)

    follow_step = TrainingLoop._follow_step

    def follow_and_signal(loop, phase):
        follow_step(loop, phase)
        if loop.engine.global_step == 3:
            os.kill(os.getpid(), signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(TrainingLoop, "_follow_step", follow_and_signal)
            if ends:
                with pytest.raises(SystemExit):
                    gs.train(command)
            else:
                assert results(gs.train(command))["iterations"] == 4
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert found == [True]
    if ends:
        status = json.loads((tmp_path / "run" / "status.json").read_text())
        assert (status["state"], status["step"]) == ("interrupted", 3)
        assert results(gs.train(command))["iterations"] == 4


def test_a_run_is_not_continued_on_other_images_and_keeps_what_it_has(three_classes, tmp_path):
    labels = "dataset.labels={background: 0, a: 3, b: 7}"
    command = [
        *OVERRIDES, "method=vanilla", "dataset=folder", f"dataset.root={three_classes}", labels, "dataset.n_labelled=4",
        "ood=[]", "resume=auto", f"run_dir={tmp_path / 'run'}",
    ]  # fmt: skip
    run = gs.train(command)
    before = {path: path.read_bytes() for path in run.path.rglob("*.*") if path.is_file()}
    split = json.loads((run.path / "splits.json").read_text())
    image = three_classes / "images" / f"{split['train'][0]}.png"
    pixels = image.read_bytes()
    Image.fromarray(np.zeros_like(np.asarray(Image.open(image)))).save(image)
    with pytest.raises(UserError, match="began with other images"):
        gs.train([*command, "trainer.iterations=6"])
    assert {path: path.read_bytes() for path in before} == before
    image.write_bytes(pixels)
    splits = (run.path / "splits.json").rename(tmp_path / "splits.json")
    with pytest.raises(UserError, match=r"splits\.json is gone, which alone says"):
        gs.train([*command, "trainer.iterations=6"])
    splits.rename(run.path / "splits.json")
    assert results(gs.train([*command, "trainer.iterations=6"]))["iterations"] == 6


def test_a_prolonged_separate_trains_its_segmenter_on_and_its_generator_not(tmp_path):
    command = [*OVERRIDES, "method=separate", "resume=auto", f"run_dir={tmp_path / 'run'}"]
    run = gs.train(command)
    first = run.load_checkpoint("generator")["weights"]
    steps = {level: state["count"] for level, state in run.load_checkpoint("last")["engine"]["levels"].items()}
    assert steps == {"discriminator": 6, "generator": 6, "segmenter": 4}
    assert results(gs.train([*command, "trainer.iterations=7"]))["iterations"] == 7
    second = run.load_checkpoint("generator")["weights"]
    assert all(torch.equal(first[name], second[name]) for name in first)
