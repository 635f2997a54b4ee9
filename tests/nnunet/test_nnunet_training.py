"""nnU-Net itself, on tiny sets on a CPU: it takes what it is given, trains, and is scored as others are."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from genseg_betty import train
from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.errors import UserError
from genseg_betty.inference import generate, load
from genseg_betty.nnunet.commands import make_environment
from genseg_betty.nnunet.export import export_cases
from methods.tiny import TINY
from nnunet.pairs import write_pictures, write_volumes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("nnunetv2") is None, reason="needs the extra nnunet: make setup-nnunet"),
]
UPDATES = 12


def words(data: Path, run: Path) -> list[str]:
    return [
        "method=nnunet", "dataset=folder", f"dataset.root={data}", "dataset.n_labelled=5", "dataset.n_test=2",
        "device=cpu", f"trainer.iterations={UPDATES}", f"run_dir={run}",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_pictures(root, 9, "rgb")
    return root


@pytest.fixture(scope="module")
def run_path(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished Run."""
    path: Path = train(words(data, tmp_path_factory.mktemp("runs") / "run")).path
    return path


def read_json(path: Path) -> dict:
    found: dict = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_nnunet_makes_as_many_updates_as_other_methods(run_path: Path) -> None:
    results = read_json(run_path / "results.json")
    assert (results["iterations"], results["nnunet"]["updates"], results["nnunet"]["epochs"]) == (UPDATES, UPDATES, 1)
    (log,) = run_path.glob("nnUNet_results/*/*/fold_0/training_log_*.txt")
    assert "Epoch 0" in log.read_text(encoding="utf-8")
    assert "Epoch 1" not in log.read_text(encoding="utf-8")
    whole = (run_path / "nnunet.log").read_text(encoding="utf-8")
    assert re.findall(r"^update (\d+)$", whole, flags=re.M) == ["10"]
    plan = read_json(next(run_path.glob("nnUNet_preprocessed/*/nnUNetPlans.json")))["configurations"]["2d"]
    assert results["nnunet"]["batch_size"] == plan["batch_size"]
    assert results["nnunet"]["patch_size"] == plan["patch_size"]
    told = f"{UPDATES} updates in 1 epochs (budget equal), {plan['batch_size']} patches of"
    assert told in (run_path / "report.html").read_text(encoding="utf-8")


def test_nnunet_passes_its_own_check_and_learns_from_our_split(run_path: Path) -> None:
    assert "verify_dataset_integrity Done" in (run_path / "nnunet.log").read_text(encoding="utf-8")
    splits = read_json(run_path / "splits.json")
    (fold,) = read_json(next(run_path.glob("nnUNet_preprocessed/*/splits_final.json")))
    assert fold["train"] == [f"folder-{id.replace(' ', '_')}" for id in splits["train"]]
    assert fold["val"] == [f"folder-{id.replace(' ', '_')}" for id in splits["validation"]]
    (log,) = run_path.glob("nnUNet_results/*/*/fold_0/training_log_*.txt")
    assert "This split has 4 training and 1 validation cases." in log.read_text(encoding="utf-8")


