"""The lock of a directory: one winner of many, and what is known of a holder in another container."""

import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from genseg_betty.errors import UserError
from genseg_betty.lock import Holder, Lock, boot_id, is_locked, pid_namespace
from surroundings import PROCESSES, contend

PROCESSES_AT_ONCE, ROUNDS = 6, 12
DEAD = 2**22 + 1  # beyond the greatest process id
CONTAINER = Holder(DEAD, platform.node(), "1", boot_id(), "pid:[of another container]", locked=True)


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_that_start_in_the_same_instant_one_wins(stale: bool, tmp_path: Path) -> None:
    paths = [tmp_path / f"lock-{number}" for number in range(ROUNDS)]
    if stale:
        for path in paths:
            path.write_text(json.dumps({"pid": DEAD, "host": platform.node(), "started": "1"}))
    barrier: Barrier = PROCESSES.Barrier(PROCESSES_AT_ONCE)
    answers: SimpleQueue[Any] = PROCESSES.SimpleQueue()  # type: ignore[assignment]
    jobs = [PROCESSES.Process(target=contend, args=(paths, barrier, answers)) for _ in range(PROCESSES_AT_ONCE)]
    for job in jobs:
        job.start()
    won = [answers.get() for _ in jobs]
    for job in jobs:
        job.join()
    assert [sum(each) for each in zip(*won, strict=True)] == [1] * ROUNDS


def test_a_holder_in_another_container_is_alive_while_it_has_the_systems_lock(tmp_path: Path) -> None:
    """Its process id means nothing here, whatever host name both have."""
    path = tmp_path / ".lock"
    held = Lock(path)
    held.acquire()
    path.write_text(json.dumps(asdict(CONTAINER)))
    assert is_locked(path)
    with pytest.raises(UserError, match=rf"process {DEAD} on host .* \(in another container\)"):
        Lock(path).acquire()
    held.release()
    assert not is_locked(path)


@pytest.mark.parametrize(
    ("holder", "lives"),
    [
        (CONTAINER, False),  # the system would have told
        (replace(CONTAINER, host="renamed"), False),  # on this machine, under another name
        (replace(CONTAINER, boot="of before"), False),  # this host, before it was started again
        (replace(CONTAINER, host="elsewhere", boot="another"), True),  # of a machine that cannot be asked
        (replace(CONTAINER, locked=False), True),  # a filesystem without locks
        (replace(CONTAINER, locked=False, space=pid_namespace()), False),
        (replace(CONTAINER, locked=False, space=pid_namespace(), pid=os.getpid(), started=None), True),
        (replace(CONTAINER, locked=False, boot=None, space=None), False),  # of an earlier version
    ],
)
def test_a_lock_that_nobody_has_is_taken_unless_its_holder_may_live(
    tmp_path: Path, holder: Holder, lives: bool
) -> None:
    path = tmp_path / ".lock"
    path.write_text(json.dumps(asdict(holder)))
    lock = Lock(path)
    if lives:
        with pytest.raises(UserError, match=f"process {holder.pid} on host {holder.host}"):
            lock.acquire()
        assert json.loads(path.read_text()) == asdict(holder)
        return
    lock.acquire()
    assert json.loads(path.read_text())["pid"] == os.getpid()
    lock.release()
    assert not path.exists()


def test_a_filesystem_without_locks_is_guarded_by_what_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", unsupported)
    path = tmp_path / ".lock"
    lock = Lock(path)
    lock.acquire()
    assert json.loads(path.read_text())["locked"] is False
    with pytest.raises(UserError, match=f"process {os.getpid()} "):
        Lock(path).acquire()
    lock.release()
    Lock(path).acquire()


def test_a_lock_that_a_full_disk_does_not_take_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        with pytest.raises(OSError, match="No space left"):
            Lock(tmp_path / ".lock").acquire()
    assert not (tmp_path / ".lock").exists()
    Lock(tmp_path / ".lock").acquire()


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a link": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_no_lock(make: Callable[[Path], object], tmp_path: Path) -> None:
    """It is refused by who would train, and not waited for by who asks whether somebody does."""
    path = tmp_path / ".lock"
    make(path)
    assert not is_locked(path)
    with pytest.raises(UserError, match=r"\.lock is a link, a folder or a pipe; .* Delete it"):
        Lock(path).acquire()


@pytest.mark.parametrize("text", ["[" * 2**15, '{"pid": 1e999, "host": "x"}', '{"pid": null}', "[1]", '"x"'])
def test_a_text_that_names_nobody_is_a_lock_of_nobody(text: str, tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.write_text(text)
    os.utime(path, (0, 0))  # written long ago
    Lock(path).acquire()
    assert json.loads(path.read_text())["pid"] == os.getpid()
