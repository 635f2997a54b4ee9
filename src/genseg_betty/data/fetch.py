"""`genseg data fetch`: what a dataset YAML names under `about.fetch` is brought to the dataset's folder.

Downloads go on where they stopped, are checked against the publisher's checksum and unpacked safely. All that is
on its way lies in `<root>/.download`, where .fetched.json says what has arrived. What has no open address is told
as steps for the user (`about.steps`).
"""

import hashlib
import json
import os
import posixpath
import re
import shutil
import ssl
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any, Self, TextIO
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from omegaconf import DictConfig, OmegaConf
from rich import progress as bars
from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from genseg_betty.data.cases import resolve_root, scan_dataset
from genseg_betty.data.pairing import layout
from genseg_betty.data.unpack import RAR_TOOLS, DamagedArchive, move_in, unpack
from genseg_betty.errors import ConfigError, UserError
from genseg_betty.files import atomic_write, to_json
from genseg_betty.run.lock import Lock

WORKPLACE = ".download"  # below the root; names with a leading dot are no part of a dataset
RECORD = ".fetched.json"
TIMEOUT = 60.0  # seconds without a byte
PAUSES = (1, 2, 5, 15, 30)  # seconds before each new try; a try that brings more starts the count anew
RESERVE = 2**28  # bytes of the disk that are left free
CHUNK = 2**20
LINE_SECONDS = 10.0
DIGITS = {"sha256": 64, "md5": 32}


@dataclass(frozen=True)
class Entry:
    """One file of `about.fetch`: where it is, what it must be, and where it goes."""

    url: str
    file: str  # its name here; the last part of the address unless given
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None  # bytes
    unpack: str = "none"  # zip | tar | none
    into: str = "."  # folder below the root


class Screen:
    """What a person sees of a fetch, on stderr: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr
        self._console = Console(file=stream, highlight=False)
        self._bars: bars.Progress | None = None
        if stream.isatty() and not self._console.is_dumb_terminal:
            columns = (bars.DownloadColumn(), bars.TransferSpeedColumn(), bars.TimeRemainingColumn())
            self._bars = bars.Progress("{task.description}", bars.BarColumn(), *columns, console=self._console)
        self._title = ""
        self._drawn = 0.0

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def message(self, text: str) -> None:
        """Print a line; on a terminal it stands above the bar."""
        self._console.print(Text(text), soft_wrap=True)

    def step(self, title: str, done: int, total: int | None) -> None:
        """Tell that `done` of `total` bytes are through what the title says."""
        if self._bars is not None:
            self._draw(self._bars, title, done, total)
        elif title != self._title:
            self._drawn = time.monotonic()
        elif time.monotonic() - self._drawn >= LINE_SECONDS:
            self._drawn = time.monotonic()
            self.message(f"{title}: {decimal(done)}" + (f" of {decimal(total)}" if total else ""))
        self._title = title

    def _draw(self, shown: bars.Progress, title: str, done: int, total: int | None) -> None:
        if title != self._title:
            for task in shown.task_ids:
                shown.remove_task(task)
            shown.add_task(title.replace("[", r"\["), total=total, completed=done)
        shown.update(shown.task_ids[0], completed=done, total=total)


def fetch_dataset(config: Mapping[str, Any] | DictConfig, root: Path | None, screen: Screen) -> Path:
    """Bring a dataset to `root` (else where training looks for it); what is there already is left as it is.

    Returns the root. Raises UserError, with the steps to take, for a dataset that has no open address.
    """
    plain: Any = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else dict(config)
    plain = {"reader": "files", "mask_required": "all", **plain}
    name, about = plain["name"], plain.get("about") or {}
    if plain["reader"] != "files":
        raise UserError(f"dataset {name} is drawn by the program; there is nothing to fetch")
    entries = read_entries(name, about.get("fetch") or [])
    target = _target(plain, root)
    plain["root"] = str(target)
    workplace = target / WORKPLACE
    if not (entries and workplace.exists()) and (found := _cases_there(plain)):
        screen.message(f"{name}: {found} cases are there already, in {target}; nothing was fetched")
        return target
    if not entries:
        raise UserError(_by_hand(plain, f"dataset {name} has no open address to fetch from"))
    if _missing(entries, workplace):
        with _working(name, target):
            for entry in _missing(entries, workplace):
                _bring(entry, target, screen)
    else:
        screen.message(f"{name}: all its files were fetched before; nothing was fetched")
    _tell_cases(plain, screen)
    return target


def read_entries(name: str, fetch: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """The entries of a dataset's `about.fetch`. Raises UserError with every fault of theirs."""
    entries = []
    problems = []
    for number, item in enumerate(fetch, start=1):
        keys = {key: value for key, value in item.items() if value is not None}
        keys.setdefault("file", unquote(re.split("[?#]", str(keys.get("url", "")))[0].rpartition("/")[2]))
        faults = _faults(keys)
        problems += [f"about.fetch, entry {number}: {fault}" for fault in faults]
        if not faults:
            sums = {kind: keys[kind].lower() for kind in DIGITS if kind in keys}
            entries.append(Entry(**{**keys, **sums}))
    names = [entry.file for entry in entries]
    for repeated in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"about.fetch: two entries are called {repeated}; give one of them `file: another name`")
    if problems:
        raise ConfigError(problems, f"in the YAML of dataset {name}")
    return entries


