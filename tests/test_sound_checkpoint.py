"""Checkpoints of strangers: refused by what they declare, before torch reads any of it."""

import io
import os
import pickle
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from genseg_betty.errors import UserError
from genseg_betty.run import Run, zip_entries
from genseg_betty.run import sound_checkpoint as checking
from genseg_betty.run.checksums import SUMS

STATE = {"weights": {"w": torch.arange(6.0)}, "outputs": 1, "names": ["a", None], "best": 0.5}
Spoil = Callable[[Path], object]


def entries_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def repacked(method: int = zipfile.ZIP_STORED, **changes: bytes) -> Spoil:
    """The same entries, some with other content or added, written by zipfile."""

    def spoil(path: Path) -> None:
        entries = entries_of(path)
        folder = next(iter(entries)).partition("/")[0]
        entries |= {f"{folder}/{name.replace('_pkl', '.pkl')}": content for name, content in changes.items()}
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in entries.items():
                archive.writestr(name, content)

    return spoil


def saved(value: Any, **options: Any) -> Spoil:
    return lambda path: torch.save(value, path, **options)


def overlapping(path: Path) -> None:
    """Ten names for the one place where the values of a large tensor lie."""
    torch.save({"w": torch.zeros(2**18)}, path)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        big = max(archive.infolist(), key=lambda entry: entry.file_size)
        begin = archive.start_dir
    place = content.index(big.filename.encode(), begin) - 46
    length = 46 + len(big.filename) + struct.unpack("<H", content[place + 30 : place + 32])[0]
    record = content[place : place + length]
    more = b"".join(record.replace(b"data/0", b"data/%d" % index) for index in range(1, 10))
    end = place + length
    rest = content[end : content.index(b"PK\6\6", end)]
    count, size = len(archive.infolist()) + 9, len(content[begin:end]) + len(more) + len(rest)
    finish = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, begin, 0)
    path.write_bytes(content[:end] + more + rest + finish)


def appended(ahead: bytes = b"", behind: bytes = b"") -> Spoil:
    return lambda path: path.write_bytes(ahead + path.read_bytes() + behind)


def ending(offset: int, value: bytes) -> Spoil:
    """Bytes at this place before the end replaced."""

    def spoil(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) - offset : len(content) - offset + len(value)] = value
        path.write_bytes(content)

    return spoil


def tarred(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())


def linked(target: str) -> Spoil:
    def spoil(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return spoil


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def nested(depth: int, width: int) -> list[Any]:
    """A list of one list, `width` times, and so on: few bytes, width ** depth values."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value] * width
    return value


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("made-by-a-stranger",))


BOMBS: dict[str, tuple[Spoil, str]] = {
    "packed": (repacked(zipfile.ZIP_DEFLATED), r"unpacks to another size"),
    "packed zeros": (repacked(zipfile.ZIP_DEFLATED, zeros=bytes(2**26)), r"unpacks to another size"),
    "overlapping": (overlapping, r"its entries overlap"),
    "a name twice": (repacked(DATA_pkl=b"x"), r"named twice"),
    "no pickle": (lambda path: zipfile.ZipFile(path, "w").close(), r"cut short"),
    "something ahead": (appended(ahead=b"PK\3\4"), r"does not end where it should|contradicts itself"),
    "something behind": (appended(behind=b"x"), r"cut short"),
    "a comment": (ending(2, b"\1\0"), r"does not end where it should"),
    "another count": (ending(12, b"\1\0"), r"contradicts itself"),
    "another place": (ending(6, b"\1\0\0\0"), r"contradicts itself"),
    "the format of long ago": (saved(STATE, _use_new_zipfile_serialization=False), r"present format"),
    "a pickle alone": (lambda path: path.write_bytes(pickle.dumps(STATE)), r"present format"),
    "a tar": (tarred, r"present format"),
    "code": (saved({"x": Code()}), r"it asks for (posix|nt)\.mkdir"),
    "code in another way": (repacked(data_pkl=pickle.dumps({"x": Code()}, protocol=4)), r"STACK_GLOBAL"),
    "memory by a call": (saved({"x": bytearray(3)}), r"it asks for \w*\.bytearray"),
    "a set": (saved({"x": {1, 2}}), r"it asks for \w*\.set"),
    "a sparse tensor": (saved({"x": torch.eye(3).to_sparse()}), r"_rebuild_sparse_tensor"),
    "a tensor of no device": (saved({"x": torch.empty(3, device="meta")}), r"it asks for torch\._utils\._rebuild_meta"),
    "one value for all": (saved({"x": torch.zeros(1).expand(10**12)}), r"claims the shape \[1000000000000\]"),
    "a list": (saved([1]), r"holds a list"),
    "lists of lists": (saved({"x": nested(20, 10)}), r"more than 2,000,000 values"),
    "deep lists": (saved({"x": nested(100, 1)}), r"more than 64 deep"),
    "a long pickle": (saved({"x": "x" * 2**24}), r"a data\.pkl of"),
    "an endless file": (linked("/dev/zero"), r"no regular file"),
    "a pipe": (piped, r"no regular file"),
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path, OmegaConf.create({}))
    run.save_checkpoint("last", STATE)
    return run


@pytest.mark.parametrize(("spoil", "told"), BOMBS.values(), ids=BOMBS)
def test_what_torch_would_read_without_a_bound_is_refused(
    spoil: Spoil, told: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.path)
    path = run.path / "checkpoints" / "last.pt"
    spoil(path)
    (run.path / SUMS).unlink()  # as who made the file could have made its checksum
    with pytest.raises(UserError, match=rf"{re.escape(str(path))} cannot be read \(.*({told}).*resume=restart"):
        run.load_checkpoint("last")
    assert not (run.path / "made-by-a-stranger").exists()


def test_more_than_memory_holds_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.save_checkpoint("last", {"w": torch.zeros(2**20)})
    monkeypatch.setattr(checking, "free_memory", lambda _: 2.0**21)
    with pytest.raises(UserError, match=r"declares 0\.0 GiB, and 0\.0 GiB of memory are free"):
        run.load_checkpoint("last")
    assert run.load_checkpoint("last", mmap=True) is not None  # nothing of it is read


def test_a_long_list_of_entries_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_entries, "MAX_DIRECTORY", 100)
    with pytest.raises(UserError, match=r"its list of entries has \d+ bytes"):
        run.load_checkpoint("last")


@pytest.mark.parametrize("prefix", ["archive", "last"])
def test_what_torch_saves_is_sound(prefix: str, run: Run) -> None:
    shared = torch.rand(3, 4, dtype=torch.bfloat16)
    weight = torch.nn.Parameter(shared.float())
    state = {
        **STATE, "views": [shared[1], shared.T], "empty": torch.empty(0, 3), "flag": torch.tensor(True),
        "weight": weight, "kind": torch.float16, "size": weight.shape, "random": torch.get_rng_state(),
        "optimizer": torch.optim.Adam([weight]).state_dict(), "channels": torch.rand(1, 3, 4, 4).to(
            memory_format=torch.channels_last),
    }  # fmt: skip
    if prefix == "archive":
        run.save_checkpoint("last", state)
    else:
        torch.save(state, run.path / "checkpoints" / "last.pt")
        (run.path / SUMS).unlink()
    found = run.load_checkpoint("last")
    assert found is not None
    assert torch.equal(found["views"][1], shared.T)
    assert found["size"] == (3, 4)