def test_nnunet_is_scored_by_what_it_has_predicted(run_path: Path, data: Path) -> None:
    """Dice of the files that nnU-Net has written and the masks as they are stored, counted here."""
    (predictions,) = run_path.glob("nnUNet_results/*/predictions")
    with (run_path / "test-folder.csv").open(encoding="utf-8") as file:
        rows = {row["id"]: float(row["dice"]) for row in csv.DictReader(file)}
    assert sorted(rows) == read_json(run_path / "splits.json")["test"]
    for id, dice in rows.items():
        found = np.asarray(Image.open(predictions / f"folder-{id.replace(' ', '_')}.png")) > 0
        truth = np.asarray(Image.open(data / "masks" / f"{id}.png")) > 0
        assert dice == pytest.approx(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    results = read_json(run_path / "results.json")
    assert results["test"]["folder"]["dice"] == pytest.approx(np.mean(list(rows.values())))
    assert 0 <= results["validation"]["best"] <= 1


def test_nnunet_is_not_asked_twice(run_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run_path / "nnunet.log").read_bytes()
    train(words(data, run_path))
    assert "is finished" in capsys.readouterr().err
    assert (run_path / "nnunet.log").read_bytes() == before
    with pytest.raises(UserError, match=f"for {UPDATES} updates.*cannot be prolonged to 20.*resume=restart"):
        train([*words(data, run_path), "trainer.iterations=20"])


def test_nnunet_alone_predicts_and_the_command_is_told(run_path: Path, data: Path, tmp_path: Path) -> None:
    """The command of the message, on the first test image, gives the mask that was scored."""
    with pytest.raises(UserError, match="which nnU-Net alone runs") as caught:
        load(run_path)
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    first = sorted(run_path.glob("nnUNet_raw/*/imagesTs/*.png"))[0]
    (images / first.name).write_bytes(first.read_bytes())
    command = " ".join(str(caught.value).splitlines()[1:]).replace("\\", "")
    command = command.replace("IMAGES", str(images)).replace("MASKS", str(masks))
    folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(f"{command} -device cpu", shell=True, check=True, env=environment, timeout=300)
    (mask,) = masks.glob("*.png")
    scored = next(run_path.glob(f"nnUNet_results/*/predictions/{mask.name}"))
    np.testing.assert_array_equal(np.asarray(Image.open(mask)), np.asarray(Image.open(scored)))


def test_nnunet_is_ended_with_the_training_and_goes_on(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "genseg_betty", *words(data, run)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    log = run / "nnunet.log"
    wait_for(lambda: log.exists() and "update 10" in log.read_text(encoding="utf-8"), child)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=120)
    assert child.returncode == 128 + signal.SIGINT, told
    assert read_json(run / "status.json")["state"] == "interrupted"
    assert not processes_of(run)
    found = train(words(data, run))
    assert found.read_status()["state"] == "finished"
    text = log.read_text(encoding="utf-8")
    assert text.count("$ nnUNetv2_plan_and_preprocess") == 1
    assert text.count("$ nnUNetv2_train") == 2
    assert " --c\n" in text


def wait_for(condition: Callable[[], bool], child: subprocess.Popen[str]) -> None:
    for _ in range(9000):
        if condition():
            return
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    pytest.fail("it does not train")


def processes_of(run: Path) -> list[str]:
    """Processes whose environment names the Run."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"nnUNet_raw={run}".encode() in file.read_bytes():
                found.append(file.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("kind", ["gray", "rgba", "sixteen", "float", "volumes"])
def test_nnunet_checks_each_kind_of_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads in place of its processes, which take long to start."""
    from nnunetv2.experiment_planning import verify_dataset_integrity as check

    monkeypatch.setattr(check.multiprocessing, "get_context", lambda method: SimpleNamespace(Pool=ThreadPool))
    if kind == "volumes":
        write_volumes(tmp_path / "data", 8, (0.7, 0.8, 2.0))
    else:
        write_pictures(tmp_path / "data", 8, kind)
    config = compose(["dataset=folder", f"dataset.root={tmp_path / 'data'}", "dataset.n_labelled=4"])
    exported = export_cases(load_data(config), tmp_path, "", resize=False)
    check.verify_dataset_integrity(str(exported.dataset.folder), num_processes=1)


def test_nnunet_trains_on_generated_pairs_by_the_commands_that_are_told(tmp_path: Path) -> None:
    steps = ["trainer.iterations=2", "trainer.warmup_iterations=1", "trainer.finetune_iterations=1", "ood=[]"]
    run = train([*TINY, *steps, "method=separate", "dataset.n_labelled=6", f"run_dir={tmp_path / 'run'}"])
    out = generate(run.path, 3, tmp_path / "out", format="nnunet").out
    text = (out / "README.md").read_text(encoding="utf-8")
    commands = re.search(r"```bash\n(.*?)```", text, flags=re.S)
    assert commands is not None
    lines = [line for line in commands[1].splitlines() if not line.startswith("nnUNetv2_train 1")]
    lines[-1] = lines[-1].split("#")[0] + " -device cpu -tr nnUNetTrainerEqualUpdates"
    environment = make_environment(out) | {"GENSEG_NNUNET_UPDATES": "2"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    script = "\n".join(["set -e", *lines])
    done = subprocess.run(["bash", "-c", script], cwd=out, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    real = read_json(out / "nnUNet_preprocessed" / "Dataset001_Real" / "nnUNetPlans.json")
    mixed = read_json(out / "nnUNet_preprocessed" / "Dataset002_RealAndSynthetic" / "nnUNetPlansReal.json")
    assert mixed["configurations"]["2d"]["batch_size"] == real["configurations"]["2d"]["batch_size"]
    assert mixed["foreground_intensity_properties_per_channel"] == real["foreground_intensity_properties_per_channel"]
    assert "This split has 8 training and 1 validation cases." in done.stdout
