"""Fetching from a server on this machine: downloads that break, lie and change, and what is told of them."""

import hashlib
import io
import json
import re
import shutil
import ssl
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from omegaconf import OmegaConf

from genseg_betty.data.cases import open_dataset
from genseg_betty.data.fetch import Screen, fetch_dataset, read_entries
from genseg_betty.data.fetch import download as module
from genseg_betty.data.fetch import server as asking
from genseg_betty.errors import UserError
from genseg_betty.lock import Lock


@dataclass
class Shelf:
    """One file of the server, and how it is handed out; the lists are used up by one request each."""

    content: bytes
    etag: str | None = '"1"'
    ranges: bool = True
    tells_length: bool = True
    cut_after: list[int | None] = field(default_factory=list)  # bytes of the body; None: all of it
    statuses: list[int] = field(default_factory=list)
    redirect: str | None = None
    asked: list[str | None] = field(default_factory=list)  # the Range of each request


class Handler(BaseHTTPRequestHandler):
    shelves: dict[str, Shelf]

    def do_GET(self) -> None:
        shelf = self.shelves.get(self.path)
        if shelf is None:
            return self.send_error(404)
        shelf.asked.append(self.headers["Range"])
        if shelf.statuses and (status := shelf.statuses.pop(0)) != 200:
            return self.send_error(status)
        if shelf.redirect is not None:
            self.send_response(302)
            self.send_header("Location", shelf.redirect)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        start = int(self.headers["Range"][6:-1]) if self.headers["Range"] and shelf.ranges else 0
        if self.headers["If-Range"] not in (None, shelf.etag):
            start = 0
        if start and start >= len(shelf.content):
            return self.send_error(416)
        self._send(shelf, start)

    def _send(self, shelf: Shelf, start: int) -> None:
        body = shelf.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(shelf.content) - 1}/{len(shelf.content)}")
        if shelf.tells_length:
            self.send_header("Content-Length", str(len(body)))
        if shelf.etag:
            self.send_header("ETag", shelf.etag)
        self.end_headers()
        cut = shelf.cut_after.pop(0) if shelf.cut_after else None
        self.wfile.write(body[:cut])
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


