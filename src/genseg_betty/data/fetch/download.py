"""One file by HTTP: a transfer goes on where it stopped, and is bounded by the size stated and by the disk."""

import os
import re
import shutil
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from rich.filesize import decimal

from genseg_betty.data.fetch.entries import Entry
from genseg_betty.data.fetch.screen import Screen
from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, bounded_json, to_json

TIMEOUT = 60.0  # seconds without a byte
PAUSES = (1, 2, 5, 15, 30)  # seconds before each new try; a try that brings more starts the count anew
RESERVE = 2**28  # bytes of the disk that are left free
CHUNK = 2**20
MAX_RECORD = 2**24  # bytes


class _Broken(Exception):
    """A transfer that may be tried again."""


def download(entry: Entry, path: Path, screen: Screen) -> None:
    """Bring an entry's file to `path`, going on where an earlier try stopped. Raises UserError."""
    part = path.with_name(f"{path.name}.part")
    if part.is_symlink():
        raise UserError(f"{part} is a link, and nothing is written through links; remove it")
    furthest, failures = _size(part), 0
    screen.message(f"{entry.file}: from {entry.url}")
    while True:
        try:
            _transfer(entry, part, screen)
            break
        except _Broken as error:
            failures = 0 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            if failures > len(PAUSES):
                kept = f" What came ({decimal(furthest)}) is kept: the next try goes on from there." if furthest else ""
                raise UserError(f"{entry.url}: {error}, {failures} times.{kept} {by_browser(path)}") from error
            pause = PAUSES[max(failures - 1, 0)]
            screen.message(f"{entry.file}: {error}; trying again in {pause} s")
            time.sleep(pause)
    os.replace(part, path)
    _state_file(part).unlink(missing_ok=True)


def _transfer(entry: Entry, part: Path, screen: Screen) -> None:
    """One try: asks for the rest of the file, or for all of it where the server has another by now."""
    state = read_json(_state_file(part))
    done = _size(part) if state.get("url") == entry.url else 0
    if done and done == state.get("total"):
        return
    with _ask(entry, part, done, state) as response:
        start, total = _extent(response)
        now = {
            "url": entry.url,
            "total": total,
            **{key: response.headers.get(key) for key in ("ETag", "Last-Modified")},
        }
        if start and (start != done or now != state):
            part.unlink()
            raise _Broken("the file at the server has changed, so it starts anew")
        if done and not start:
            screen.message(f"{entry.file}: the server does not go on where it stopped; from the beginning")
        most = _room(entry, part, start, total)
        with part.open("ab" if start else "wb") as file:
            atomic_write(_state_file(part), to_json(now).encode())
            _receive(entry, response, file, total, most, screen)


def _receive(
    entry: Entry, response: HTTPResponse, file: IO[bytes], total: int | None, most: int, screen: Screen
) -> None:
    done = file.tell()
    while chunk := _read(response):
        done += file.write(chunk)
        if done > most:
            Path(file.name).unlink()
            bound = "the size stated, or what the disk can spare"
            raise UserError(f"{entry.url}: sends more than {decimal(most)} ({bound}); it was removed")
        screen.step(entry.file, done, total)
    file.flush()
    os.fsync(file.fileno())
    if total is not None and done < total:
        raise _Broken(f"the connection ended after {decimal(done)} of {decimal(total)}")


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK)
    except (OSError, HTTPException) as error:
        raise _Broken(f"the connection broke ({str(error) or type(error).__name__})") from error


class _Redirects(request.HTTPRedirectHandler):
    """Follows redirections within https, within http and from http to https."""

    def redirect_request(
        self, req: request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> request.Request | None:
        if urlsplit(newurl).scheme not in {"https", urlsplit(req.full_url).scheme}:
            raise HTTPError(newurl, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _ask(entry: Entry, part: Path, done: int, state: Mapping[str, Any]) -> HTTPResponse:
    headers = {"User-Agent": "genseg-betty", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
        tag = state.get("ETag") or ""
        if unchanged := state.get("Last-Modified") if tag.startswith("W/") or not tag else tag:
            headers["If-Range"] = unchanged
    try:
        opener = request.build_opener(_Redirects)
        response: HTTPResponse = opener.open(request.Request(entry.url, headers=headers), timeout=TIMEOUT)
        return response
    except HTTPError as error:
        error.close()
        if error.code == 416 and done:
            part.unlink()
            raise _Broken("the server has less of the file than was fetched, so it starts anew") from error
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _Broken(f"the server answered {error.code} {error.reason}") from error
        place = f" to {error.headers['Location']}, which is refused" if 300 <= error.code < 400 else ""
        raise UserError(
            f"{entry.url}: the server answered {error.code}{place or f' {error.msg}'}. {by_browser(part)}"
        ) from error
    except (OSError, HTTPException, ValueError, OverflowError) as error:  # the latter two: a false address
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            said = f"the server's certificate is not valid ({reason.verify_message}), so nothing was asked of it"
            raise UserError(f"{entry.url}: {said}. {by_browser(part)}") from error
        raise _Broken(f"no connection ({str(reason) or type(reason).__name__})") from error


def _extent(response: HTTPResponse) -> tuple[int, int | None]:
    """Where in the file the answer begins, and the length of the file in bytes; None if it is not told."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d{1,18})-\d+/(\d{1,18}|\*)", response.headers.get("Content-Range", ""))
        if found is None:
            raise _Broken("the server sends a part of the file and does not say which")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = re.fullmatch(r"\d{1,18}", response.headers.get("Content-Length", ""))
    return 0, int(length[0]) if length else None


def _room(entry: Entry, part: Path, start: int, total: int | None) -> int:
    """The size that the file may reach. Raises UserError where it is not the one stated or too large for the disk."""
    if None not in (total, entry.size) and total != entry.size:
        raise UserError(
            f"{entry.url}: the server's file has {total} bytes, expected {entry.size}. "
            f"The publisher has changed it: look at what is new, then mend size and checksum in the dataset's YAML"
        )
    expected = entry.size if total is None else total
    free = shutil.disk_usage(part.parent).free - RESERVE + start
    if expected is not None and expected > free:
        raise UserError(
            f"{entry.url}: {decimal(expected - start)} are to come, but the disk of {part.parent} has "
            f"{decimal(max(0, free - start))} to spare. Make room, or fetch to another disk with root=DIR"
        )
    return free if expected is None else expected


def by_browser(path: Path) -> str:
    file = path.with_name(path.name.removesuffix(".part"))
    return f"You can also get it with a browser, save it as {file}, and fetch again: it is then checked and unpacked"


def _state_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def read_json(path: Path) -> dict[str, Any]:
    """What a record of ours says; {} where there is none, or it is damaged."""
    try:
        found = bounded_json(path, MAX_RECORD)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
