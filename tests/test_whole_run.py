"""A Run's files are whole after a kill at any moment, and one that is damaged is named by whoever reads it."""

import json
import os
import resource
import shutil
import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from genseg_betty.errors import UserError
from genseg_betty.files import TEMPORARY
from genseg_betty.lock import LOCK
from genseg_betty.reporting.reading import read_record
from genseg_betty.run import Run
from genseg_betty.run.checksums import SUMS
from genseg_betty.training.run_training import is_complete
from surroundings import KILLED, MOMENTS, call, killed, killed_at_deletion, killed_by_length, write_a_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finished") / "run"
    write_a_run(path)
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Run:
    """A finished Run that may be damaged."""
    shutil.copytree(finished, tmp_path / "run")
    return Run.open(tmp_path / "run")


def read_everything(run: Run) -> dict[str, Any]:
    """Whatever the Run has; raises where it is damaged. What is not there is None."""
    texts = {name: run.read_json(name) for name in ("results.json", "splits.json")}
    state = run.load_checkpoint("last")
    if state is not None:
        assert (state["weights"] == state["step"]).all()
    record = read_record(run.path)
    assert record.faults == []
    return {**texts, "last": state, "status": run.read_status(), "metrics": run.metrics()}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_each_write_all_that_is_there_is_whole(moment: str, tmp_path: Path) -> None:
    for number in count(1):
        path = tmp_path / f"{moment}-{number}"
        status = call(killed, moment, number, write_a_run, path)
        if status == 0:
            break
        assert status == KILLED
        if (path / "config.yaml").exists():
            read_everything(Run.open(path))
        before = {file.name for file in path.glob("results.json")}
        with Run.start(path, {"seed": 0, "trainer": {"iterations": 2}}) as run:  # what the kill left stops nobody
            assert run.resuming == (path / "checkpoints" / "last.pt").exists()
            assert {file.name for file in path.glob("results.json")} == before
        assert [file for file in path.rglob("*") if TEMPORARY in file.name] == []
    assert number > 20