@dataclass
class Server:
    address: str
    shelves: dict[str, Shelf]

    def put(self, path: str, content: bytes, **keys: Any) -> Shelf:
        self.shelves[path] = Shelf(content, **keys)
        return self.shelves[path]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(module, "PAUSES", (0, 0, 0))
    handler = type("OwnHandler", (Handler,), {"shelves": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Server(f"http://127.0.0.1:{http.server_address[1]}", handler.shelves)
        http.shutdown()
        thread.join()


def zipped(folder: Path) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    return memory.getvalue()


@pytest.fixture
def archive(folder: Path) -> bytes:
    """Twenty pairs as a zip; the folder they came from is gone."""
    content = zipped(folder)
    shutil.rmtree(folder)
    return content


class Fetch:
    """A dataset with one zip at the server, fetched to `root`; what the screen said is kept."""

    def __init__(self, server: Server, root: Path) -> None:
        self.server, self.root, self.said = server, root, ""
        self.about: dict[str, Any] = {"source": "Somewhere"}

    def entry(self, path: str = "/data.zip", **keys: Any) -> dict[str, Any]:
        return {"url": self.server.address + path, "unpack": "zip", **keys}

    def config(self, *entries: dict[str, Any]) -> dict[str, Any]:
        about = {**self.about, "fetch": list(entries)}
        return {"name": "toy", "images": ["images/*.png"], "masks": ["masks/{stem}.png"], "about": about}

    def __call__(self, *entries: dict[str, Any]) -> Path:
        stream = io.StringIO()
        try:
            with Screen(stream) as screen:
                return fetch_dataset(self.config(*entries), self.root, screen)
        finally:
            self.said = stream.getvalue()

    def left(self) -> set[str]:
        """What still lies in the folder for things on their way."""
        return {path.name for path in (self.root / ".download").iterdir()}


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Fetch:
    return Fetch(server, tmp_path / "new" / "toy")


def sums(content: bytes) -> dict[str, str]:
    return {kind: hashlib.new(kind, content).hexdigest() for kind in ("sha256", "md5")}


def test_a_dataset_is_downloaded_checked_unpacked_and_counted(fetch: Fetch, server: Server, archive: bytes) -> None:
    shelf = server.put("/data.zip", archive)
    entry = fetch.entry(size=len(archive), **{kind: text.upper() for kind, text in sums(archive).items()})
    assert fetch(entry) == fetch.root
    assert f"toy: 20 cases in {fetch.root}" in fetch.said
    assert "40 files unpacked" in fetch.said
    assert "checksum" not in fetch.said
    assert len(open_dataset({**fetch.config(), "root": str(fetch.root)}).cases) == 20
    assert fetch.left() == {".fetched.json"}
    assert shelf.asked == [None]


def test_a_second_call_does_nothing(fetch: Fetch, server: Server, archive: bytes) -> None:
    shelf = server.put("/data.zip", archive)
    fetch(fetch.entry())
    before = {path: path.stat().st_mtime_ns for path in fetch.root.rglob("*")}
    fetch(fetch.entry())
    assert {path: path.stat().st_mtime_ns for path in fetch.root.rglob("*")} == before
    assert "were fetched before; nothing was fetched" in fetch.said
    assert "20 cases" in fetch.said
    assert len(shelf.asked) == 1


def test_another_checksum_is_another_file(fetch: Fetch, server: Server, archive: bytes) -> None:
    shelf = server.put("/data.zip", archive)
    fetch(fetch.entry())
    fetch(fetch.entry(**sums(archive)))
    assert len(shelf.asked) == 1
    with pytest.raises(UserError, match="not the one expected"):
        fetch(fetch.entry(md5="0" * 32))
    assert len(shelf.asked) == 2


def test_what_was_put_there_by_hand_is_enough(fetch: Fetch, folder: Path) -> None:
    fetch.root = folder
    fetch(fetch.entry("/absent.zip"))
    assert f"toy: 20 cases are there already, in {folder}; nothing was fetched" in fetch.said
    assert not (folder / ".download").exists()


def test_a_part_that_was_put_there_is_completed(fetch: Fetch, server: Server, folder: Path) -> None:
    server.put("/data.zip", zipped(folder))
    (folder / "masks" / "case07.png").unlink()
    fetch.root = folder
    fetch(fetch.entry())
    assert "toy: 20 cases in" in fetch.said


def test_without_a_checksum_the_one_found_is_told(fetch: Fetch, server: Server, archive: bytes) -> None:
    server.put("/data.zip", archive)
    fetch(fetch.entry())
    assert f"data.zip: no checksum is stated for it; its sha256 is {sums(archive)['sha256']}" in fetch.said


def test_a_broken_connection_is_resumed(fetch: Fetch, server: Server, archive: bytes) -> None:
    shelf = server.put("/data.zip", archive, cut_after=[1000, 500, None])
    fetch(fetch.entry(**sums(archive)))
    assert shelf.asked == [None, "bytes=1000-", "bytes=1500-"]
    assert "connection ended after 1.0 kB of" in fetch.said
    assert "20 cases" in fetch.said


def test_a_later_call_goes_on_where_the_last_gave_up(fetch: Fetch, server: Server, archive: bytes) -> None:
    shelf = server.put("/data.zip", archive, cut_after=[2000, 0, 0, 0, 0])
    with pytest.raises(UserError, match=r"4 times\. What came \(2\.0 kB\) is kept.*browser.*data\.zip"):
        fetch(fetch.entry())
    assert fetch.left() == {"data.zip.part", "data.zip.part.json"}
    del shelf.asked[:]
    fetch(fetch.entry(**sums(archive)))
    assert shelf.asked == ["bytes=2000-"]
    assert fetch.left() == {".fetched.json"}


def test_an_interrupted_download_goes_on(
    fetch: Fetch, server: Server, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = server.put("/data.zip", archive)
    with monkeypatch.context() as patch:
        patch.setattr(module, "CHUNK", 3000)
        reads: Iterator[int] = iter(range(10))
        read: Callable[[Any], bytes] = module._read_chunk

        def interrupted(response: Any) -> bytes:
            if next(reads) == 2:
                raise KeyboardInterrupt
            return read(response)

        patch.setattr(module, "_read_chunk", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(fetch.entry())
    came = (fetch.root / ".download" / "data.zip.part").stat().st_size
    assert 0 < came <= 6000
    fetch(fetch.entry(**sums(archive)))
    assert shelf.asked == [None, f"bytes={came}-"]


def test_nothing_is_written_through_a_link(fetch: Fetch, server: Server, archive: bytes, tmp_path: Path) -> None:
    server.put("/data.zip", archive)
    mine = tmp_path / "mine"
    mine.write_text("as it was")
    (fetch.root / ".download").mkdir(parents=True)
    (fetch.root / ".download" / "data.zip.part").symlink_to(mine)
    with pytest.raises(UserError, match=r"data\.zip\.part is a link, and nothing is written through links; remove it"):
        fetch(fetch.entry())
    assert mine.read_text() == "as it was"


def test_a_download_killed_at_its_end_is_not_repeated(fetch: Fetch, server: Server, archive: bytes) -> None:
    shelf = server.put("/data.zip", archive, cut_after=[2000, 0, 0, 0, 0])
    with pytest.raises(UserError):
        fetch(fetch.entry())
    (fetch.root / ".download" / "data.zip.part").write_bytes(archive)
    del shelf.asked[:]
    fetch(fetch.entry(**sums(archive)))
    assert shelf.asked == []


def test_a_server_that_ignores_ranges_sends_all_anew(fetch: Fetch, server: Server, archive: bytes) -> None:
    shelf = server.put("/data.zip", archive, ranges=False, cut_after=[1000])
    fetch(fetch.entry(**sums(archive)))
    assert shelf.asked == [None, "bytes=1000-"]
    assert "does not go on where it stopped; from the beginning" in fetch.said


def test_a_server_that_always_breaks_is_given_up(fetch: Fetch, server: Server, archive: bytes) -> None:
    """Each try starts at 0 and brings as much as the one before: no progress, however much comes."""
    shelf = server.put("/data.zip", archive, ranges=False, cut_after=[1000] * 50)
    with pytest.raises(UserError, match="4 times"):
        fetch(fetch.entry())
    assert len(shelf.asked) == 5


@pytest.mark.parametrize("etag", ['"2"', None])
def test_a_file_that_changed_at_the_server_starts_anew(
    fetch: Fetch, server: Server, archive: bytes, etag: str | None
) -> None:
    """By its tag, or where the server has none by its length."""
    old = server.put("/data.zip", b"old" * 5000, etag=etag and '"1"', cut_after=[1000, 0, 0, 0, 0])
    with pytest.raises(UserError):
        fetch(fetch.entry())
    assert old.asked[-1] == "bytes=1000-"
    new = server.put("/data.zip", archive, etag=etag)
    fetch(fetch.entry(**sums(archive)))
    assert new.asked == (["bytes=1000-"] if etag else ["bytes=1000-", None])  # If-Range saves a request
    assert "20 cases" in fetch.said


def test_a_file_that_became_shorter_starts_anew(fetch: Fetch, server: Server, archive: bytes) -> None:
    server.put("/data.zip", bytes(10 * len(archive)), etag=None, cut_after=[2 * len(archive), 0, 0, 0, 0])
    with pytest.raises(UserError):
        fetch(fetch.entry())
    new = server.put("/data.zip", archive, etag=None)
    fetch(fetch.entry(**sums(archive)))
    assert new.asked == [f"bytes={2 * len(archive)}-", None]
    assert "has less of the file than was fetched, so it starts anew" in fetch.said


def test_a_damaged_note_about_a_part_starts_anew(fetch: Fetch, server: Server, archive: bytes) -> None:
    shelf = server.put("/data.zip", archive, cut_after=[2000, 0, 0, 0, 0])
    with pytest.raises(UserError):
        fetch(fetch.entry())
    (fetch.root / ".download" / "data.zip.part.json").write_text("{")
    del shelf.asked[:]
    fetch(fetch.entry(**sums(archive)))
    assert shelf.asked == [None]


def test_a_busy_server_is_asked_again(fetch: Fetch, server: Server, archive: bytes) -> None:
    shelf = server.put("/data.zip", archive, statuses=[503, 429, 200])
    fetch(fetch.entry())
    assert len(shelf.asked) == 3
    assert "the server answered 503 Service Unavailable; trying again" in fetch.said


def test_an_absent_file_is_not_asked_for_again(fetch: Fetch, server: Server, archive: bytes) -> None:
    shelf = server.put("/data.zip", archive, statuses=[403, 200])
    with pytest.raises(UserError, match=r"answered 403 Forbidden\. You can also get it with a browser"):
        fetch(fetch.entry())
    assert len(shelf.asked) == 1
    with pytest.raises(UserError, match="answered 404"):
        fetch(fetch.entry("/none.zip"))


def test_no_server_is_told(fetch: Fetch) -> None:
    with pytest.raises(UserError, match=r"no connection \(.*refused\), 4 times"):
        fetch({"url": "http://127.0.0.1:9/data.zip", "unpack": "zip"})


def test_a_false_certificate_is_told_and_not_passed_over(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = ssl.SSLCertVerificationError(1, "certificate verify failed")
    reason.verify_message = "self-signed certificate"
    asked = []

    class Opener:
        def open(self, request: Any, timeout: float) -> None:
            asked.append(request)
            raise URLError(reason)

    monkeypatch.setattr(asking.request, "build_opener", lambda *handlers: Opener())
    with pytest.raises(UserError, match=r"certificate is not valid \(self-signed certificate\).*with a browser"):
        fetch({"url": "https://example.org/data.zip", "unpack": "zip"})
    assert len(asked) == 1


def test_a_length_that_is_not_told_is_no_hindrance(fetch: Fetch, server: Server, archive: bytes) -> None:
    server.put("/data.zip", archive, tells_length=False)
    fetch(fetch.entry(**sums(archive)))
    assert "20 cases" in fetch.said


def test_an_endless_answer_ends_at_the_size_stated_or_the_disk(
    fetch: Fetch, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("/data.zip", bytes(10**6), tells_length=False)
    with pytest.raises(UserError, match=r"sends more than 100\.0 kB"):
        fetch(fetch.entry(size=10**5))
    assert not (fetch.root / ".download" / "data.zip.part").exists()
    free = shutil.disk_usage(fetch.root)._replace(free=module.RESERVE + 50_000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: free)
    shutil.rmtree(fetch.root / ".download")
    with pytest.raises(UserError, match=r"sends more than 50\.0 kB"):
        fetch(fetch.entry())


def test_a_full_disk_is_told_before(
    fetch: Fetch, server: Server, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("/data.zip", archive)
    free = shutil.disk_usage("/")._replace(free=module.RESERVE + len(archive) - 1)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: free)
    with pytest.raises(UserError, match=r"are to come, but the disk of .* to spare\. Make room"):
        fetch(fetch.entry())
    assert fetch.left() == set()


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_wrong_checksum_names_both_and_starts_anew(fetch: Fetch, server: Server, archive: bytes, kind: str) -> None:
    shelf = server.put("/data.zip", archive[:-1] + b"x")
    with pytest.raises(UserError) as caught:
        fetch(fetch.entry(**{kind: sums(archive)[kind]}))
    assert f"{kind}: found {sums(shelf.content)[kind]}, expected {sums(archive)[kind]}" in str(caught.value)
    assert "was removed, so that the next try starts anew" in str(caught.value)
    assert fetch.left() == set()
    shelf.content = archive
    fetch(fetch.entry(**sums(archive)))
    assert shelf.asked == [None, None]
    assert "20 cases" in fetch.said


def test_a_wrong_size_is_told_before_the_download(fetch: Fetch, server: Server, archive: bytes) -> None:
    server.put("/data.zip", archive)
    with pytest.raises(UserError, match=f"the server's file has {len(archive)} bytes, expected 12"):
        fetch(fetch.entry(size=12))
    assert fetch.left() == set()


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://127.0.0.1/data.zip", "data:text/plain,hello", "gopher://127.0.0.1/"]
)
def test_redirections_to_other_schemes_are_refused(fetch: Fetch, server: Server, place: str) -> None:
    server.put("/data.zip", b"", redirect=place)
    with pytest.raises(UserError, match=f"answered 302 to {re.escape(place)}, which is refused"):
        fetch(fetch.entry())
    assert fetch.left() == set()


def test_https_is_not_left_for_http() -> None:
    redirect = asking.SafeRedirects()
    ask = asking.request.Request
    with pytest.raises(asking.HTTPError):
        redirect.redirect_request(ask("https://a.org/x"), io.BytesIO(), 302, "", {}, "http://a.org/x")
    for old, new in (("http", "https"), ("https", "https"), ("http", "http")):
        found = redirect.redirect_request(ask(f"{old}://a.org/x"), io.BytesIO(), 302, "", {}, f"{new}://b.org/y")
        assert found is not None
        assert found.full_url == f"{new}://b.org/y"


def test_redirections_are_followed_and_loops_are_not(fetch: Fetch, server: Server, archive: bytes) -> None:
    server.put("/data.zip", b"", redirect=f"{server.address}/there")
    server.put("/there", archive)
    fetch(fetch.entry(**sums(archive)))
    assert "20 cases" in fetch.said
    server.put("/loop.zip", b"", redirect=f"{server.address}/loop.zip")
    with pytest.raises(UserError, match="answered 302"):
        fetch(fetch.entry("/loop.zip"))
    server.put("/odd.zip", b"", redirect="http://[")
    with pytest.raises(UserError, match="no connection"):
        fetch(fetch.entry("/odd.zip"))


def test_a_page_for_logging_in_is_no_archive(fetch: Fetch, server: Server) -> None:
    server.put("/data.zip", b"<!doctype html><title>Log in</title>")
    with pytest.raises(UserError, match=r"found a web page.*It was removed.*get it with a browser"):
        fetch(fetch.entry())
    assert fetch.left() == set()


def test_an_unsafe_archive_changes_nothing(fetch: Fetch, server: Server, tmp_path: Path) -> None:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("images/a.png", "1")
        archive.writestr("../../evil", "2")
    server.put("/data.zip", memory.getvalue())
    with pytest.raises(UserError, match="leads out of the folder"):
        fetch(fetch.entry())
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"data.zip"}


def test_several_entries_each_into_its_place(fetch: Fetch, server: Server, folder: Path) -> None:
    """The first arrives, the second fails; the next call fetches the second alone."""
    for part in ("images", "masks"):
        server.put(f"/{part}.zip?download=1", zipped(folder / part))
    server.put("/read%20me.csv", b"1,2")
    entries = [
        fetch.entry("/images.zip?download=1", into="images"),
        fetch.entry("/masks.zip?download=1", into="masks"),
        fetch.entry("/read%20me.csv", unpack="none", into="notes/here"),
    ]
    server.shelves["/masks.zip?download=1"].statuses.append(404)
    with pytest.raises(UserError, match=r"masks\.zip"):
        fetch(*entries)
    fetch(*entries)
    assert len(server.shelves["/images.zip?download=1"].asked) == 1
    assert "20 cases" in fetch.said
    assert (fetch.root / "notes" / "here" / "read me.csv").read_bytes() == b"1,2"
    assert fetch.left() == {".fetched.json"}


def test_a_file_saved_with_a_browser_is_used(fetch: Fetch, archive: bytes) -> None:
    (fetch.root / ".download").mkdir(parents=True)
    (fetch.root / ".download" / "data.zip").write_bytes(archive)
    fetch(fetch.entry("/absent/data.zip", **sums(archive)))
    assert "20 cases" in fetch.said


def test_rar_is_left_to_other_tools(fetch: Fetch, server: Server) -> None:
    server.put("/data.rar", b"Rar!\x1a\x07\x00")
    fetch(fetch.entry("/data.rar", unpack="none"))
    assert "data.rar: put into" in fetch.said
    assert "unpack it with `unar FILE`, `7z x FILE` or `bsdtar -xf FILE`" in fetch.said
    assert "toy: 0 cases" in fetch.said
    assert "Expected below it: images images/*.png, masks masks/{stem}.png." in fetch.said


def test_without_an_address_the_steps_are_told(fetch: Fetch) -> None:
    fetch.about["steps"] = ["Open https://example.org and sign in.", "Click on Download."]
    with pytest.raises(UserError) as caught:
        fetch()
    assert str(caught.value).splitlines() == [
        "dataset toy has no open address to fetch from. By hand:",
        "  1. Open https://example.org and sign in.",
        "  2. Click on Download.",
        f"Folder: {fetch.root}",
        "Expected below it: images images/*.png, masks masks/{stem}.png.",
        f"Then: genseg data check toy root={fetch.root}",
    ]
    assert not fetch.root.exists()


def test_without_steps_the_source_is_told(fetch: Fetch) -> None:
    with pytest.raises(UserError, match=r"1\. Get the data from its publisher: Somewhere"):
        fetch()


def test_what_remains_by_hand_is_told_after_the_fetch(fetch: Fetch, server: Server, folder: Path) -> None:
    fetch.about["steps"] = ["Get the masks."]
    server.put("/images.zip", zipped(folder / "images"))
    fetch(fetch.entry("/images.zip", into="images"))
    assert "toy: 0 cases" in fetch.said
    assert "toy is not complete yet. By hand:\n  1. Get the masks.\n" in fetch.said
    shutil.copytree(folder / "masks", fetch.root / "masks")
    fetch(fetch.entry("/images.zip", into="images"))
    assert "By hand" not in fetch.said


def test_the_folder_is_where_training_looks(
    fetch: Fetch, server: Server, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("/data.zip", archive)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENSEG_DATA", raising=False)
    config = OmegaConf.create(fetch.config(fetch.entry()))

    def place(**keys: Any) -> Path:
        return fetch_dataset(OmegaConf.merge(config, keys), None, Screen(io.StringIO()))

    assert place(root="own") == tmp_path / "own"
    assert place() == tmp_path / "data" / "toy"
    monkeypatch.setenv("GENSEG_DATA", str(tmp_path / "rooms"))
    assert place() == tmp_path / "data" / "toy"  # what is there is not fetched twice
    shutil.rmtree(tmp_path / "data")
    assert place() == tmp_path / "rooms" / "toy"


def test_phantoms_need_no_fetching() -> None:
    with pytest.raises(UserError, match="is drawn by the program"):
        fetch_dataset({"name": "phantom", "reader": "phantom"}, None, Screen(io.StringIO()))


def test_two_at_once_are_refused(fetch: Fetch, server: Server, archive: bytes) -> None:
    server.put("/data.zip", archive)
    (fetch.root / ".download").mkdir(parents=True)
    lock = Lock(fetch.root / ".download" / ".lock")
    lock.acquire()
    with pytest.raises(UserError, match="another process is bringing dataset toy"):
        fetch(fetch.entry())
    lock.release()
    fetch(fetch.entry())
    assert "20 cases" in fetch.said


def test_links_out_of_the_root_are_not_followed(fetch: Fetch, server: Server, archive: bytes, tmp_path: Path) -> None:
    shelf = server.put("/data.zip", archive)
    fetch.root.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (fetch.root / "inner").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="inner is a link that leads out"):
        fetch(fetch.entry(into="inner"))
    shutil.rmtree(fetch.root / ".download")
    (fetch.root / ".download").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"\.download is a link"):
        fetch(fetch.entry())
    assert not shelf.asked
    assert not any((tmp_path / "elsewhere").iterdir())


def test_a_root_that_is_a_file_is_told(fetch: Fetch) -> None:
    fetch.root.parent.mkdir(parents=True)
    fetch.root.write_text("x")
    with pytest.raises(UserError, match="cannot write below"):
        fetch(fetch.entry())


def test_every_fault_of_the_entries_is_told_at_once() -> None:
    good = {"url": "https://a.org/b.zip", "unpack": "zip"}
    faults = [
        ({"url": "file:///etc/passwd"}, "entry 2: url is 'file:///etc/passwd'"),
        ({"url": "https://a.org/b c.zip"}, "entry 3: url is"),
        ({"url": "https://a.org/x/"}, "entry 4: '' can be no file name"),
        ({"url": "https://a.org/..%2Fx"}, "entry 5: '../x' can be no file name"),
        ({"sha256": "12"}, "entry 6: sha256 is '12'; expected 64 hexadecimal digits"),
        ({"size": "1 GB"}, "entry 7: size is '1 GB'"),
        ({"unpack": "rar"}, "entry 8: unpack is 'rar'; expected zip, tar or none"),
        ({"into": "a/../.."}, "entry 9: into is 'a/../..'"),
        ({"into": "/tmp"}, "entry 10: into is '/tmp'"),
        ({"unpak": "zip"}, "entry 11: unknown key unpak"),
        ({}, "two entries are called b.zip"),
    ]
    entries = [good, *({**good, **keys} for keys, _ in faults)]
    with pytest.raises(UserError) as caught:
        read_entries("toy", entries)
    for _, message in faults:
        assert message in str(caught.value)
    assert str(caught.value).startswith(f"{len(faults)} problems in the YAML of dataset toy")


def test_plain_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, now = io.StringIO(), [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with Screen(stream) as screen:
        for second in range(0, 36, 5):
            now[0] = float(second)
            screen.step("data.zip", second * 10**6, 40 * 10**6 if second < 30 else None)
    assert stream.getvalue().splitlines() == [
        "data.zip: 10.0 MB of 40.0 MB",
        "data.zip: 20.0 MB of 40.0 MB",
        "data.zip: 30.0 MB",
    ]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Screen(stream) as screen:
        screen.step("a [b].zip", 1_000_000, 4_000_000)
        screen.print_message("a line above")
        screen.step("unpacking it", 4_000_000, 4_000_000)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "a [b].zip" in text
    assert "4.0/4.0 MB" in text
    assert "a line above" in text


def test_the_record_holds_the_checksums(fetch: Fetch, server: Server, archive: bytes) -> None:
    server.put("/data.zip", archive)
    fetch(fetch.entry())
    record = json.loads((fetch.root / ".download" / ".fetched.json").read_text())
    url = f"{server.address}/data.zip"
    assert record == {"files": [{"url": url, "unpack": "zip", "into": ".", **sums(archive)}]}