def _faults(keys: Mapping[str, Any]) -> list[str]:
    known = set(Entry.__dataclass_fields__)
    faults = [f"unknown key {key}; known are {', '.join(sorted(known))}" for key in keys if key not in known]
    url, file, into = str(keys.get("url", "")), str(keys["file"]), str(keys.get("into", "."))
    if not re.fullmatch(r"https?://[\w.-]+(:\d+)?/[\x21-\x7e]+", url, re.ASCII):
        faults.append(f"url is {url!r}; expected https://HOST/PATH or http://HOST/PATH, without spaces")
    elif not re.fullmatch(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*", file):
        faults.append(f"{file!r} can be no file name; give `file: name.zip`")
    for kind, digits in DIGITS.items():
        if not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", str(keys.get(kind, "0" * digits))):
            faults.append(f"{kind} is {keys[kind]!r}; expected {digits} hexadecimal digits")
    if not isinstance(keys.get("size", 0), int) or keys.get("size", 0) < 0:
        faults.append(f"size is {keys['size']!r}; expected a number of bytes")
    if keys.get("unpack", "none") not in ("zip", "tar", "none"):
        faults.append(f"unpack is {keys['unpack']!r}; expected zip, tar or none (for .rar and .7z as well)")
    if posixpath.normpath(into.replace("\\", "/")).startswith(("/", "..")):
        faults.append(f"into is {into!r}; expected a folder below the dataset's root")
    return faults


def _target(config: Mapping[str, Any], root: Path | None) -> Path:
    """Where training looks for the dataset, or would."""
    if root is not None:
        return root.expanduser().absolute()
    try:
        return resolve_root(config)
    except UserError:  # it is not there yet
        base = os.environ.get("GENSEG_DATA") or "data"
        return Path(config.get("root") or Path(base, config["name"])).expanduser().absolute()


def _cases_there(config: Mapping[str, Any]) -> int:
    """The number of cases of a dataset without faults, else 0."""
    try:
        dataset, findings = scan_dataset(config)
    except UserError:
        return 0
    return 0 if findings else len(dataset.cases)


def _by_hand(config: Mapping[str, Any], found: str) -> str:
    about = config.get("about") or {}
    steps = about.get("steps") or [f"Get the data from its publisher: {about.get('source') or 'see its citation'}"]
    lines = [f"  {number}. {step}" for number, step in enumerate(steps, start=1)]
    heading = f"{found}. By hand:"
    check = f"Then: genseg data check {config['name']} root={config['root']}"
    return "\n".join([heading, *lines, f"Folder: {config['root']}", layout(config), check])


def _tell_cases(config: Mapping[str, Any], screen: Screen) -> None:
    name, root = config["name"], config["root"]
    dataset, findings = scan_dataset(config)
    screen.message(f"{name}: {len(dataset.cases)} cases in {root}")
    if dataset.cases and not findings:
        return
    if (config.get("about") or {}).get("steps"):
        screen.message(_by_hand(config, f"{name} is not complete yet"))
    else:
        screen.message(
            f"{name} has {len(findings)} faults. {layout(config)}\nTo see them: genseg data check {name} root={root}\n"
            f"To fetch all of it anew: delete {Path(root, WORKPLACE, RECORD)}"
        )


@contextmanager
def _working(name: str, root: Path) -> Iterator[None]:
    """Makes the folder for what is on its way, and keeps it for one process at a time."""
    workplace = root / WORKPLACE
    if workplace.is_symlink():
        raise UserError(f"{workplace} is a link, and nothing is written through links; remove it")
    try:
        workplace.mkdir(parents=True, exist_ok=True)
        lock = Lock(workplace / ".lock")
        try:
            lock.acquire()
        except UserError as error:
            raise UserError(
                f"another process is bringing dataset {name} to {root}. Wait for it; "
                f"if you are sure that it has ended, delete {lock.path}"
            ) from error
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        raise UserError(f"dataset {name}: cannot write below {root}: {error.strerror or error}") from error


def _recorded(workplace: Path) -> list[dict[str, Any]]:
    return [item for item in _read_json(workplace / RECORD).get("files") or [] if isinstance(item, dict)]


def _missing(entries: Sequence[Entry], workplace: Path) -> list[Entry]:
    """The entries that the record does not hold with the same address, place and stated checksums."""
    record = _recorded(workplace)

    def holds(item: Mapping[str, Any], entry: Entry) -> bool:
        same = all(item.get(key) == getattr(entry, key) for key in ("url", "unpack", "into"))
        return same and all(getattr(entry, kind) in (None, item.get(kind)) for kind in DIGITS)

    return [entry for entry in entries if not any(holds(item, entry) for item in record)]


def _bring(entry: Entry, root: Path, screen: Screen) -> None:
    """Download, check, put in place and record one entry."""
    workplace = root / WORKPLACE
    path, into = workplace / entry.file, root / entry.into
    if not into.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{into} is a link that leads out of {root}; remove it")
    if not path.exists():
        download(entry, path, screen)
    sums = verify(entry, path, screen)
    if entry.unpack == "none":
        move_in(workplace, [entry.file], into)
        hint = f"; {RAR_TOOLS}" if entry.file.lower().endswith((".rar", ".7z")) else ""
        screen.message(f"{entry.file}: put into {into}{hint}")
    else:
        _unpack(entry, path, into, screen)
    record = [*_recorded(workplace), {"url": entry.url, "unpack": entry.unpack, "into": entry.into, **sums}]
    atomic_write(workplace / RECORD, to_json({"files": record}).encode())


def _unpack(entry: Entry, path: Path, into: Path, screen: Screen) -> None:
    tell = partial(screen.step, f"unpacking {entry.file}")
    try:
        count = unpack(path, entry.unpack, into, path.with_name(".unpacking"), tell)
    except DamagedArchive as error:
        if entry.sha256 or entry.md5:  # it is what the publisher has: another download would bring the same
            raise
        path.unlink()
        raise UserError(f"{error}. It was removed, so that the next try starts anew. {_hint(path)}") from error
    path.unlink()
    screen.message(f"{entry.file}: {count} files unpacked to {into}")


def verify(entry: Entry, path: Path, screen: Screen) -> dict[str, str]:
    """The checksums of a file. Where these, or its size, are not as stated it is removed: raises UserError."""
    size = path.stat().st_size
    hashes = {kind: hashlib.new(kind, usedforsecurity=False) for kind in DIGITS}
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            for each in hashes.values():
                each.update(chunk)
            screen.step(f"checking {entry.file}", file.tell(), size)
    sums = {kind: each.hexdigest() for kind, each in hashes.items()}
    found = {**sums, "size": size}
    stated = {key: getattr(entry, key) for key in found if getattr(entry, key) is not None}
    wrong = [f"  {key}: found {found[key]}, expected {value}" for key, value in stated.items() if found[key] != value]
    if wrong:
        path.unlink()
        raise UserError(
            "\n".join([f"{entry.url}: the file that came is not the one expected", *wrong, f"{path} was removed, "])
            + "so that the next try starts anew. If the same comes out again, the publisher has changed the file: "
            "look at what is new, then mend the dataset's YAML"
        )
    if not any(kind in stated for kind in DIGITS):
        screen.message(f"{entry.file}: no checksum is stated for it; its sha256 is {sums['sha256']}")
    return sums


class _Broken(Exception):
    """A transfer that may be tried again."""


def download(entry: Entry, path: Path, screen: Screen) -> None:
    """Bring an entry's file to `path`, going on where an earlier try stopped. Raises UserError."""
    part = path.with_name(f"{path.name}.part")
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
                raise UserError(f"{entry.url}: {error}, {failures} times.{kept} {_hint(path)}") from error
            pause = PAUSES[max(failures - 1, 0)]
            screen.message(f"{entry.file}: {error}; trying again in {pause} s")
            time.sleep(pause)
    os.replace(part, path)
    _state_file(part).unlink(missing_ok=True)


def _transfer(entry: Entry, part: Path, screen: Screen) -> None:
    """One try: asks for the rest of the file, or for all of it where the server has another by now."""
    state = _read_json(_state_file(part))
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
            f"{entry.url}: the server answered {error.code}{place or f' {error.msg}'}. {_hint(part)}"
        ) from error
    except (OSError, HTTPException, ValueError, OverflowError) as error:  # the latter two: a false address
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            said = f"the server's certificate is not valid ({reason.verify_message}), so nothing was asked of it"
            raise UserError(f"{entry.url}: {said}. {_hint(part)}") from error
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


def _hint(path: Path) -> str:
    file = path.with_name(path.name.removesuffix(".part"))
    return f"You can also get it with a browser, save it as {file}, and fetch again: it is then checked and unpacked"


def _state_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
