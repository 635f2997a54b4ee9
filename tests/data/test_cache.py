"""The cache on disk: what it returns is what was put in or nothing, whatever happens to its folder."""

import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import genseg_betty
from genseg_betty.data.cache import ledger as ledger_module
from genseg_betty.data.cache.ledger import Ledger, list_reading_code
from genseg_betty.data.cache.store import Cache, key_of
from genseg_betty.data.formats import content_digest
from genseg_betty.errors import UserError

KEY, OTHER = key_of("one"), key_of("other")
IMAGE = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
MASK = np.arange(35, dtype=np.uint8).reshape(5, 7)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def files(cache: Cache) -> list[Path]:
    return sorted(path for path in cache.folder.rglob("*") if path.is_file())


def only_file(cache: Cache) -> Path:
    (path,) = files(cache)
    return path


def holds_the_pair(cache: Cache, key: str = KEY) -> bool:
    entry = cache.get(key)
    return entry is not None and np.array_equal(entry.arrays["image"], IMAGE) and entry.note == {"a": [1, None, 0.1]}


def put_the_pair(cache: Cache, key: str = KEY) -> None:
    cache.put(key, {"a": [1, None, 0.1]}, image=IMAGE, mask=MASK)


def test_what_is_put_is_got(cache: Cache) -> None:
    assert cache.get(KEY) is None
    put_the_pair(cache)
    entry = Cache(cache.folder).get(KEY)
    assert entry.note == {"a": [1, None, 0.1]}
    assert entry.arrays["image"].tobytes() == IMAGE.tobytes()
    assert entry.arrays["image"].shape == (3, 5, 7)
    assert entry.arrays["mask"].dtype == np.uint8
    assert np.array_equal(entry.arrays["mask"], MASK)
    assert cache.get(OTHER) is None
    cache.put(KEY, "anew")
    assert (cache.get(KEY).note, cache.get(KEY).arrays) == ("anew", {})


def test_every_part_of_a_key_counts_and_its_order() -> None:
    keys = [key_of("a", 1), key_of("a", 2), key_of("a", "1"), key_of(1, "a"), key_of(["a", 1]), key_of("a", 1, None)]
    assert len(set(keys)) == 6
    assert key_of({"a": 1, "b": (2,)}) == key_of({"b": [2], "a": 1})


