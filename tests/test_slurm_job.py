"""What SLURM says of the job that holds a lock. `squeue` is a script that answers as the real one does."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from genseg_betty.errors import UserError
from genseg_betty.lock import Holder, Lock
from genseg_betty.slurm_job import find_job, has_job_ended, list_live_jobs

ELSEWHERE = Holder(1, "node7", "1", "of another machine", "pid:[1]", job="41", restarts=1, locked=True)


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of what squeue prints; it fails where the file says `error`. Its arguments lie beside it."""
    text = tmp_path / "answer"
    command = tmp_path / "bin" / "squeue"
    command.parent.mkdir()
    command.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n'
        f"if grep -q error {text}; then cat {text} >&2; exit 1; fi\ncat {text}\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    return text


def test_a_process_knows_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    assert find_job() == (None, 0)
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    assert find_job() == ("41", 0)  # SLURM counts from the first time that the job is queued anew
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert find_job() == ("41", 2)


@pytest.mark.parametrize(
    ("said", "ended"),
    [
        ("41 RUNNING\n", False),
        ("41 PENDING\n", False),
        ("41 COMPLETING\n", False),
        ("41 CANCELLED\n", True),
        ("41 NODE_FAIL\n", True),
        ("slurm_load_jobs error: Invalid job id specified\n", True),
        ("slurm_load_jobs error: Unable to contact slurm controller\n", False),
    ],
)
def test_a_job_has_ended_where_slurm_says_so(said: str, ended: bool, answer: Path) -> None:
    answer.write_text(said)
    assert has_job_ended("41", 0) is ended
    assert "--jobs=41" in (answer.parent / "asked").read_text()


def test_the_jobs_of_an_array_that_run_or_wait(answer: Path) -> None:
    answer.write_text("40_0 COMPLETED\n40_1 RUNNING\n40_2 PENDING\n40_3 CANCELLED\n")
    assert list_live_jobs("40") == {"40_1", "40_2"}


@pytest.mark.parametrize("job", [None, "", "41; rm -r x", 41, "-M all"])
def test_what_is_no_job_id_is_asked_of_nobody(job: object, answer: Path) -> None:
    answer.write_text("41 CANCELLED\n")
    assert not has_job_ended(job, 0)
    assert not (answer.parent / "asked").exists()


def test_without_slurm_nothing_is_known_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not has_job_ended("41", 0)


def test_a_job_that_was_queued_anew_takes_the_lock_of_its_node_that_died(
    tmp_path: Path, answer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer.write_text("41 RUNNING\n")  # it is the same job
    path = tmp_path / ".lock"
    path.write_text(json.dumps(asdict(ELSEWHERE)))
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with pytest.raises(UserError, match="process 1 on host node7"):  # another process of the same start
        Lock(path).acquire()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    Lock(path).acquire()
    holder = json.loads(path.read_text())
    assert (holder["job"], holder["restarts"]) == ("41", 2)


def test_the_lock_of_another_job_is_taken_once_that_has_ended(tmp_path: Path, answer: Path) -> None:
    path = tmp_path / ".lock"
    path.write_text(json.dumps(asdict(ELSEWHERE)))
    answer.write_text("41 RUNNING\n")
    with pytest.raises(UserError, match="process 1 on host node7"):
        Lock(path).acquire()
    answer.write_text("41 CANCELLED\n")
    Lock(path).acquire()


def test_a_holder_in_no_job_counts_as_alive(tmp_path: Path, answer: Path) -> None:
    answer.write_text("41 CANCELLED\n")
    path = tmp_path / ".lock"
    path.write_text(json.dumps(asdict(replace(ELSEWHERE, job=None))))
    with pytest.raises(UserError, match="process 1 on host node7"):
        Lock(path).acquire()
