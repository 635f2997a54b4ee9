"""A Run on disk: resumed, refused, locked, and whole after a kill at any moment."""

import copy
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from genseg_betty.config import compose
from genseg_betty.errors import UserError
from genseg_betty.lock import Lock, is_alive, process_start
from genseg_betty.run import Run
from genseg_betty.run.checksums import SUMS
from genseg_betty.run.migrations import migrate_config
from genseg_betty.run.saved_config import find_differences, read_config, resolve_config

CONFIG: dict[str, Any] = {
    "seed": 0,
    "device": "auto",
    "name": None,
    "image_size": "${dataset.image_size}",
    "dataset": {"name": "phantom", "image_size": [64, 64]},
    "trainer": {"iterations": 10, "checkpoint_every": 5, "optimizers": {"segmenter": {"lr": 1e-5}}},
    "logger": {"name": "csv"},
}


def changed(**dotted: Any) -> dict[str, Any]:
    config = json.loads(json.dumps(CONFIG))
    for key, value in dotted.items():
        *parents, last = key.split("__")
        node = config
        for parent in parents:
            node = node[parent]
        node[last] = value
    return config


def trained(path: Path, **state: Any) -> Run:
    with Run.start(path, CONFIG) as run:
        run.log(1, "joint", {"generator": 0.5})
        run.save_checkpoint("last", {"step": 10, **state})
        run.status("finished", step=10)
    return run