def test_an_entry_cut_anywhere_counts_as_none(cache: Cache) -> None:
    put_the_pair(cache)
    path = only_file(cache)
    whole = path.read_bytes()
    for length in [*range(0, 200), len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert cache.get(KEY) is None, length
    path.write_bytes(whole + b"\0")
    assert cache.get(KEY) is None
    put_the_pair(cache)
    assert path.read_bytes() == whole


def test_an_entry_with_any_wrong_byte_counts_as_none(cache: Cache) -> None:
    put_the_pair(cache)
    path = only_file(cache)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert cache.get(KEY) is None, place


def test_an_entry_under_another_name_counts_as_none(cache: Cache) -> None:
    put_the_pair(cache)
    cache.put(OTHER, "other")
    mine, others = (cache.folder / key[:2] / f"{key}.entry" for key in (KEY, OTHER))
    others.write_bytes(mine.read_bytes())
    assert cache.get(OTHER) is None
    assert holds_the_pair(cache)


def test_what_is_in_the_way_of_an_entry_costs_only_time(cache: Cache) -> None:
    (cache.folder / KEY[:2] / f"{KEY}.entry").mkdir(parents=True)
    assert cache.get(KEY) is None
    with pytest.warns(UserWarning, match="cannot be written"):
        put_the_pair(cache)
    assert cache.get(KEY) is None


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    cache = Cache(tmp_path / "file" / "cache")
    with pytest.warns(UserWarning, match="GENSEG_CACHE=DIR"):
        put_the_pair(cache)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        put_the_pair(cache, OTHER)
    assert cache.get(KEY) is None
    cache.trim()


def test_the_place_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GENSEG_CACHE", "XDG_CACHE_HOME", "GENSEG_CACHE_GB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Cache.from_environment() == Cache(tmp_path / ".cache" / "genseg-betty", 20_000_000_000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache.from_environment().folder == tmp_path / "xdg" / "genseg-betty"
    monkeypatch.setenv("GENSEG_CACHE", "~/mine")
    monkeypatch.setenv("GENSEG_CACHE_GB", "0.5")
    assert Cache.from_environment() == Cache(tmp_path / "mine", 500_000_000)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("GENSEG_CACHE", "off")
    assert Cache.from_environment().folder is None
    put_the_pair(Cache.from_environment())
    assert Cache.from_environment().get(KEY) is None


@pytest.mark.parametrize("text", ["much", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENSEG_CACHE", "/somewhere")
    monkeypatch.setenv("GENSEG_CACHE_GB", text)
    with pytest.raises(UserError, match=f"GENSEG_CACHE_GB is '{text}'; expected gigabytes above 0"):
        Cache.from_environment()


def test_entries_not_used_for_longest_make_room(tmp_path: Path) -> None:
    keys = [key_of(number) for number in range(10)]
    content = np.zeros(1000, np.uint8)
    cache = Cache(tmp_path / "cache")
    for number, key in enumerate(keys):
        cache.put(key, number, content=content)
        os.utime(cache.folder / key[:2] / f"{key}.entry", (number + 1, number + 1))
    one = sum(path.stat().st_size for path in files(cache)) / 10
    assert cache.get(keys[2]).note == 2  # used again, so it stays
    cache = Cache(cache.folder, limit=round(6 * one))
    cache.trim()
    assert len(files(cache)) == 10  # nothing was written, so nobody looks
    cache.put(key_of("new"), 10, content=content)
    assert cache.get(key_of("new"))
    left = [number for number, key in enumerate(keys) if cache.get(key)]
    assert left == [2, 7, 8, 9]  # five of eleven fit into nine tenths of six


def test_making_room_removes_nothing_else(cache: Cache) -> None:
    put_the_pair(cache)
    folder = only_file(cache).parent
    foreign = [cache.folder / "notes.txt", folder / "notes.txt", cache.folder / "scans" / f"{KEY}.entry"]
    abandoned, fresh = folder / ".a.genseg-tmp", folder / ".b.genseg-tmp"
    for path in (*foreign, abandoned, fresh):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x" * 1000)
        os.utime(path, (1, 1))
    os.utime(fresh)
    cache = Cache(cache.folder, limit=1)
    put_the_pair(cache, OTHER)
    assert files(cache) == sorted([*foreign, fresh])


def test_jobs_that_write_one_entry_at_once_leave_it_whole(cache: Cache) -> None:
    wrong: list[int] = []

    def job(number: int) -> None:
        own = Cache(cache.folder)
        for _ in range(40):
            own.put(KEY, [number] * 50, image=np.full(5000, number))
            entry = own.get(KEY)
            if entry is None or set(entry.note) != set(entry.arrays["image"].tolist()):
                wrong.append(number)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jobs = [threading.Thread(target=job, args=(number,)) for number in range(6)]
        for one in jobs:
            one.start()
        for one in jobs:
            one.join()
    assert not wrong
    assert len(files(cache)) == 1


def test_a_job_killed_while_it_writes_leaves_whole_entries(cache: Cache) -> None:
    code = (
        "import sys, numpy; from pathlib import Path; from genseg_betty.data.cache.store import Cache, key_of\n"
        "cache, image = Cache(Path(sys.argv[1])), numpy.ones(200_000)\n"
        "print('begun', flush=True)\n"
        "while True:\n"
        "    for number in range(20): cache.put(key_of(number), number, image=image)\n"
    )
    job = subprocess.Popen([sys.executable, "-c", code, str(cache.folder)], stdout=subprocess.PIPE)
    assert job.stdout.readline() == b"begun\n"
    time.sleep(0.3)
    job.kill()
    job.communicate()
    keys = {key_of(number): number for number in range(20)}
    written = [path for path in files(cache) if path.suffix == ".entry"]
    assert written
    for path in written:
        entry = cache.get(path.stem)
        assert entry.note == keys[path.stem]
        assert entry.arrays["image"].sum() == 200_000


class Counted:
    """`content_digest`, and how often it was asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, path: Path) -> bytes:
        self.count += 1
        return content_digest(path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(ledger_module, "content_digest", counted)
    return counted


@pytest.fixture
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old at once."""
    monkeypatch.setattr(ledger_module, "SETTLING", -3600)


@pytest.mark.usefixtures("_settled")
def test_contents_are_read_once_and_again_where_they_changed(cache: Cache, tmp_path: Path, reads: Counted) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"first")
    first = Ledger(cache, "root")
    assert first.digest(path) == content_digest(path)
    first.save()
    assert Ledger(cache, "root").digest(path) == content_digest(path)
    assert reads.count == 1
    assert Ledger(cache, "another root").digest(path) == content_digest(path)
    assert reads.count == 2
    path.write_bytes(b"other")  # of the same size
    second = Ledger(cache, "root")
    assert second.digest(path) == content_digest(path)
    second.save()
    assert reads.count == 3
    status = path.stat()
    path.write_bytes(b"third")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a copy that keeps its times does
    assert Ledger(cache, "root").digest(path) == content_digest(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        Ledger(cache, "root").digest(path)


def test_a_file_rewritten_within_one_tick_fools_nobody(
    cache: Cache, tmp_path: Path, reads: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system with a coarse clock: size and times of a file stay what they were when it is rewritten."""
    changed = time.time_ns()
    monkeypatch.setattr(ledger_module, "stat_files", lambda path: [[path.name, 5, changed, changed, 1]])
    path = tmp_path / "image.png"
    ledger = Ledger(cache, "root")
    for content in (b"first", b"other"):
        path.write_bytes(content)
        assert ledger.digest(path) == content_digest(path)
        ledger.save()
        ledger = Ledger(cache, "root")
    assert reads.count == 2
    changed -= 10 * 10**9  # once the clock has moved on, what is read is noted
    assert ledger.digest(path) == ledger.digest(path)
    assert reads.count == 3


@pytest.mark.usefixtures("_settled")
def test_a_file_that_changes_while_it_is_read_is_not_noted(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"first")

    def slowly(read: Path) -> bytes:
        digest = content_digest(read)
        path.write_bytes(b"replaced")
        return digest

    ledger = Ledger(cache, "root")
    with monkeypatch.context() as context:
        context.setattr(ledger_module, "content_digest", slowly)
        ledger.digest(path)
    assert ledger.digest(path) == content_digest(path)


@pytest.mark.usefixtures("_settled")
def test_a_series_and_a_metaimage_change_with_the_files_behind_them(cache: Cache, tmp_path: Path) -> None:
    series = tmp_path / "series"
    series.mkdir()
    for name in ("1.dcm", "2.dcm"):
        (series / name).write_bytes(b"\0" * 128 + b"DICM" + b"one")
    header, data = tmp_path / "scan.mhd", tmp_path / "scan.raw"
    data.write_bytes(b"1234")
    header.write_text(
        "ObjectType = Image\nNDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\nElementDataFile = scan.raw\n"
    )
    ledger = Ledger(cache, "root")
    before = [ledger.digest(path) for path in (series, header)]
    (series / "2.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"two")
    data.write_bytes(b"4321")
    after = [ledger.digest(path) for path in (series, header)]
    assert after == [content_digest(path) for path in (series, header)]
    assert not set(before) & set(after)


def test_jobs_that_save_one_ledger_keep_what_the_others_noted(cache: Cache) -> None:
    first, second = Ledger(cache, "root"), Ledger(cache, "root")
    first.note("a", {"x": 1})
    second.note("b", [2])
    first.save()
    second.save()
    third = Ledger(cache, "root")
    assert (third.recall("a"), third.recall("b"), third.recall("c")) == ({"x": 1}, [2], None)


def test_what_was_decoded_is_dropped_when_any_reader_changes() -> None:
    """The cache asks for the code of the readers, of the pairing and of the preprocessing, not for its own alone."""
    room = Path(genseg_betty.__file__).parent / "data"
    names = {path.relative_to(room).as_posix() for path in list_reading_code()}
    assert {"formats/png.py", "source/masks.py", "preprocessing.py", "cache/ledger.py"} <= names
    assert names == {path.relative_to(room).as_posix() for path in room.rglob("*.py")}
