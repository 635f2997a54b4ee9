"""Writing files whole: at once from many processes, with failures, and next to what a kill has left."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import nibabel
import numpy as np
import pytest

from genseg_betty.data.formats import nifti
from genseg_betty.files import TEMPORARY, atomic_write, remove_leftovers, whole_file, whole_folder

WRITES = 60
SIZE = 100_000


def write_often(path: Path, letter: bytes) -> None:
    for _ in range(WRITES):
        atomic_write(path, lambda file: [file.write(letter) for _ in range(SIZE)], sync=False)


def test_processes_that_write_one_file_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "file"
    fork = multiprocessing.get_context("fork")
    jobs = [fork.Process(target=write_often, args=(path, letter)) for letter in (b"a", b"b", b"c")]
    for job in jobs:
        job.start()
    while any(job.is_alive() for job in jobs):
        if path.exists():
            content = path.read_bytes()
            assert len(content) == SIZE
            assert len(set(content)) == 1
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == [path]


def fails(file: IO[bytes]) -> None:
    file.write(b"half")
    raise ValueError("no more")


def interrupted(file: IO[bytes]) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("content", "error"), [(fails, ValueError), (interrupted, KeyboardInterrupt)])
def test_a_write_that_fails_leaves_the_old_file_alone(
    tmp_path: Path, content: Callable[[IO[bytes]], object], error: type[BaseException]
) -> None:
    path = tmp_path / "file"
    atomic_write(path, b"old")
    with pytest.raises(error):
        atomic_write(path, content)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_rename_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        atomic_write(tmp_path / "folder", b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "absent" / "file", b"new")


def test_a_temporary_name_is_hidden_and_known_by_its_end(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)  # the longest name there is
    seen: list[str] = []
    for _ in range(2):
        atomic_write(path, lambda file: seen.append(Path(file.name).name))
    assert len(set(seen)) == 2
    assert all(name.startswith(".") and name.endswith(TEMPORARY) for name in seen)
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_may_be_read_by_whom_the_user_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("name", "ending"), [("mask.nii.gz", ".nii.gz"), ("a.v1.png", ".png"), ("a.NII.GZ", ".NII.GZ"), ("bare", "")]
)
def test_a_writer_that_takes_a_path_finds_the_ending(tmp_path: Path, name: str, ending: str) -> None:
    with whole_file(tmp_path / name) as temporary:
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(f"{TEMPORARY}{ending}")
        temporary.write_text("new")
        assert not (tmp_path / name).exists()
    assert (tmp_path / name).read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nii"])
def test_a_volume_is_written_whole_and_in_its_format(tmp_path: Path, name: str) -> None:
    mask = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    with whole_file(tmp_path / name) as temporary:
        nifti.write_mask(temporary, mask, np.diag([1.0, 2.0, 3.0, 1.0]))
    volume = nibabel.load(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(volume.dataobj).T, mask)
    assert volume.header.get_zooms() == (1.0, 2.0, 3.0)


def test_leftovers_go_and_files_of_living_writers_stay(tmp_path: Path) -> None:
    (tmp_path / f".dead{TEMPORARY}.png").touch()
    (tmp_path / ".hidden").touch()
    with whole_file(tmp_path / "mine.png") as temporary:
        remove_leftovers([tmp_path, tmp_path, tmp_path / "absent"])
        assert {path.name for path in tmp_path.iterdir()} == {".hidden", temporary.name}
    remove_leftovers([tmp_path])
    assert {path.name for path in tmp_path.iterdir()} == {".hidden", "mine.png"}


def test_a_folder_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    """What a killed process left of one is removed, what a living one writes stays."""
    dead = tmp_path / f".dead{TEMPORARY}"
    (dead / "inner").mkdir(parents=True)
    (dead / "inner" / "file").touch()
    with whole_folder(tmp_path / "mine") as temporary:
        (temporary / "file").write_text("whole")
        remove_leftovers([tmp_path])
        assert list(tmp_path.iterdir()) == [temporary]
    assert (tmp_path / "mine" / "file").read_text() == "whole"
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "other") as temporary:
        (temporary / "absent" / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_locks_leftovers_are_known_by_their_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", unsupported)
    young, old = (tmp_path / f".{name}{TEMPORARY}" for name in ("young", "old"))
    for file in (young, old):
        file.touch()
    os.utime(old, (0, 0))
    remove_leftovers([tmp_path])
    assert list(tmp_path.iterdir()) == [young]
