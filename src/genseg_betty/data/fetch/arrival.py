"""What is on its way to a dataset lies in `<root>/.download`, where .fetched.json says what has arrived.

One entry after the other is downloaded, checked against the publisher's checksum, put in place and recorded.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from genseg_betty.data.fetch.archives import RAR_TOOLS, DamagedArchive
from genseg_betty.data.fetch.download import CHUNK, by_browser, download, read_json
from genseg_betty.data.fetch.entries import DIGITS, Entry
from genseg_betty.data.fetch.screen import Screen
from genseg_betty.data.fetch.unpack import move_in, unpack
from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, to_json
from genseg_betty.lock import Lock

WORKPLACE = ".download"  # below the root; names with a leading dot are no part of a dataset
RECORD = ".fetched.json"


@contextmanager
def working(name: str, root: Path) -> Iterator[None]:
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
    return [item for item in read_json(workplace / RECORD).get("files") or [] if isinstance(item, dict)]


def missing(entries: Sequence[Entry], workplace: Path) -> list[Entry]:
    """The entries that the record does not hold with the same address, place and stated checksums."""
    record = _recorded(workplace)

    def holds(item: Mapping[str, Any], entry: Entry) -> bool:
        same = all(item.get(key) == getattr(entry, key) for key in ("url", "unpack", "into"))
        return same and all(getattr(entry, kind) in (None, item.get(kind)) for kind in DIGITS)

    return [entry for entry in entries if not any(holds(item, entry) for item in record)]


def bring(entry: Entry, root: Path, screen: Screen) -> None:
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
        raise UserError(f"{error}. It was removed, so that the next try starts anew. {by_browser(path)}") from error
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
    stated = {}
    wrong = []
    for key, value in found.items():
        expected = getattr(entry, key)
        if expected is None:
            continue
        stated[key] = expected
        if value != expected:
            wrong.append(f"  {key}: found {value}, expected {expected}")
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