def child(code: str, *args: object) -> subprocess.Popen[str]:
    """A Python process running `code`; returns once it has printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def test_a_new_run_writes_its_resolved_config_and_status(tmp_path: Path) -> None:
    with Run.start(tmp_path / "deep" / "run", CONFIG) as run:
        assert not run.resuming
        status = run.read_status()
        assert status["state"] == "running"
        assert status["pid"] == os.getpid()
        assert status["host"] == platform.node()
        assert status["updated"].endswith("+00:00")
        assert run.config.image_size == [64, 64]
    assert "${" not in (run.path / "config.yaml").read_text()
    assert Run.open(run.path).config == run.config
    assert sorted(file.name for file in run.path.iterdir()) == [SUMS, "config.yaml", "status.json"]


def test_status_keeps_the_step_it_is_not_told(tmp_path: Path) -> None:
    with Run.start(tmp_path, CONFIG) as run:
        run.status("running", step=7)
        run.status("running", skipped={"generator": 2})
        run.status("failed", message="out of memory")
        status = run.read_status()
        assert (status["step"], status["skipped"], status["message"]) == (7, {"generator": 2}, "out of memory")
        with pytest.raises(ValueError, match="state"):
            run.status("done")


def test_auto_continues_from_the_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path)
    with Run.start(tmp_path, CONFIG) as run:
        assert run.resuming
        assert run.read_status()["state"] == "finished"
        assert len(run.metrics()) == 1


def test_auto_starts_anew_where_a_killed_run_left_no_checkpoint(tmp_path: Path) -> None:
    with Run.start(tmp_path, CONFIG) as run:
        run.log(1, "joint", {"generator": 0.5})
        (run.samples_dir / "0001.png").touch()
        (run.samples_dir / "test-nlm_mc-best-image.jpg").touch()
        run.write_json("pictures.json", {"nlm_mc": []})
    (tmp_path / ".metrics.csv.genseg-tmp").touch()
    with Run.start(tmp_path, changed(seed=1)) as run:
        assert not run.resuming
        assert run.metrics() == []
        assert list(run.samples_dir.iterdir()) == []
        assert not (tmp_path / "pictures.json").exists()
        assert run.config.seed == 1
    assert not list(tmp_path.glob(".*"))


def test_what_a_kill_left_of_a_checkpoint_goes_when_the_run_goes_on(tmp_path: Path) -> None:
    trained(tmp_path)
    for _ in range(2):
        (tmp_path / "checkpoints" / ".0123456789abcdef.genseg-tmp").touch()
        with Run.start(tmp_path, CONFIG) as run:
            assert run.resuming
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.pt"]
    elsewhere = tmp_path.with_name("elsewhere")
    (tmp_path / "checkpoints").rename(elsewhere)
    (tmp_path / "checkpoints").symlink_to(elsewhere)
    (elsewhere / ".0123456789abcdef.genseg-tmp").touch()  # perhaps of a Run that shares the folder and is alive
    with Run.start(tmp_path, CONFIG) as run:
        assert run.resuming
    assert len(list(elsewhere.iterdir())) == 2


def test_a_key_of_a_later_version_that_is_not_set_keeps_no_run_from_going_on(tmp_path: Path) -> None:
    trained(tmp_path)
    with Run.start(tmp_path, changed(dataset__threshold=None, dataset__scaled_masks=False, dataset__ignore=[])) as run:
        assert run.resuming


def test_every_differing_key_is_named_with_both_values(tmp_path: Path) -> None:
    trained(tmp_path)
    config = changed(seed=1, dataset__image_size=[32, 64], trainer__optimizers__segmenter__lr=1e-4, extra="x")
    with pytest.raises(UserError) as error:
        Run.start(tmp_path, config)
    for line in (
        "seed: 0 in the Run, 1 now",
        "dataset.image_size: [64, 64] in the Run, [32, 64] now",
        "image_size: [64, 64] in the Run, [32, 64] now",
        "trainer.optimizers.segmenter.lr: 1e-05 in the Run, 0.0001 now",
        "extra: absent in the Run, x now",
    ):
        assert line in str(error.value)
    assert Run.open(tmp_path).config.seed == 0
    trained(tmp_path)  # the refusal has released the lock and left the Run as it was


def test_keys_that_say_where_it_runs_may_change(tmp_path: Path) -> None:
    trained(tmp_path)
    config = changed(device="cuda", name="b", trainer__checkpoint_every=1, logger={"name": "wandb", "project": "x"})
    with Run.start(tmp_path, config) as run:
        assert run.resuming
    assert Run.open(tmp_path).config.device == "cuda"


def test_iterations_may_only_grow(tmp_path: Path) -> None:
    trained(tmp_path)
    with Run.start(tmp_path, changed(trainer__iterations=20)) as run:
        assert run.resuming
        assert run.config.trainer.iterations == 20
    with pytest.raises(UserError, match=r"trainer\.iterations: 20 in the Run, 10 now"):
        Run.start(tmp_path, CONFIG)


def test_a_finished_run_without_checkpoint_is_not_thrown_away(tmp_path: Path) -> None:
    trained(tmp_path)
    (tmp_path / "checkpoints" / "last.pt").unlink()
    with pytest.raises(UserError, match="resume=restart"):
        Run.start(tmp_path, CONFIG)
    assert len(Run.open(tmp_path).metrics()) == 1


def test_never_wants_an_empty_directory(tmp_path: Path) -> None:
    Run.start(tmp_path / "new", CONFIG, "never").close()
    for path in (tmp_path, tmp_path / "new"):
        with pytest.raises(UserError, match="not empty"):
            Run.start(path, CONFIG, "never")
    assert not (tmp_path / ".lock").exists()


def test_restart_deletes_only_what_a_run_owns(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept.png").touch()
    path = tmp_path / "run"
    trained(path)
    (path / "notes.txt").touch()
    (path / "checkpoints" / "mine.onnx").touch()
    (path / "samples").symlink_to(elsewhere)
    with Run.start(path, changed(seed=3), "restart") as run:
        assert not run.resuming
        assert run.load_checkpoint("last") is None
    assert (path / "notes.txt").exists()
    assert (path / "checkpoints" / "mine.onnx").exists()
    assert (elsewhere / "kept.png").exists()


@pytest.mark.parametrize("resume", ["auto", "restart"])
def test_a_directory_of_someone_else_is_refused(tmp_path: Path, resume: str) -> None:
    (tmp_path / "metrics.csv").write_text("mine")
    (tmp_path / "status.json").write_text('{"state": "of mind"}')
    with pytest.raises(UserError, match=re.escape("metrics.csv, status.json")):
        Run.start(tmp_path, CONFIG, resume)
    assert (tmp_path / "metrics.csv").read_text() == "mine"


def test_open_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.yaml"):
        Run.open(tmp_path)
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match="cannot be read"):
        Run.open(tmp_path)


REFERENCES = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
INTERPOLATIONS = ["a0: x", *(f"a{n}: ${{a{n - 1}}}${{a{n - 1}}}" for n in range(1, 40))]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [(REFERENCES, "refers"), (INTERPOLATIONS, "refers"), (["a: " + "x" * 2**20], "holds more than 1048576 bytes")],
    ids=["references", "interpolations", "size"],
)
def test_a_config_of_few_lines_cannot_fill_the_memory(lines: list[str], reason: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(UserError, match=rf"config\.yaml cannot be read: it {reason}"):
        Run.open(tmp_path)


def test_no_line_is_added_to_a_file_elsewhere(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    (run.path / "metrics.csv").unlink(missing_ok=True)
    (run.path / "metrics.csv").symlink_to(elsewhere)
    with pytest.raises(UserError, match=r"metrics\.csv leads to a file outside of the Run"):
        Run.start(run.path, CONFIG)
    assert elsewhere.read_text() == "mine"


def test_a_path_that_cannot_be_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        Run.start(tmp_path / "file", CONFIG)


def test_a_live_holder_is_named(tmp_path: Path) -> None:
    with Run.start(tmp_path, CONFIG), pytest.raises(UserError) as error:
        Run.start(tmp_path, CONFIG)
    assert f"process {os.getpid()} on host {platform.node()}" in str(error.value)
    Run.start(tmp_path, CONFIG).close()


def test_the_lock_of_a_killed_process_is_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys, time; from genseg_betty.lock import *; from pathlib import Path\n"
        "Lock(Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(60)"
    )
    process = child(code, tmp_path / ".lock")
    with pytest.raises(UserError, match=f"process {process.pid} "):
        Lock(tmp_path / ".lock").acquire()
    process.send_signal(signal.SIGKILL)
    started = time.monotonic()
    while is_alive(process.pid, None) and time.monotonic() - started < 10:  # a zombie: not yet waited for
        time.sleep(0.01)
    Run.start(tmp_path, CONFIG).close()
    process.wait()


@pytest.mark.parametrize(
    ("content", "held"),
    [
        ({"pid": os.getpid(), "host": platform.node(), "started": "1"}, False),  # the id was given anew
        ({"pid": os.getpid(), "host": platform.node(), "started": process_start(os.getpid())}, True),
        ({"pid": os.getpid(), "host": platform.node(), "started": None}, True),
        ({"pid": 1, "host": "elsewhere", "started": "1"}, True),
    ],
)
def test_what_counts_as_held(tmp_path: Path, content: dict[str, Any], held: bool) -> None:
    path = tmp_path / ".lock"
    path.write_text(json.dumps(content))
    lock = Lock(path)
    if held:
        with pytest.raises(UserError, match=re.escape(content["host"])):
            lock.acquire()
        lock.release()
        assert path.exists()  # not ours to remove
    else:
        lock.acquire()
        lock.release()
        assert not path.exists()


def test_an_unfinished_lock_file_is_held_while_fresh(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.touch()
    with pytest.raises(UserError):
        Lock(path).acquire()
    os.utime(path, (0, 0))
    Lock(path).acquire()


def test_metrics_keep_the_bytes_of_floats(tmp_path: Path) -> None:
    values = {"generator": 0.1 + 0.2, "discriminator": 1e-300, "up.0.upconv_823": 1 / 3, "bad": float("nan")}
    with Run.start(tmp_path, CONFIG) as run:
        run.log(1, "joint", values)
        run.log(2, "system", {"memory_bytes": 5})
        run.log(3, "joint", {"tensor": torch.tensor(0.5)})
        text = (tmp_path / "metrics.csv").read_text()
        rows = run.metrics()
    assert text.startswith("step,phase,name,value\n1,joint,generator,0.30000000000000004\n")
    assert [row["value"] for row in rows[:3]] == list(values.values())[:3]
    assert rows[4] == {"step": 2, "phase": "system", "name": "memory_bytes", "value": 5.0}


def test_dropped_rows_leave_the_bytes_of_an_uninterrupted_run(tmp_path: Path) -> None:
    with Run.start(tmp_path / "whole", CONFIG) as run:
        for step in range(1, 5):
            run.log(step, "joint", {"a": step / 3, "b": step / 7})
    with Run.start(tmp_path / "killed", CONFIG) as killed:
        for step in range(1, 4):
            killed.log(step, "joint", {"a": step / 3, "b": step / 7})
        with (killed.path / "metrics.csv").open("a") as file:
            file.write("4,joint,a,1.33")  # torn by a kill
        assert len(killed.metrics()) == 6
        killed.drop_metrics_after(2)
        for step in range(3, 5):
            killed.log(step, "joint", {"a": step / 3, "b": step / 7})
    assert (killed.path / "metrics.csv").read_bytes() == (run.path / "metrics.csv").read_bytes()


def test_dropping_from_a_file_torn_in_its_header(tmp_path: Path) -> None:
    with Run.start(tmp_path, CONFIG) as run:
        run.drop_metrics_after(0)
        (tmp_path / "metrics.csv").write_text("step,ph")
        assert run.metrics() == []
        run.drop_metrics_after(0)
        run.log(1, "joint", {"a": 1})
        assert run.metrics() == [{"step": 1, "phase": "joint", "name": "a", "value": 1.0}]


def test_checkpoints_come_back(tmp_path: Path) -> None:
    state = {
        "step": 3,
        "weights": {"w": torch.randn(3)},
        "random": torch.get_rng_state(),
        "history": [1.0, None],
    }
    with Run.start(tmp_path, CONFIG) as run:
        assert run.load_checkpoint("last") is None
        run.save_checkpoint("last", state)
        loaded = run.load_checkpoint("last")
    assert loaded is not None
    assert torch.equal(loaded["weights"]["w"], state["weights"]["w"])
    assert loaded["history"] == [1.0, None]


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, keep: float) -> None:
    run = trained(tmp_path, weights=torch.randn(1000))
    path = tmp_path / "checkpoints" / "last.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(UserError, match=rf"{re.escape(str(path))}.*resume=restart"):
        run.load_checkpoint("last")


def test_a_checkpoint_with_code_inside_is_not_run(tmp_path: Path) -> None:
    run = trained(tmp_path)
    torch.save({"state": Path("x")}, tmp_path / "checkpoints" / "last.pt")
    with pytest.raises(UserError, match="cannot be read"):
        run.load_checkpoint("last")


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    run = trained(tmp_path)
    with pytest.raises(Exception, match="pickle"):
        run.save_checkpoint("last", {"step": lambda: None})
    assert run.load_checkpoint("last") == {"step": 10}
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["last.pt"]


def test_json_holds_numbers_only_json_has(tmp_path: Path) -> None:
    with Run.start(tmp_path, CONFIG) as run:
        run.write_json("results.json", {"a": float("nan"), "b": torch.tensor([1.0, 2.0]), "c": tmp_path, 1: "é"})
        assert run.read_json("results.json") == {"a": None, "b": [1.0, 2.0], "c": str(tmp_path), "1": "é"}
        assert run.read_json("splits.json") is None


def test_test_scores_have_one_row_a_case(tmp_path: Path) -> None:
    with Run.start(tmp_path, CONFIG) as run:
        path = run.write_test("nlm_mc", [{"id": "a,b", "dice": 0.5}, {"id": "c", "dice": 1.0, "jaccard": 1.0}])
    assert path == tmp_path / "test-nlm_mc.csv"
    assert path.read_text() == 'id,dice,jaccard\n"a,b",0.5,\nc,1.0,1.0\n'


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".lock", "/etc/passwd", "a\\b", "a\n"])
def test_names_stay_inside(tmp_path: Path, name: str) -> None:
    with Run.start(tmp_path / "run", CONFIG) as run:
        for write in (
            lambda: run.write_json(name, {}),
            lambda: run.write_test(f"x/{name}", []),
            lambda: run.save_checkpoint(f"x/{name}", {}),
            lambda: run.load_checkpoint(f"../{name}"),
        ):
            with pytest.raises(UserError):
                write()


def test_a_run_of_an_earlier_version_is_read_in_this_ones_form(tmp_path: Path) -> None:
    """Where generators had Pix2Pix's losses and no choice of them."""
    now = resolve_config(compose(["dataset=phantom"]))
    old = copy.deepcopy(now)
    for key in ("branches", "kernels", "objective"):
        del old.generator[key]
    del old.generator.discriminator["_target_"]
    old.generator.l1_weight, old.generator.discriminator.norm = 100.0, "instance"
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(old, resolve=True))
    assert find_differences(read_config(tmp_path), now) == []
    assert migrate_config(now) is now
