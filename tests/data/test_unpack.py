"""Archives: sound ones come out whole, unsafe and damaged ones leave nothing behind."""

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from genseg_betty.data.fetch import archives
from genseg_betty.data.fetch import unpack as module
from genseg_betty.data.fetch.archives import DamagedArchive
from genseg_betty.data.fetch.unpack import move_in, unpack_archive
from genseg_betty.errors import UserError

FILES = {"images/a.png": b"image" * 1000, "images/ä ß/b.png": b"", "masks/a.png": bytes(range(256)) * 513}


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name  # ZipInfo's constructor would mend some names
            info.compress_type = method
            archive.writestr(info, content)
    return path


def make_tar(path: Path, files: dict[str, bytes], kind: str = "", members: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    with tarfile.open(path, f"w:{kind}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return path


def tar_member(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Place:
    """A root to unpack into, in a folder where nothing else may appear."""

    def __init__(self, outer: Path) -> None:
        self.outer, self.root = outer, outer / "room" / "root"
        self.root.mkdir(parents=True)
        self.told: list[tuple[int, int]] = []

    def unpack(self, archive: Path, kind: str) -> int:
        return unpack_archive(archive, kind, self.root, self.root / ".scratch", lambda *now: self.told.append(now))

    def refuses(self, archive: Path, kind: str, message: str) -> UserError:
        before = tree(self.outer)
        with pytest.raises(UserError, match=message) as caught:
            self.unpack(archive, kind)
        assert tree(self.outer) == before
        assert not (self.root / ".scratch").exists()
        return caught.value


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "outer")


@pytest.mark.parametrize("kind", ["zip", "zip stored", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_every_kind_comes_out_whole(place: Place, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"data.{kind}"
    if kind.startswith("zip"):
        make_zip(path, FILES, zipfile.ZIP_STORED if "stored" in kind else zipfile.ZIP_DEFLATED)
    else:
        make_tar(path, FILES, kind.partition(".")[2])
    assert place.unpack(path, kind[:3]) == 3
    assert tree(place.root) == FILES
    assert not (place.root / ".scratch").exists()
    assert place.told[-1][1] == path.stat().st_size


def test_many_files_of_block_size_and_long_names(place: Place, tmp_path: Path) -> None:
    files = {f"{'folder' * 20}/{'name' * 30}{index}": bytes([index]) * (512 * (index % 3)) for index in range(40)}
    for kind in ("", "gz", "xz"):
        assert place.unpack(make_tar(tmp_path / f"data.tar{kind}", files, kind), "tar") == 40
    assert tree(place.root) == files


def test_backslashes_dots_and_junk(place: Place, tmp_path: Path) -> None:
    names = ["images\\a.png", "./images/b.png", "images/._b.png", "__MACOSX/images/b.png", ".download/x", "empty\\"]
    files = {name: name.encode() if not name.endswith("\\") else b"" for name in names}
    kept = {"images/a.png": b"images\\a.png", "images/b.png": b"./images/b.png"}
    assert place.unpack(make_zip(tmp_path / "data.zip", files), "zip") == 2
    assert tree(place.root) == kept
    del files["empty\\"]
    assert place.unpack(make_tar(tmp_path / "data.tar", files), "tar") == 2
    assert tree(place.root) == kept


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "name", ["../out", "a/../../out", "/tmp/out", "..\\out", "\\out", "C:\\out", "c:out", "a/..", "//host/out"]
)
def test_a_name_that_leads_out_refuses_all(place: Place, tmp_path: Path, kind: str, name: str) -> None:
    make = make_zip if kind == "zip" else make_tar
    archive = make(tmp_path / "bad", {"good.png": b"1", name: b"2"})
    error = place.refuses(archive, kind, "leads out of the folder")
    assert repr(name) in str(error)
    assert "Nothing was changed" in str(error)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_folders_without_end_refuse_all(place: Place, tmp_path: Path, kind: str) -> None:
    """What lies a thousand folders deep could not even be removed."""
    make = make_zip if kind == "zip" else make_tar
    names = {"a/" * 500 * count + "x": b"" for count in range(1, 4)}
    place.refuses(make(tmp_path / "bad", {"good.png": b"1", **names}), kind, r"500 folders deep; the bound is 64")


@pytest.mark.parametrize(
    "member",
    [
        tar_member("link", tarfile.SYMTYPE, "/etc/passwd"),
        tar_member("link", tarfile.SYMTYPE, "good.png"),
        tar_member("link", tarfile.LNKTYPE, "good.png"),
        tar_member("link", tarfile.LNKTYPE, "../../../etc/passwd"),
        tar_member("link", tarfile.CHRTYPE),
        tar_member("link", tarfile.BLKTYPE),
        tar_member("link", tarfile.FIFOTYPE),
    ],
    ids=lambda member: f"{member.type!r} {member.linkname}",
)
def test_links_and_devices_in_a_tar_refuse_all(place: Place, tmp_path: Path, member: tarfile.TarInfo) -> None:
    archive = make_tar(tmp_path / "bad.tar", {"good.png": b"1"}, members=(member,))
    place.refuses(archive, "tar", "link is a link, a device")


def test_a_folder_that_leads_out_refuses_all(place: Place, tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "bad.tar", {}, members=(tar_member("../out", tarfile.DIRTYPE),))
    place.refuses(archive, "tar", "leads out of the folder")
    place.refuses(make_zip(tmp_path / "bad.zip", {"../out/": b""}), "zip", "leads out of the folder")


def test_links_in_a_zip_refuse_all(place: Place, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
        archive.writestr("link/passwd", "x")
    place.refuses(tmp_path / "bad.zip", "zip", "link is a link or device")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_refuse_all(place: Place, tmp_path: Path) -> None:
    for files in ({"a/b": b"1", "a\\b": b"2"}, {"a/b": b"1", "a/./b": b"2"}):
        place.refuses(make_zip(tmp_path / "bad.zip", files), "zip", "two files are called a/b")
        place.refuses(make_tar(tmp_path / "bad.tar", files), "tar", "two files are called a/b")
    place.refuses(make_zip(tmp_path / "bad.zip", {"a": b"1", "a/b": b"2"}), "zip", "was not unpacked")


@pytest.mark.parametrize("kind", ["zip", "gz", "bz2", "xz"])
def test_a_bomb_is_stopped_while_it_is_written(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(module, "FREE_BYTES", 100_000)
    monkeypatch.setattr(module, "MAX_RATIO", 2)
    files = {f"{index}.png": bytes(40_000) for index in range(10)}
    archive = make_zip(tmp_path / "b", files) if kind == "zip" else make_tar(tmp_path / "b", files, kind)
    written = []
    write = module._write_member
    monkeypatch.setattr(module, "_write_member", lambda *a: written.append(write(*a)) or written[-1])
    place.refuses(archive, "zip" if kind == "zip" else "tar", "unpacks to more than 100,000 bytes")
    assert sum(written) == 100_001


def test_the_size_in_a_header_is_not_believed(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zip that claims 10 bytes and holds 5 MB of zeros."""
    monkeypatch.setattr(module, "FREE_BYTES", 100_000)
    monkeypatch.setattr(module, "MAX_RATIO", 2)
    path = make_zip(tmp_path / "liar.zip", {"a.png": bytes(5_000_000)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", 5_000_000), struct.pack("<L", 10)))
    place.refuses(path, "zip", "more than 100,000 bytes|damaged")


def test_a_file_shorter_than_its_header_says_is_damage(place: Place, tmp_path: Path) -> None:
    path = make_zip(tmp_path / "short.zip", {"a.png": bytes(4321)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", 4321), struct.pack("<L", 4400)))
    place.refuses(path, "zip", r"cut off within a\.png: 4,321 of 4,400 bytes")


def test_the_total_has_a_bound_of_its_own(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    place.refuses(make_zip(tmp_path / "b.zip", {"a": os.urandom(999), "b": b"12"}), "zip", "more than 1,000 bytes")
    assert place.unpack(make_zip(tmp_path / "c.zip", {"a": os.urandom(999), "b": b"1"}), "zip") == 2


def test_hidden_members_count_as_well(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FREE_BYTES", 1000)
    monkeypatch.setattr(module, "MAX_RATIO", 1)
    place.refuses(make_tar(tmp_path / "b.tgz", {"._a": bytes(50_000)}, "gz"), "tar", "more than 1,000 bytes")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_number_of_members_has_a_bound(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 5)
    make = make_zip if kind == "zip" else make_tar
    archive = make(tmp_path / "many", {str(index): b"" for index in range(6)})
    place.refuses(archive, kind, "holds more than 5 files")
    assert place.unpack(make(tmp_path / "few", {str(index): b"" for index in range(5)}), kind) == 5


def header_of(size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo("name")
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
@pytest.mark.parametrize("size", [300 * 2**20, -512, -1024])
def test_a_header_takes_no_memory_beyond_its_bound(place: Place, tmp_path: Path, kind: bytes, size: int) -> None:
    """tarfile reads an extended header into memory, as long as it says it is."""
    path = tmp_path / "bad.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header_of(size, kind))
        for _ in range(64):
            file.write(bytes(2**20))
    tracemalloc.start()
    try:
        place.refuses(path, "tar", "header of more than 65,536 bytes")
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


def test_a_negative_size_is_no_endless_loop(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "bad.tar"
    path.write_bytes(header_of(-1024, tarfile.REGTYPE) + bytes(10240))
    place.refuses(path, "tar", "false size")


def test_headers_that_announce_headers_end(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "bad.tar"
    path.write_bytes(header_of(0, tarfile.GNUTYPE_LONGNAME) * 5000 + bytes(10240))
    place.refuses(path, "tar", "damaged|header of more")


def test_global_headers_have_a_bound(place: Place, tmp_path: Path) -> None:
    settings = {f"key{index}": "x" * 1000 for index in range(30)}
    with tarfile.open(tmp_path / "bad.tar", "w", pax_headers=settings) as archive:
        archive.addfile(tarfile.TarInfo("a"))
    place.refuses(tmp_path / "bad.tar", "tar", "more than 20 global headers")


def test_a_zip_directory_takes_no_memory_beyond_its_bound(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "DIRECTORY_BYTES", 2**18)
    archive = make_zip(tmp_path / "bad.zip", {f"{'n' * 200}{index}": b"" for index in range(2000)})
    place.refuses(archive, "zip", "list of contents has .* bytes; the bound is 262,144")


def test_an_xz_dictionary_takes_no_memory_beyond_its_bound(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "DICTIONARY_BYTES", 2**24)
    plain = make_tar(tmp_path / "plain.tar", FILES).read_bytes()
    (tmp_path / "greedy.xz").write_bytes(lzma.compress(plain, preset=9))
    place.refuses(tmp_path / "greedy.xz", "tar", "Memory usage limit")
    (tmp_path / "modest.xz").write_bytes(lzma.compress(plain, preset=3))
    assert place.unpack(tmp_path / "modest.xz", "tar") == 3


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_methods_without_a_memory_bound_are_refused(place: Place, tmp_path: Path, method: int) -> None:
    place.refuses(make_zip(tmp_path / "b.zip", FILES, method), "zip", "not packed with deflate; unpack it with `7z x`")


def test_a_locked_zip_is_told(place: Place, tmp_path: Path) -> None:
    path = make_zip(tmp_path / "locked.zip", {"a.png": b"123"})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    place.refuses(path, "zip", "a.png is locked with a password")


@pytest.mark.parametrize(
    ("start", "kind", "message"),
    [
        (b"Rar!\x1a\x07\x01\x00", "zip", "no RAR or 7z reader is bundled: unpack it with `unar"),
        (b"Rar!\x1a\x07\x00", "tar", "no RAR or 7z reader"),
        (b"7z\xbc\xaf\x27\x1c", "zip", "no RAR or 7z reader"),
        (b"\n<!DOCTYPE html><html>", "zip", "found a web page"),
        (b"<HTML><body>log in", "tar", "found a web page"),
        (b"", "zip", "expected a zip"),
        (b"", "tar", "damaged or cut off"),
        (b"hello" * 300, "tar", "damaged or cut off"),
        (b"PK\3\4" + bytes(100), "zip", "damaged or cut off"),
    ],
)
def test_what_is_no_archive_is_told(place: Place, tmp_path: Path, start: bytes, kind: str, message: str) -> None:
    (tmp_path / "file").write_bytes(start)
    error = place.refuses(tmp_path / "file", kind, message)
    assert isinstance(error, DamagedArchive) == ("RAR" not in message)


@pytest.mark.parametrize("kind", ["zip", "", "gz", "bz2", "xz"])
def test_an_archive_cut_anywhere_leaves_nothing(place: Place, tmp_path: Path, kind: str) -> None:
    files = {f"{index}.png": random.Random(index).randbytes(700) for index in range(8)}
    path = tmp_path / "cut"
    whole = (make_zip(path, files) if kind == "zip" else make_tar(path, files, kind)).read_bytes()
    end = len(whole) if kind != "" else 8 * 1536 + 1  # the end blocks of a plain tar are padded with more of them
    for length in [*range(0, end, end // 25), end - 1]:
        path.write_bytes(whole[:length])
        error = place.refuses(path, "zip" if kind == "zip" else "tar", str(path))
        assert isinstance(error, DamagedArchive)


@pytest.mark.parametrize("kind", ["zip", "", "gz", "bz2", "xz"])
def test_random_damage_is_an_error_for_users_or_none(place: Place, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bytes"
    whole = (make_zip(path, FILES) if kind == "zip" else make_tar(path, FILES, kind)).read_bytes()
    chance = random.Random(0)
    outcomes = set()
    for trial in range(50):
        content = bytearray(whole)
        for _ in range(chance.choice([1, 5, 50])):
            content[chance.randrange(len(content)) if chance.random() < 0.5 else -chance.randrange(1, 300)] = (
                chance.randrange(256)
            )
        path.write_bytes(content)
        root = place.root / str(trial)
        try:
            unpack_archive(path, "zip" if kind == "zip" else "tar", root, place.root / ".scratch")
            outcomes.add("unpacked")
        except UserError:
            outcomes.add("refused")
            assert not tree(root)
    assert "refused" in outcomes
    assert set(place.outer.iterdir()) == {place.outer / "room"}


def test_an_interrupted_unpacking_leaves_nothing_half(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_zip(tmp_path / "data.zip", FILES)
    monkeypatch.setattr(module, "CHUNK", 1000)
    calls = iter(range(10))

    def interrupt(done: int, total: int) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack_archive(archive, "zip", place.root, place.root / ".scratch", interrupt)
    assert tree(place.root) == {}
    (place.root / ".scratch" / "images").mkdir(parents=True)  # as a killed process leaves it
    (place.root / ".scratch" / "images" / "a.png").write_bytes(b"half")
    assert place.unpack(archive, "zip") == 3
    assert tree(place.root) == FILES


def test_an_interrupted_move_is_finished_by_the_next_try(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_zip(tmp_path / "data.zip", FILES)
    replace: Callable[[Path, Path], None] = os.replace

    def second_fails(source: Path, target: Path) -> None:
        if tree(place.root / "images"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", second_fails)
    with pytest.raises(KeyboardInterrupt):
        place.unpack(archive, "zip")
    assert tree(place.root) == {"images/a.png": FILES["images/a.png"]}
    monkeypatch.setattr(module.os, "replace", replace)
    assert place.unpack(archive, "zip") == 3
    assert tree(place.root) == FILES


def test_files_that_differ_are_never_replaced(place: Place, tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "data.zip", FILES)
    (place.root / "masks").mkdir()
    (place.root / "masks" / "a.png").write_bytes(b"mine")
    place.refuses(archive, "zip", "holds other files than the publisher's under these names: masks/a.png")
    (place.root / "masks" / "a.png").unlink()
    (place.root / "masks" / "a.png").symlink_to(tmp_path / "data.zip")
    place.refuses(archive, "zip", "under these names: masks/a.png")
    (place.root / "masks" / "a.png").unlink()
    (place.root / "masks" / "a.png").write_bytes(FILES["masks/a.png"])
    (place.root / "masks" / "own.png").write_bytes(b"mine")
    assert place.unpack(archive, "zip") == 3
    assert tree(place.root) == {**FILES, "masks/own.png": b"mine"}


def test_nothing_goes_through_a_link_in_the_root(place: Place, tmp_path: Path) -> None:
    (place.outer / "elsewhere").mkdir()
    (place.root / "images").symlink_to(place.outer / "elsewhere")
    error = place.refuses(make_zip(tmp_path / "data.zip", FILES), "zip", "links lead out of it")
    assert "images/a.png" in str(error)
    assert "masks" not in str(error)


def test_move_in_names_every_conflict(tmp_path: Path) -> None:
    names = [f"{index:02}" for index in range(30)]
    for folder, content in (("new", "1"), ("old", "2")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text(content)
    with pytest.raises(UserError, match=r"00, 01, .*19 and 10 more"):
        move_in(tmp_path / "new", names, tmp_path / "old")
    assert len(list((tmp_path / "new").iterdir())) == 30


def test_concatenated_gz_and_bz2_streams_are_one(place: Place, tmp_path: Path) -> None:
    plain = make_tar(tmp_path / "plain.tar", FILES).read_bytes()
    for compress in (gzip.compress, bz2.compress):
        (tmp_path / "two").write_bytes(compress(plain[:5000]) + compress(plain[5000:]))
        assert place.unpack(tmp_path / "two", "tar") == 3
    assert tree(place.root) == FILES