@pytest.mark.parametrize("length", [10, 200, 1000, 5000])
def test_killed_within_a_write_all_that_is_there_is_whole(length: int, tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert call(killed_by_length, length, write_a_run, path) < 0
    if (path / "config.yaml").exists():
        read_everything(Run.open(path))


def flip(path: Path, place: float, bit: int = 0) -> None:
    """Flip one bit of a file, at a share of its length."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0.0, 0.31, 0.62, 0.999])
@pytest.mark.parametrize(
    "name",
    ["config.yaml", "splits.json", "results.json", "status.json", "metrics.csv", "test-folder.csv"],
)
def test_one_flipped_bit_of_a_text_is_named_by_the_report(
    run: Run, name: str, place: float, recwarn: pytest.WarningsRecorder
) -> None:
    flip(run.path / name, place)
    try:
        told = "\n".join(read_record(run.path).faults)
    except UserError as error:
        told = str(error)
    told += "".join(str(warning.message) for warning in recwarn)  # of a config that is one yet
    assert name in told


@pytest.mark.parametrize("place", [0.0, 0.2, 0.4, 0.6, 0.8, 0.999])
def test_one_flipped_bit_of_a_checkpoint_is_named(run: Run, place: float) -> None:
    flip(run.path / "checkpoints" / "last.pt", place, bit=3)
    with pytest.raises(UserError, match=r"last\.pt cannot be read .*Put back a copy of it, or train again"):
        run.load_checkpoint("last")


@pytest.mark.parametrize("place", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("name", ["splits.json", "results.json"])
def test_one_flipped_bit_is_named_by_who_goes_on_or_scores(run: Run, name: str, place: float) -> None:
    flip(run.path / name, place)
    with pytest.raises(UserError, match=rf"{name} is damaged: .*Put back a copy of it"):
        run.read_json(name)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("status.json", "[]", r"its state is \[\], expected one of running"),
        ("status.json", '{"state": "ended", "step": 1}', "its state is 'ended'"),
        ("status.json", '{"state": "finished", "step": "1"}', "its step is '1', expected a number"),
        ("status.json", "", "cannot be read"),
        ("metrics.csv", "step,phase,name,value\n1,joint,a,0.5\n2,joint,a\n", "line 3 is '2,joint,a'"),
        ("metrics.csv", "step,phase,name,value\n1.5,joint,a,0.5\n", "line 2 is '1.5,joint,a,0.5'"),
        ("metrics.csv", "step,phase,name,value\n1,joint,a,0.5\0\n", "line 2 is"),
        ("metrics.csv", "stop,phase,name,value\n", "it begins with 'stop,phase,name,value'"),
        (
            "metrics.csv",
            "step,phase,name,value\n2,joint,a,1\n1,joint,a,1\n",
            "line 3 .* of step 1, after step 2",
        ),
        (
            "metrics.csv",
            "step,phase,name,value\n1,joint,a,1\n1,joint,a,1\n",
            "line 3 .* of step 1, after step 1",
        ),
        ("results.json", "[1]", "it holds a list, expected a mapping"),
        ("results.json", '{"iterations": 2', "cannot be read"),
        ("splits.json", '{"train": ["a"], "validation": []}', "it holds no lists of the cases of train"),
        ("splits.json", '{"train": "a", "validation": [], "test": []}', "it holds no lists"),
    ],
)
def test_a_damaged_file_without_a_checksum_is_named_with_what_to_do(
    run: Run, name: str, content: str, told: str
) -> None:
    (run.path / SUMS).unlink()  # as of an earlier version
    (run.path / name).write_text(content)
    read = {
        "status.json": run.read_status, "metrics.csv": run.metrics, "splits.json": run.read_splits,
        "results.json": run.read_results,
    }[name]  # fmt: skip
    with pytest.raises(UserError, match=rf"{name} is damaged: .*{told}.*\. (Put|Delete)"):
        read()


def test_a_run_of_an_earlier_version_needs_no_checksums(run: Run) -> None:
    (run.path / SUMS).unlink()
    assert read_everything(run)["last"]["step"] == 2
    with Run.start(run.path, {"seed": 0, "trainer": {"iterations": 3}}) as longer:
        assert longer.resuming
        longer.save_checkpoint("last", {"step": 3, "weights": torch.full((1000,), 3.0)})
    assert read_everything(Run.open(run.path))["last"]["step"] == 3


def test_a_file_that_was_changed_on_purpose_is_taken_out_of_the_sums(run: Run) -> None:
    results = run.path / "results.json"
    results.write_text(json.dumps({"iterations": 2, "note": "mine"}))
    with pytest.raises(UserError, match=f"take its line out of {SUMS}"):
        run.read_json("results.json")
    lines = (run.path / SUMS).read_text().splitlines(keepends=True)
    (run.path / SUMS).write_text("".join(line for line in lines if "results.json" not in line))
    assert run.read_json("results.json")["note"] == "mine"


@pytest.mark.parametrize("content", [b"", b"\0" * 99, b"cut o"])
def test_damaged_checksums_are_named_by_the_report(run: Run, content: bytes) -> None:
    (run.path / SUMS).write_bytes(content)
    assert SUMS in read_record(run.path).faults[0]


def test_checksums_that_cannot_be_read_are_named_by_all(run: Run) -> None:
    (run.path / SUMS).unlink()
    os.mkfifo(run.path / SUMS)
    with pytest.warns(UserWarning, match=f"{SUMS} is damaged: it cannot be read .*or delete it"):
        assert SUMS in read_record(run.path).faults[0]
    for read in (run.read_splits, lambda: run.load_checkpoint("last")):
        with pytest.raises(UserError, match=f"{SUMS} is damaged: it cannot be read"):
            read()


def test_splits_that_are_gone_are_no_licence_to_score_everything(run: Run) -> None:
    (run.path / "splits.json").unlink()
    with pytest.raises(UserError, match=r"splits\.json is gone, which alone says which cases were trained on"):
        run.read_splits()


def test_a_prolonged_run_that_lost_its_checkpoint_keeps_its_results(run: Run) -> None:
    longer = {"seed": 0, "trainer": {"iterations": 5}}
    with Run.start(run.path, longer) as going_on:
        assert not is_complete(going_on)
        going_on.status("interrupted")
    (run.path / "checkpoints" / "last.pt").unlink()
    before = (run.path / "results.json").read_bytes()
    with pytest.raises(UserError, match=r"was finished before, but .*last\.pt is gone.*resume=restart to delete"):
        Run.start(run.path, longer)
    assert (run.path / "results.json").read_bytes() == before
    with Run.start(run.path, longer, "restart") as anew:
        assert not anew.resuming
    assert not (run.path / "results.json").exists()


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
def test_a_run_that_had_a_checkpoint_is_not_begun_anew_without_it(run: Run, state: str) -> None:
    with Run.start(run.path, {"seed": 0, "trainer": {"iterations": 5}}) as going_on:
        going_on.status(state, step=4)
    for gone in ("results.json", "checkpoints/last.pt"):
        (run.path / gone).unlink()
    before = (run.path / "metrics.csv").read_bytes()
    with pytest.raises(UserError, match=r"had come to step 4, but .*last\.pt is gone.*Put back a copy of it"):
        Run.start(run.path, {"seed": 0, "trainer": {"iterations": 5}})
    assert (run.path / "metrics.csv").read_bytes() == before


def test_a_restart_killed_while_it_deletes_is_never_gone_on_with(finished: Path, tmp_path: Path) -> None:
    config = {"seed": 0, "trainer": {"iterations": 2}}
    for number in count(1):
        path = tmp_path / str(number)
        shutil.copytree(finished, path)
        status = call(killed_at_deletion, number, path, config)
        if status == 0:
            break
        assert status == KILLED
        if (path / "status.json").exists():
            with pytest.raises(UserError, match=r"was finished before, but .*last\.pt is gone.*resume=restart"):
                Run.start(path, config)
        else:  # the last of all
            assert [file for file in path.rglob("*") if file.is_file() and file.name != LOCK] == []
        with Run.start(path, config, "restart") as run:
            assert run.metrics() == []
    assert number > 5


def test_rows_that_a_full_disk_does_not_take_are_told_and_the_lock_is_let_go(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large"):
        log_on_a_full_disk(tmp_path)
    assert not (tmp_path / LOCK).exists()
    assert [row["name"] for row in Run.open(tmp_path).metrics()] == ["a"]


def log_on_a_full_disk(path: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with Run.start(path, {"seed": 0}) as run:
            run.log(1, "joint", {"a": 0.5})
            resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
            run.log(2, "joint", {"b": 1 / 3})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def save_on_a_full_disk(path: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Run.start(path, {"seed": 0, "trainer": {"iterations": 2}}) as run:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        try:
            run.save_checkpoint("last", {"step": 9, "weights": torch.zeros(100_000)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_a_full_disk_is_told_and_leaves_the_checkpoint_of_before(run: Run) -> None:
    with pytest.raises(UserError, match=r"the disk is full .*last\.pt cannot be written.*before is whole; make room"):
        save_on_a_full_disk(run.path)
    assert read_everything(run)["last"]["step"] == 2
    assert sorted(os.listdir(run.path / "checkpoints")) == ["last.pt"]
